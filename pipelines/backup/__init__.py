"""Backups: a snapshot of the whole store, sealed and streamed elsewhere; restoring it; the drill that proves it."""
