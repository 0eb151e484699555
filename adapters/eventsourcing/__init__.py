"""The `eventsourcing` library on our log: its recorders, its factory, its applications and projections."""
