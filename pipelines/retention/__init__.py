"""What leaves because its time is over: rules in SQL, one code path for a run and its rehearsal, legal holds first."""
