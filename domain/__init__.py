"""The rules of the business: plain async functions taking a session, one file per schema that has any."""
