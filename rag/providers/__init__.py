"""Model services that answer in words: one protocol, OpenAI's wire format, and what to do when one of them is down."""
