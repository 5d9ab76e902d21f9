"""Query time: embed, retrieve, understand the question, and answer with citations."""
