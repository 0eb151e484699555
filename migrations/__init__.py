"""Alembic migrations: the shape of the SQL, shipped in the wheel."""
