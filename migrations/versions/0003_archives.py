"""Archives: which market partitions were moved to files, and where the streams in them stand.

Docs: docs/how-to/archive-the-market.md.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ARCHIVES = """
CREATE TABLE archives (
    partition       text COLLATE "C" PRIMARY KEY,
    low             bigint NOT NULL,
    high            bigint NOT NULL,
    first_position  bigint NOT NULL,
    last_position   bigint NOT NULL,
    rows            bigint NOT NULL,
    path            text   NOT NULL,
    sha256          bytea  NOT NULL,
    first_prev_hash bytea  NOT NULL,
    last_hash       bytea  NOT NULL,
    archived_at     timestamptz NOT NULL DEFAULT now(),
    restored_at     timestamptz
);
COMMENT ON TABLE archives IS
    'Market partitions moved to Parquet files. A row commits in the transaction that drops its partition; '
    'readers still look into the file for a minute after it was restored.';
COMMENT ON COLUMN archives.low IS 'the partition held positions from low to below high';

CREATE TABLE archived_streams (
    stream  text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL
);
COMMENT ON TABLE archived_streams IS
    'The newest version of each stream in any archive: a stream whose partitions are all archived goes on '
    'where it stood.';
"""

# Both places in one statement, so that both are seen in one snapshot.
VERSION = """
CREATE OR REPLACE FUNCTION stream_version(of_stream text) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(greatest(
        (SELECT version FROM events WHERE stream = of_stream ORDER BY version DESC LIMIT 1),
        (SELECT version FROM archived_streams WHERE stream = of_stream)), 0);
END $$;
"""

# A leaf is made complete and then attached: attaching locks out no append, creating in place would. Its
# checks save attaching a look at every row; they leave with that, or every append would parse them again. A
# leaf that is archived is not made again.
EXTEND = """
CREATE FUNCTION partition_span() RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 10000000::bigint';
COMMENT ON FUNCTION partition_span() IS 'Positions in one partition; must stay as it was on the first day.';

CREATE FUNCTION make_leaf(kind text, leaf text, low bigint, high bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE events_%s INCLUDING COMMENTS INCLUDING CONSTRAINTS, '
        'PRIMARY KEY (position), UNIQUE (stream, version), '
        'CHECK (category = %L), CHECK (position >= %s AND position < %s))',
        leaf, kind, kind, low, high);
    EXECUTE format('CREATE TRIGGER never_emptied BEFORE TRUNCATE ON %I '
        'FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', leaf);
END $$;
CREATE FUNCTION attach_leaf(kind text, leaf text, low bigint, high bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE events_%s ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
        kind, leaf, low, high);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I, DROP CONSTRAINT %I',
        leaf, leaf || '_category_check', leaf || '_position_check');
END $$;

CREATE OR REPLACE FUNCTION extend_events(through bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    span CONSTANT bigint := partition_span();
    kind text;
    leaf text;
    low  bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('daybook.partitions'));
    FOREACH kind IN ARRAY ARRAY['market', 'domain'] LOOP
        FOR low IN SELECT generate_series(0, through, span) LOOP
            leaf := format('events_%s_%s', kind, lpad((low / span)::text, 6, '0'));
            CONTINUE WHEN to_regclass(leaf) IS NOT NULL
                OR EXISTS (SELECT FROM archives WHERE partition = leaf);
            PERFORM make_leaf(kind, leaf, low, low + span);
            PERFORM attach_leaf(kind, leaf, low, low + span);
        END LOOP;
    END LOOP;
END $$;
"""

GRANTS = """
REVOKE ALL ON FUNCTION make_leaf(text, text, bigint, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION attach_leaf(text, text, bigint, bigint) FROM PUBLIC;
GRANT SELECT ON archives, archived_streams TO daybook_writer;
"""


def upgrade() -> None:
    """Add the tables; no event is touched."""
    for script in (ARCHIVES, VERSION, EXTEND, GRANTS):
        op.execute(script)
