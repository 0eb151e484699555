"""What readers of the log need beside it: how far followers are, snapshots, and indexes by story and time.

Docs: docs/decisions/0005-the-library-on-our-log.md, docs/reference/events.md.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# A position may only grow. Whoever moves several followers at once would lock their rows in an order of its
# own: the lock lets them take turns. A writer takes it behind the head's row, nobody takes the two the other
# way round.
TRACKING = """
CREATE TABLE tracking (
    name     text COLLATE "C" PRIMARY KEY,
    position bigint NOT NULL
);
COMMENT ON TABLE tracking IS
    'How far a follower has processed an upstream log, moved in the transaction of what it made of it.';
CREATE FUNCTION advance_tracking(names text[], positions bigint[]) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    moved bigint;
BEGIN
    -- in the order of the names, so that two transactions that move several wait for each other in turn
    INSERT INTO tracking AS t (name, position)
        SELECT u.name, u.position FROM unnest(names, positions) AS u (name, position) ORDER BY u.name
        ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE t.position < excluded.position;
    GET DIAGNOSTICS moved = ROW_COUNT;
    RETURN moved = cardinality(names);
END $$;
"""

SNAPSHOTS = """
CREATE TABLE snapshots (
    stream        text COLLATE "C" NOT NULL,
    version       bigint  NOT NULL,
    type          text COLLATE "C" NOT NULL,
    class_version integer NOT NULL,
    taken_at      bigint  NOT NULL,
    state         bytea   NOT NULL,
    PRIMARY KEY (stream, version)
);
COMMENT ON TABLE snapshots IS
    'States of aggregates at a version of their stream. Disposable: without them loading is slower, no more.';
COMMENT ON COLUMN snapshots.taken_at IS 'microseconds since 1970-01-01 UTC';
"""

# Market events, thousands a second, mostly lead to nothing and are not indexed by story: an index on random
# ids costs a fifth of a batch append, one on time a fiftieth (measured, batches of 1,000).
INDEXES = """
CREATE INDEX events_by_story ON events_domain (correlation_id, position);
CREATE INDEX events_by_time ON events (recorded_at, position);
"""

GRANTS = """
GRANT SELECT, INSERT, UPDATE ON tracking TO daybook_writer;
GRANT SELECT, INSERT, DELETE ON snapshots TO daybook_writer;
"""


def upgrade() -> None:
    """Add the tables and indexes; no event is touched."""
    for script in (TRACKING, SNAPSHOTS, INDEXES, GRANTS):
        op.execute(script)
