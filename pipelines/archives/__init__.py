"""Months that leave the store: written to Parquet, proven, dropped; read again, rewritten without somebody's rows."""
