"""Measuring: retrieval on public suites, speed beside named peers."""
