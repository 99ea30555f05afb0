"""One suite of expectations a table."""
