"""The audit: signed checkpoints of the Merkle tree, roots of its subtrees, and the keys of personal fields.

Docs: docs/decisions/0006-tamper-evidence.md.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CHECKPOINTS = """
CREATE TABLE audit_checkpoints (
    tree_size  bigint PRIMARY KEY,
    signed_at  bigint NOT NULL,
    root       bytea  NOT NULL,
    chain_hash bytea  NOT NULL,
    public_key bytea  NOT NULL,
    signature  bytea  NOT NULL,
    frontier   bytea  NOT NULL
);
COMMENT ON TABLE audit_checkpoints IS 'Signed: so many events hash to this. docs/reference/audit.md';
COMMENT ON COLUMN audit_checkpoints.frontier IS
    'roots of the complete subtrees, 32 bytes each, largest first';

CREATE TABLE audit_nodes (
    level integer NOT NULL,
    index bigint  NOT NULL,
    hash  bytea   NOT NULL,
    PRIMARY KEY (level, index)
);
COMMENT ON TABLE audit_nodes IS
    'Roots of complete subtrees of 2^level leaves, levels 8, 16, 24...; proofs are read from them.';

CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON audit_checkpoints
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON audit_checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON audit_nodes
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON audit_nodes
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""

# Outside the log on purpose: a key that is erased is gone, and the record stays as it is.
KEYS = """
CREATE TABLE subject_keys (
    subject   text COLLATE "C" PRIMARY KEY,
    key       bytea,
    erased_at bigint,
    CHECK ((key IS NULL) = (erased_at IS NOT NULL))
);
COMMENT ON TABLE subject_keys IS 'Keys of personal fields; an erased one is null and is never made again.';
"""

GRANTS = """
GRANT SELECT, INSERT ON audit_checkpoints, audit_nodes TO daybook_writer;
GRANT SELECT, INSERT, UPDATE ON subject_keys TO daybook_writer;
"""


def upgrade() -> None:
    """From the log alone to the log that proves itself."""
    for script in (CHECKPOINTS, KEYS, GRANTS):
        op.execute(script)
