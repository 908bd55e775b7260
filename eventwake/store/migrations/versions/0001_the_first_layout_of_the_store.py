"""The first layout of the store

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
rewrites_data = False  # True has a copy of the store made first


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("matched", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("fired_ms", sa.BigInteger(), nullable=True),
        sa.Column("resolved_ms", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("above", sa.Float(), nullable=False),
        sa.Column("evaluated_ms", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_by", sa.Text(), nullable=True),
        sa.Column("acknowledged_ms", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("alert", schema=None) as batch_op:
        batch_op.create_index("ix_alert_rule", ["rule", "subject", "resolved_ms"], unique=False)
        batch_op.create_index("ix_alert_state", ["state", "fired_ms"], unique=False)

    op.create_table(
        "audit",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_at_ms"), ["at_ms"], unique=False)

    op.create_table(
        "command",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("parameters", sa.Text(), server_default="{}", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("items", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("started_ms", sa.BigInteger(), nullable=True),
        sa.Column("finished_ms", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("command", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_command_created_ms"), ["created_ms"], unique=False)
        batch_op.create_index("ix_command_state", ["state", "source"], unique=False)

    op.create_table(
        "consumer",
        sa.Column("group_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("pending", sa.BigInteger(), nullable=False),
        sa.Column("idle_ms", sa.BigInteger(), nullable=False),
        sa.Column("inactive_ms", sa.BigInteger(), nullable=True),
        sa.Column("sampled_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fingerprint",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("frame", sa.Text(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "group_rollup",
        sa.Column("group_id", sa.BigInteger(), nullable=False),
        sa.Column("bucket_ms", sa.BigInteger(), nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.Column("unknown", sa.BigInteger(), nullable=False),
        sa.Column("lag_last", sa.BigInteger(), nullable=True),
        sa.Column("lag_max", sa.BigInteger(), nullable=True),
        sa.Column("time_lag_max_ms", sa.BigInteger(), nullable=True),
        sa.Column("pending_max", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("group_id", "bucket_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "group_sample",
        sa.Column("group_id", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Text(), nullable=True),
        sa.Column("committed", sa.BigInteger(), nullable=True),
        sa.Column("end", sa.BigInteger(), nullable=True),
        sa.Column("lag_kind", sa.Text(), nullable=False),
        sa.Column("lag", sa.BigInteger(), nullable=True),
        sa.Column("time_lag_ms", sa.BigInteger(), nullable=True),
        sa.Column("pending", sa.BigInteger(), nullable=True),
        sa.Column("oldest_pending", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("group_id", "at_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "pending_entry",
        sa.Column("group_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("idle_ms", sa.BigInteger(), nullable=False),
        sa.Column("deliveries", sa.BigInteger(), nullable=False),
        sa.Column("sampled_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("group_id", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "saga",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("last_step", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("started_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "correlation_id"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("saga", schema=None) as batch_op:
        batch_op.create_index("ix_saga_state", ["name", "state", "last_ms"], unique=False)

    op.create_table(
        "segment",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("opened_ms", sa.BigInteger(), nullable=False),
        sa.Column("sealed_ms", sa.BigInteger(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("low_ms", sa.BigInteger(), nullable=True),
        sa.Column("high_ms", sa.BigInteger(), nullable=True),
        sa.Column("filter_blocks", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "segment_filter",
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("block", sa.BigInteger(), nullable=False),
        sa.Column("bits", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("segment", "block"),
    )
    op.create_table(
        "source",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("server", sa.Text(), server_default="", nullable=False),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("writable", sa.Boolean(), nullable=False),
        sa.Column("capabilities", sa.Text(), server_default="{}", nullable=False),
        sa.Column("checked_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "worker",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("source", "role"),
    )
    op.create_table(
        "stream",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=True),
        sa.Column("added", sa.BigInteger(), nullable=True),
        sa.Column("first_position", sa.Text(), nullable=True),
        sa.Column("last_position", sa.Text(), nullable=True),
        sa.Column("unread", sa.BigInteger(), nullable=True),
        sa.Column("missed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("found_ms", sa.BigInteger(), nullable=False),
        sa.Column("sampled_ms", sa.BigInteger(), nullable=True),
        sa.Column("gone_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["source"],
            ["source.name"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source", "name", name=op.f("uq_stream_source_name")),
    )
    op.create_table(
        "consumer_group",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=True),
        sa.Column("committed", sa.BigInteger(), nullable=True),
        sa.Column("end", sa.BigInteger(), nullable=True),
        sa.Column("lag_kind", sa.Text(), nullable=False),
        sa.Column("lag", sa.BigInteger(), nullable=True),
        sa.Column("lag_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("time_lag_kind", sa.Text(), nullable=False),
        sa.Column("time_lag_ms", sa.BigInteger(), nullable=True),
        sa.Column("time_lag_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("pending", sa.BigInteger(), nullable=True),
        sa.Column("oldest_pending", sa.Text(), nullable=True),
        sa.Column("oldest_pending_idle_ms", sa.BigInteger(), nullable=True),
        sa.Column("most_deliveries", sa.BigInteger(), nullable=True),
        sa.Column("consumers", sa.BigInteger(), nullable=True),
        sa.Column("moved_ms", sa.BigInteger(), nullable=True),
        sa.Column("drain_per_s", sa.Float(), nullable=True),
        sa.Column("arrival_per_s", sa.Float(), nullable=True),
        sa.Column("skipped", sa.BigInteger(), nullable=True),
        sa.Column("sampled_ms", sa.BigInteger(), nullable=False),
        sa.Column("gone_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["stream.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("stream_id", "name", name=op.f("uq_consumer_group_stream_id_name")),
    )
    op.create_table(
        "cursor",
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("read_count", sa.BigInteger(), nullable=True),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["stream.id"],
        ),
        sa.PrimaryKeyConstraint("stream_id", "partition"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "event_rollup",
        sa.Column("span_ms", sa.BigInteger(), nullable=False),
        sa.Column("bucket_ms", sa.BigInteger(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("producer", sa.Text(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("undecodable", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["stream.id"],
        ),
        sa.PrimaryKeyConstraint("span_ms", "bucket_ms", "stream_id", "event_type", "producer"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "flow_link",
        sa.Column("cause_stream_id", sa.BigInteger(), nullable=False),
        sa.Column("producer", sa.Text(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["stream.id"],
        ),
        sa.PrimaryKeyConstraint("cause_stream_id", "producer", "stream_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gap",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("after_position", sa.Text(), nullable=False),
        sa.Column("before_position", sa.Text(), nullable=False),
        sa.Column("missed", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["stream.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("gap", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_gap_at_ms"), ["at_ms"], unique=False)

    op.create_table(
        "letter",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("incarnation", sa.BigInteger(), nullable=False),
        sa.Column("partition", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("command_id", sa.BigInteger(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("origin_stream", sa.Text(), nullable=True),
        sa.Column("origin_position", sa.Text(), nullable=True),
        sa.Column("group_name", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("error_class", sa.Text(), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("stack_trace", sa.Text(), nullable=True),
        sa.Column("attempts", sa.BigInteger(), nullable=True),
        sa.Column("first_failed_ms", sa.BigInteger(), nullable=True),
        sa.Column("failed_ms", sa.BigInteger(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("correlation_id", sa.Text(), nullable=True),
        sa.Column("event_id_hash", sa.BigInteger(), nullable=True),
        sa.Column("correlation_hash", sa.BigInteger(), nullable=True),
        sa.Column("key_hash", sa.BigInteger(), nullable=True),
        sa.Column("came_from", sa.Text(), nullable=True),
        sa.Column("own_fields", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("checksum", sa.BigInteger(), nullable=False),
        sa.Column("flags", sa.BigInteger(), nullable=False),
        sa.Column("found_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["stream.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "stream_id",
            "incarnation",
            "partition",
            "position",
            name=op.f("uq_letter_stream_id_incarnation_partition_position"),
        ),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("letter", schema=None) as batch_op:
        batch_op.create_index("ix_letter_came_from", ["came_from"], unique=False)
        batch_op.create_index("ix_letter_correlation", ["correlation_hash"], unique=False)
        batch_op.create_index("ix_letter_event", ["event_id_hash"], unique=False)
        batch_op.create_index(
            "ix_letter_fingerprint", ["fingerprint", "state", "failed_ms", "id"], unique=False
        )
        batch_op.create_index("ix_letter_found", ["found_ms"], unique=False)
        batch_op.create_index("ix_letter_key", ["key_hash"], unique=False)
        batch_op.create_index("ix_letter_state", ["state", "failed_ms", "id"], unique=False)
        batch_op.create_index("ix_letter_stream", ["stream_id", "state", "failed_ms", "id"], unique=False)

    op.create_table(
        "letter_count",
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("letters", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["stream.id"],
        ),
        sa.PrimaryKeyConstraint("stream_id", "fingerprint", "state"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "letter_rollup",
        sa.Column("bucket_ms", sa.BigInteger(), nullable=False),
        sa.Column("stream_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("letters", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["stream.id"],
        ),
        sa.PrimaryKeyConstraint("bucket_ms", "stream_id", "state"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "command_item",
        sa.Column("command_id", sa.BigInteger(), nullable=False),
        sa.Column("letter_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("taken_from", sa.Text(), nullable=False),
        sa.Column("replay_id", sa.Text(), nullable=True),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("intent", sa.Text(), nullable=True),
        sa.Column("identity", sa.Text(), nullable=True),
        sa.Column("sent_position", sa.Text(), nullable=True),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["command_id"],
            ["command.id"],
        ),
        sa.ForeignKeyConstraint(
            ["letter_id"],
            ["letter.id"],
        ),
        sa.PrimaryKeyConstraint("command_id", "letter_id"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("command_item", schema=None) as batch_op:
        batch_op.create_index("ix_command_item_letter", ["letter_id", "attempt"], unique=False)
        batch_op.create_index("ix_command_item_replay", ["replay_id"], unique=False)
        batch_op.create_index("ix_command_item_state", ["command_id", "state"], unique=False)

    op.create_table(
        "letter_history",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("letter_id", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("command_id", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["letter_id"],
            ["letter.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("letter_history", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_letter_history_letter_id"), ["letter_id"], unique=False)

    op.create_table(
        "outcome",
        sa.Column("letter_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["letter_id"],
            ["letter.id"],
        ),
        sa.PrimaryKeyConstraint("letter_id", "attempt", "group_name"),
        sqlite_with_rowid=False,
    )
