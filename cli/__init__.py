"""The command line, for operators and newcomers."""
