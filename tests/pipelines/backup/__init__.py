"""Tests of backups, restores and drills."""
