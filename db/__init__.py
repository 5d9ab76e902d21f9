"""The relational store: tables, guards, sessions and the embedded server."""
