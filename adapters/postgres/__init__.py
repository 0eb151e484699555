"""PostgreSQL: the event log, the read store and their codec."""
