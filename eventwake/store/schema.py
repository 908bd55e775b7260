"""The tables. Event segments are made at run time from `event_table`; everything else is fixed here.

Times are milliseconds since the epoch (UTC). `span_ms` of a rollup is the width of its buckets.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.schema import SchemaItem

from eventwake.store.texts import Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# SQLite gives its fast row ids only to a column typed exactly INTEGER
Id = BigInteger().with_variant(Integer, "sqlite")


# For tables that are only ever read by their primary key: SQLite then keeps them in its order
BY_KEY: dict[str, Any] = {"sqlite_with_rowid": False}


def _table(name: str, *parts: SchemaItem, **options: Any) -> Table:
    return Table(name, metadata, *parts, **options)


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **options)


def _int(name: str, **options: Any) -> Column[int]:
    return Column(name, BigInteger, nullable=False, **options)


def _maybe_text(name: str) -> Column[str]:
    return Column(name, Text)


def _maybe_int(name: str) -> Column[int]:
    return Column(name, BigInteger)


def _stream_id(**options: Any) -> Column[int]:
    return Column("stream_id", BigInteger, ForeignKey("stream.id"), nullable=False, **options)


# What is watched, and who watches it

source = _table(
    "source",
    _text("name", primary_key=True),
    _text("kind"),
    _text("state"),  # starting | up | down | refused | misconfigured
    _int("since_ms"),
    _text("detail", server_default=""),
    _text("server", server_default=""),  # "Valkey 9.1.2"
    _maybe_text("identity"),  # the server's run id: changes when it restarts or another takes over
    Column("writable", Boolean, nullable=False),
    _text("capabilities", server_default="{}"),  # JSON
    _int("checked_ms"),
)

worker = _table(
    "worker",
    _text("source", primary_key=True),  # "" for the collectors' own workers
    _text("role", primary_key=True),
    _int("pid"),
    _text("host"),
    _text("state"),  # starting | running | waiting | stopped
    _int("since_ms"),
    _int("heartbeat_ms"),
    _text("detail", server_default=""),
)

stream = _table(
    "stream",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("source", Text, ForeignKey("source.name"), nullable=False),
    _text("name"),
    _text("kind"),  # events | dead_letters
    _int("incarnation", server_default=text("0")),
    _maybe_int("length"),
    _maybe_int("added"),  # events ever added, as the broker counts
    _maybe_text("first_position"),
    _maybe_text("last_position"),
    _maybe_int("unread"),  # how far this collector is behind; null: unknown
    _int("missed", server_default=text("0")),  # counted gaps; `gap` has each
    _int("found_ms"),
    _maybe_int("sampled_ms"),
    _maybe_int("gone_ms"),
    UniqueConstraint("source", "name"),
)

cursor = _table(
    "cursor",
    _stream_id(primary_key=True),
    _int("partition", primary_key=True),
    _int("incarnation"),
    _text("position"),
    _maybe_int("read_count"),  # events of this incarnation up to the position; null: not countable
    _text("identity"),  # of the stream that it is a place in, where the broker names one
    _int("at_ms"),
    **BY_KEY,
)

gap = _table(
    "gap",
    Column("id", Id, primary_key=True, autoincrement=True),
    _stream_id(),
    _int("incarnation"),
    _text("after_position"),
    _text("before_position"),
    _maybe_int("missed"),  # null: some were lost, how many cannot be known
    _text("reason"),
    _int("at_ms", index=True),
)

# Events: one table a segment, made by `event_table`

segment = _table(
    "segment",
    Column("number", Id, primary_key=True, autoincrement=False),
    _int("opened_ms"),
    _maybe_int("sealed_ms"),
    _maybe_int("rows"),
    _maybe_int("low_ms"),  # earliest and latest recorded_ms, once sealed
    _maybe_int("high_ms"),
    _maybe_int("filter_blocks"),  # null: no filter yet
)

segment_filter = _table(
    "segment_filter",  # a row is 2 KiB: `segments.BlockedBloom`
    _int("segment", primary_key=True),
    _int("block", primary_key=True),
    Column("bits", LargeBinary, nullable=False),
)


def event_table(name: str, into: MetaData) -> Table:
    """One segment's table. The hashes are 64-bit and signed; what they find is compared with the text."""
    return Table(
        name,
        into,
        Column("id", Id, primary_key=True, autoincrement=True),
        _int("stream_id"),
        _int("incarnation"),
        _int("partition"),
        _text("position"),
        _int("recorded_ms"),
        _maybe_int("event_ms"),
        _maybe_text("event_type"),
        _maybe_text("event_id"),
        _maybe_text("key"),
        _maybe_text("producer"),
        _maybe_text("correlation_id"),
        _maybe_text("causation_id"),
        _text("link"),
        _int("flags"),
        _int("size"),  # bytes of the original
        Column("body", LargeBinary, nullable=False),
        _int("checksum"),  # CRC-32 of body
        _int("id_hash"),
        _maybe_int("correlation_hash"),
        _maybe_int("key_hash"),
        _int("type_hash"),
        Index(f"{name}_id", "id_hash"),
        Index(f"{name}_correlation", "correlation_hash"),
        Index(f"{name}_key", "key_hash"),
        Index(f"{name}_recorded", "recorded_ms"),
        Index(f"{name}_stream", "stream_id", "recorded_ms"),
        Index(f"{name}_type", "type_hash", "recorded_ms"),
    )


event_rollup = _table(
    "event_rollup",
    _int("span_ms", primary_key=True),
    _int("bucket_ms", primary_key=True),
    _stream_id(primary_key=True),
    _text("event_type", primary_key=True),
    _text("producer", primary_key=True),
    _int("events"),
    _int("bytes"),
    _int("undecodable"),
    **BY_KEY,
)

flow_link = _table(  # "events of `producer` in `stream_id` were caused by events in `cause_stream_id`"
    "flow_link",
    _int("cause_stream_id", primary_key=True),
    _text("producer", primary_key=True),
    _stream_id(primary_key=True),
    _int("seen"),
    _int("last_ms"),
    **BY_KEY,
)

# Groups

consumer_group = _table(
    "consumer_group",
    Column("id", Id, primary_key=True, autoincrement=True),
    _stream_id(),
    _text("name"),
    _text("status"),
    _text("rule"),
    _maybe_text("position"),
    _maybe_int("committed"),  # events passed since the stream began; null: not countable
    _maybe_int("end"),
    _text("lag_kind"),
    _maybe_int("lag"),
    _text("lag_reason", server_default=""),
    _text("time_lag_kind"),
    _maybe_int("time_lag_ms"),
    _text("time_lag_reason", server_default=""),
    _maybe_int("pending"),
    _maybe_text("oldest_pending"),
    _maybe_int("oldest_pending_idle_ms"),
    _maybe_int("most_deliveries"),
    _maybe_int("consumers"),
    _maybe_int("moved_ms"),  # when the position was last seen to change
    Column("drain_per_s", Float),
    Column("arrival_per_s", Float),
    _maybe_int("skipped"),  # trimmed before this group read them
    _int("sampled_ms"),
    _maybe_int("gone_ms"),
    UniqueConstraint("stream_id", "name"),
)

group_sample = _table(
    "group_sample",
    _int("group_id", primary_key=True),
    _int("at_ms", primary_key=True),
    _maybe_text("position"),
    _maybe_int("committed"),
    _maybe_int("end"),
    _text("lag_kind"),
    _maybe_int("lag"),
    _maybe_int("time_lag_ms"),
    _maybe_int("pending"),
    _maybe_text("oldest_pending"),
    **BY_KEY,
)

group_rollup = _table(
    "group_rollup",
    _int("group_id", primary_key=True),
    _int("bucket_ms", primary_key=True),
    _int("samples"),
    _int("unknown"),
    _maybe_int("lag_last"),
    _maybe_int("lag_max"),
    _maybe_int("time_lag_max_ms"),
    _maybe_int("pending_max"),
    **BY_KEY,
)

consumer = _table(
    "consumer",
    _int("group_id", primary_key=True),
    _text("name", primary_key=True),
    _int("pending"),
    _int("idle_ms"),  # since its last attempt to read
    _maybe_int("inactive_ms"),  # since its last successful read; Redis 7.2 on
    _int("sampled_ms"),
    **BY_KEY,
)

pending_entry = _table(
    "pending_entry",
    _int("group_id", primary_key=True),
    _text("position", primary_key=True),
    _text("consumer"),
    _int("idle_ms"),
    _int("deliveries"),
    _int("sampled_ms"),
    **BY_KEY,
)

# Dead letters and what is done with them

fingerprint = _table(
    "fingerprint",
    _text("id", primary_key=True),
    _text("error_class"),
    _maybe_text("frame"),
    _text("message"),
    _int("first_ms"),
    _int("last_ms"),
)

letter = _table(
    "letter",
    Column("id", Id, primary_key=True, autoincrement=True),
    _text("source"),
    _stream_id(),
    _int("incarnation"),
    _int("partition"),
    _text("position"),  # changes when it is restored
    _text("state"),
    _int("version"),  # grows with each change: an act names the version it saw
    _int("attempt"),  # of the newest retry; 0: never retried
    _maybe_int("command_id"),  # the operation that has it now, or had it last
    _text("rule"),
    _maybe_text("origin_stream"),
    _maybe_text("origin_position"),
    _maybe_text("group_name"),
    _text("fingerprint"),
    _text("error_class"),
    _text("error_message"),
    _maybe_text("stack_trace"),
    _maybe_int("attempts"),
    _maybe_int("first_failed_ms"),
    _int("failed_ms"),
    _text("how"),  # JSON: fact -> how it is known
    _maybe_text("event_type"),
    _maybe_text("event_id"),
    _maybe_text("key"),
    _maybe_text("correlation_id"),
    _maybe_int("event_id_hash"),
    _maybe_int("correlation_hash"),
    _maybe_int("key_hash"),
    _maybe_text("came_from"),  # replay id found in it: it is an earlier letter come back
    _text("own_fields"),  # JSON: names of the fields that the dead-lettering added
    _int("size"),
    Column("body", LargeBinary, nullable=False),
    _int("checksum"),
    _int("flags"),
    _int("found_ms"),
    _int("arrived_ms", server_default=text("0")),  # when it came, whatever it says of when it failed
    _int("changed_ms"),
    UniqueConstraint("stream_id", "incarnation", "partition", "position"),
    # a page's order within each thing that it can be filtered by, and what is counted without the letter
    Index("ix_letter_failed", "failed_ms", "id", "fingerprint"),
    Index("ix_letter_state", "state", "failed_ms", "id", "stream_id", "version"),
    Index("ix_letter_fingerprint", "fingerprint", "state", "failed_ms", "id"),
    Index("ix_letter_stream", "stream_id", "state", "failed_ms", "id"),
    Index("ix_letter_group", "group_name", "state", "failed_ms", "id", "fingerprint"),
    Index("ix_letter_type", "event_type", "state", "failed_ms", "id", "fingerprint"),
    Index("ix_letter_changed", "state", "changed_ms", "stream_id"),
    Index("ix_letter_command", "command_id", "state"),
    Index("ix_letter_event", "event_id_hash"),
    Index("ix_letter_correlation", "correlation_hash"),
    Index("ix_letter_key", "key_hash"),
    Index("ix_letter_came_from", "came_from"),
    Index("ix_letter_arrived", "arrived_ms"),
    sqlite_autoincrement=True,  # an id in a link or an audit row must never come to mean another letter
)

letter_count = _table(
    "letter_count",
    _stream_id(primary_key=True),
    _text("fingerprint", primary_key=True),
    _text("state", primary_key=True),
    _int("letters"),
    **BY_KEY,
)

letter_rollup = _table(  # letters that entered a state; "open" counts arrivals
    "letter_rollup",
    _int("bucket_ms", primary_key=True),
    _stream_id(primary_key=True),
    _text("state", primary_key=True),
    _int("letters"),
    **BY_KEY,
)

letter_history = _table(
    "letter_history",
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("letter_id", BigInteger, ForeignKey("letter.id"), nullable=False, index=True),
    _int("at_ms"),
    _text("state"),
    _maybe_int("command_id"),
    _text("detail"),
)

command = _table(
    "command",
    Column("id", Id, primary_key=True, autoincrement=True),
    _text("kind"),
    _text("source"),
    _text("actor"),
    _text("origin", server_default=""),  # where the actor acted from
    _text("reason", server_default=""),
    _text("parameters", server_default="{}"),  # JSON
    _text("state"),
    _int("items"),
    _int("created_ms", index=True),
    _maybe_int("started_ms"),
    _maybe_int("finished_ms"),
    _text("detail", server_default=""),
    Index("ix_command_state", "state", "source"),
    sqlite_autoincrement=True,
)

command_item = _table(
    "command_item",
    Column("command_id", BigInteger, ForeignKey("command.id"), primary_key=True),
    Column("letter_id", BigInteger, ForeignKey("letter.id"), primary_key=True),
    _int("attempt"),
    _text("state"),
    _text("taken_from"),  # the letter's state before it was claimed
    _maybe_text("replay_id"),
    _maybe_text("target"),  # the stream that a retry sends to
    _maybe_text("intent"),  # JSON, written before the broker is touched
    _maybe_text("identity"),  # of the server that took it
    _maybe_text("sent_position"),
    _maybe_int("sent_ms"),
    _text("detail", server_default=""),
    _int("changed_ms"),
    Index("ix_command_item_state", "command_id", "state"),
    Index("ix_command_item_letter", "letter_id", "attempt"),
    Index("ix_command_item_replay", "replay_id"),
    **BY_KEY,
)

outcome = _table(  # what became of one sent letter in one group
    "outcome",
    Column("letter_id", BigInteger, ForeignKey("letter.id"), primary_key=True),
    _int("attempt", primary_key=True),
    _text("group_name", primary_key=True),
    _text("state"),  # waiting | pending | consumed | lost
    _int("at_ms"),
    **BY_KEY,
)

audit = _table(
    "audit",
    Column("id", Id, primary_key=True, autoincrement=True),
    _int("at_ms", index=True),
    _text("actor"),
    _text("origin"),
    _text("act"),
    _text("object"),
    _text("detail"),  # JSON
    sqlite_autoincrement=True,
)

# Sagas and alerts

saga = _table(
    "saga",
    _text("name", primary_key=True),
    _text("correlation_id", primary_key=True),
    _text("state"),
    _text("last_step"),
    _maybe_text("key"),
    _int("started_ms"),
    _int("last_ms"),
    Index("ix_saga_state", "name", "state", "last_ms"),
    **BY_KEY,
)

alert = _table(
    "alert",
    Column("id", Id, primary_key=True, autoincrement=True),
    _text("rule"),
    _text("kind"),
    _text("subject"),  # what a person reads: "orders/payments · payment-service"
    _text("source"),
    _text("matched"),  # what the rule's pattern was compared with: "payments/payment-service"
    _text("state"),
    _int("since_ms"),
    _maybe_int("fired_ms"),
    _maybe_int("resolved_ms"),
    Column("value", Float),
    Column("above", Float, nullable=False),
    _int("evaluated_ms"),
    _maybe_text("acknowledged_by"),
    _maybe_int("acknowledged_ms"),
    _text("note", server_default=""),
    Index("ix_alert_rule", "rule", "subject", "resolved_ms"),
    Index("ix_alert_state", "state", "fired_ms"),
)
