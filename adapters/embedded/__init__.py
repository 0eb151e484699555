"""Real PostgreSQL, NATS and Valkey servers started from wheels in one data folder."""
