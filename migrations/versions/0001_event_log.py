"""The event log: the record, its head, its append ids, leases, bookmarks and the relay's checkpoints.

Docs: docs/decisions/0001-postgresql-is-the-record.md, docs/decisions/0004-one-ordered-log.md.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_writer') THEN
        BEGIN
            CREATE ROLE daybook_writer NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- roles belong to the whole server: another database of it was migrated at this moment
        END;
    END IF;
    IF NOT pg_has_role(current_user, 'daybook_writer', 'SET') THEN
        GRANT daybook_writer TO CURRENT_USER WITH INHERIT FALSE, SET TRUE;
    END IF;
END $$
"""

# Wide fixed columns first, so that no row is padded. `category` is 'market' for topics that begin with
# 'market.' and 'domain' for all others. Names compare by bytes: the same order on every server, and faster.
# Unique keys stand on the leaves (extend_events).
EVENTS = """
CREATE TABLE events (
    position       bigint  NOT NULL,
    version        bigint  NOT NULL,
    recorded_at    bigint  NOT NULL,
    slot           bigint,
    schema_version integer NOT NULL,
    event_id       uuid    NOT NULL,
    correlation_id uuid    NOT NULL,
    causation_id   uuid,
    category       text COLLATE "C" NOT NULL,
    stream         text COLLATE "C" NOT NULL,
    type           text COLLATE "C" NOT NULL,
    actor          text COLLATE "C" NOT NULL,
    data           bytea   NOT NULL,
    hash           bytea   NOT NULL
) PARTITION BY LIST (category);
CREATE TABLE events_market PARTITION OF events FOR VALUES IN ('market') PARTITION BY RANGE (position);
CREATE TABLE events_domain PARTITION OF events FOR VALUES IN ('domain') PARTITION BY RANGE (position);
COMMENT ON TABLE events IS 'The record. Rows are inserted, never changed.';
COMMENT ON COLUMN events.recorded_at IS 'microseconds since 1970-01-01 UTC';
COMMENT ON COLUMN events.data IS 'UTF-8 JSON; the view events_json shows it as jsonb';
COMMENT ON COLUMN events.hash IS 'sha256(previous hash || header || data), docs/reference/hash-chain.md';
"""

BESIDE = """
CREATE TABLE log_head (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    position bigint NOT NULL,
    hash     bytea  NOT NULL
);
COMMENT ON TABLE log_head IS 'The newest position and its hash: compared and moved by every append.';
INSERT INTO log_head (position, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

CREATE TABLE appends (
    append_id      uuid   PRIMARY KEY,
    first_position bigint NOT NULL,
    last_position  bigint NOT NULL
);
COMMENT ON TABLE appends IS 'The caller''s id of every append: a repeated one returns the first result.';

CREATE TABLE leases (
    name     text   PRIMARY KEY,
    epoch    bigint NOT NULL,
    holder   text   NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE bookmarks (
    name     text   PRIMARY KEY,
    position bigint NOT NULL
);
CREATE TABLE relay_checkpoints (
    stream   text   PRIMARY KEY,
    created  text   NOT NULL,
    position bigint NOT NULL,
    sequence bigint NOT NULL
);
COMMENT ON TABLE relay_checkpoints IS
    'Log position through which a JetStream stream was acknowledged, and its last sequence then. '
    'Believed only while that very stream still holds the sequence.';
"""

# Row triggers reach every partition by themselves; TRUNCATE triggers must stand on each table.
REFUSE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % was refused: the record is never changed or removed; append a correcting event',
        TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON events_market
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON events_domain
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON appends
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON appends
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

# A leaf is made complete and then attached: attaching locks out no append, creating in place would.
EXTEND = """
CREATE FUNCTION extend_events(through bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    span CONSTANT bigint := 10000000;
    kind text;
    leaf text;
    low  bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('daybook.partitions'));
    FOREACH kind IN ARRAY ARRAY['market', 'domain'] LOOP
        FOR low IN SELECT generate_series(0, through, span) LOOP
            leaf := format('events_%s_%s', kind, lpad((low / span)::text, 6, '0'));
            CONTINUE WHEN to_regclass(leaf) IS NOT NULL OR to_regclass(leaf || '_archived') IS NOT NULL;
            EXECUTE format('CREATE TABLE %I (LIKE events_%s INCLUDING COMMENTS INCLUDING CONSTRAINTS, '
                'PRIMARY KEY (position), UNIQUE (stream, version))', leaf, kind);
            EXECUTE format('CREATE TRIGGER never_emptied BEFORE TRUNCATE ON %I '
                'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', leaf);
            EXECUTE format('ALTER TABLE events_%s ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                kind, leaf, low, low + span);
        END LOOP;
    END LOOP;
END $$;
SELECT extend_events(0);
"""

# What the writer asks when it is not sure. The lock on the head's row is held to the end of the transaction,
# so nobody appends between the survey and what is decided on it.
SURVEY = """
CREATE FUNCTION survey_log(of_streams text[], of_appends uuid[], of_leases text[],
    OUT head bigint, OUT head_hash bytea, OUT versions bigint[],
    OUT known uuid[], OUT firsts bigint[], OUT lasts bigint[], OUT epochs bigint[])
LANGUAGE plpgsql AS $$
BEGIN
    SELECT position, hash INTO head, head_hash FROM log_head WHERE single FOR UPDATE;
    SELECT array_agg(stream_version(s.name) ORDER BY s.place) INTO versions
        FROM unnest(of_streams) WITH ORDINALITY AS s(name, place);
    SELECT array_agg(append_id), array_agg(first_position), array_agg(last_position)
        INTO known, firsts, lasts FROM appends WHERE append_id = ANY (of_appends);
    SELECT array_agg(coalesce(l.epoch, 0) ORDER BY n.place) INTO epochs
        FROM unnest(of_leases) WITH ORDINALITY AS n(name, place) LEFT JOIN leases l USING (name);
END $$;
"""

# plpgsql, or it would be inlined into the writer's statement and open every partition on every append.
VERSION = """
CREATE FUNCTION stream_version(of_stream text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(
        (SELECT version FROM events WHERE stream = of_stream ORDER BY version DESC LIMIT 1), 0);
END $$;
"""

# Rows travel as one array of composites: half the cost of an array for each column (measured, 1,000 rows).
# What an event has of its own comes first, what it shares with its append last: adapters/postgres/wire.py.
APPEND = """
CREATE TYPE new_event AS (
    position bigint, version bigint, event_id uuid, hash bytea, data bytea, type text, schema_version integer,
    stream text, recorded_at bigint, causation_id uuid, correlation_id uuid, actor text, slot bigint
);
"""

# What an append calls that finds the head elsewhere than its writer believed.
REFUSED = """
CREATE FUNCTION refuse_append(head bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the head of the log is at position %, not where this writer believed it', head
        USING ERRCODE = 'serialization_failure';
END $$;
"""

# An append locks the lease it was decided under, so it either commits before the lease is taken or sees that.
LEASE = """
CREATE FUNCTION take_lease(lease text, by_holder text) RETURNS bigint LANGUAGE sql AS $$
    INSERT INTO leases AS l (name, epoch, holder) VALUES (lease, 1, by_holder)
    ON CONFLICT (name) DO UPDATE SET epoch = l.epoch + 1, holder = by_holder, taken_at = now()
    RETURNING l.epoch
$$;
"""

# A client that freezes inside a COPY keeps its transaction, and the head with it, for ever: the server waits
# for its rows, and no timeout ends that wait. An owner may end his sessions; a writer may only ask for this.
FREE = """
CREATE FUNCTION free_log_head() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT count(*) FILTER (WHERE pg_terminate_backend(a.pid))
    FROM log_head h JOIN pg_stat_activity a ON a.backend_xid = h.xmax
    WHERE a.state = 'active' AND a.wait_event_type = 'Client'
        AND a.state_change < clock_timestamp() - interval '5 seconds'
$$;
COMMENT ON FUNCTION free_log_head() IS
    'Ends who holds the head while a statement of his has waited for its client for 5 s.';
"""

VIEW = """
CREATE VIEW events_json AS
SELECT position, stream, version, type, schema_version,
    timestamptz 'epoch' + recorded_at * interval '1 microsecond' AS recorded_at,
    slot, actor, convert_from(data, 'UTF8')::jsonb AS data,
    event_id, causation_id, correlation_id, encode(hash, 'hex') AS hash
FROM events;
COMMENT ON VIEW events_json IS 'The log for people with psql.';
"""

GRANTS = """
REVOKE ALL ON FUNCTION extend_events(bigint), free_log_head() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION extend_events(bigint), free_log_head() TO daybook_writer;
GRANT SELECT, INSERT ON events, appends TO daybook_writer;
GRANT SELECT ON events_json TO daybook_writer;
GRANT SELECT, UPDATE (position, hash) ON log_head TO daybook_writer;
GRANT SELECT, INSERT, UPDATE ON leases, bookmarks, relay_checkpoints TO daybook_writer;
"""


def upgrade() -> None:
    """From an empty database to the log."""
    for script in (
        ROLE,
        EVENTS,
        BESIDE,
        REFUSE,
        EXTEND,
        VERSION,
        SURVEY,
        APPEND,
        REFUSED,
        LEASE,
        FREE,
        VIEW,
        GRANTS,
    ):
        op.execute(script)
