"""What leaves the store after a commit: claimed from the outbox, handled, settled, at least once."""
