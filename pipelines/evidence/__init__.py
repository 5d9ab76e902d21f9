"""Evidence: verbatim quotes (L0), claims of one session (L1), patterns across sessions (L2), and insights over them."""
