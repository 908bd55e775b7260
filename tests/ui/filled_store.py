"""A store with something of everything that a page may have to show, written as the collectors write it.

`fill` tells of a shop, of a warehouse that may only be watched and of an archive that is down;
`add_hostile` puts texts that want to be obeyed into every slot that a stranger can write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json import dumps
from uuid import NAMESPACE_URL, uuid5

from eventwake.decoding import original
from eventwake.decoding.dead_letters.redis_streams import REPLAY_ID_FIELD, RedisDeadLetters
from eventwake.decoding.envelope import TEXT_AT_MOST, Decoder
from eventwake.decoding.masking import Masker
from eventwake.domain.alert import Alert, AlertKind, AlertState
from eventwake.domain.dead_letter import LetterState, replay_id
from eventwake.domain.envelope import Record, without
from eventwake.domain.lag import Lag, Status
from eventwake.domain.operation import Actor, CommandKind, ItemState
from eventwake.domain.saga import SagaDefinition
from eventwake.settings import AlertRule
from eventwake.store import command_items, commands
from eventwake.store.commands import Order
from eventwake.store.reads import letters as letter_reads
from eventwake.store.reads.alerts import Subject, current
from eventwake.store.session import Connection, Store
from eventwake.store.writes import alerts, events, groups, letters, sagas, sources
from eventwake.store.writes.events import Flag
from eventwake.store.writes.sources import CursorRow

SEGMENT_ROWS = 1_000_000
CAP_BYTES = 4_096
MASKED = "data.card"  # in the settings below, and in the events
SETTINGS = f"""
[environment]
name = "staging"
colour = "violet"

[store]
url = "%s"

[[source]]
name = "shop"
kind = "redis_streams"
url = "redis://127.0.0.1:6379/0"
writable = true
business_keys = ["order_id"]
mask = ["{MASKED}"]

[[source]]
name = "warehouse"
kind = "redis_streams"
url = "redis://127.0.0.1:6380/0"

[[source]]
name = "archive"
kind = "redis_streams"
url = "redis://127.0.0.1:6381/0"
writable = true

[[saga]]
name = "order"
steps = ["OrderPlaced", "InventoryReserved", "PaymentCharged"]
completed = ["OrderConfirmed"]
compensations = ["InventoryReleased", "PaymentRefunded"]
compensated = ["OrderCancelled"]
stuck_after_s = 300
"""
ORDER_SAGA = SagaDefinition(
    "order",
    ("OrderPlaced", "InventoryReserved", "PaymentCharged"),
    ("InventoryReleased", "PaymentRefunded"),
    ("OrderConfirmed",),
    ("OrderCancelled",),
    300,
)
STACK_TRACE = """Traceback (most recent call last):
  File "/srv/shop/bus.py", line 88, in deliver
    handler(event)
  File "/srv/shop/payment.py", line 41, in charge
    raise {error}
"""

# Each wants something else of the page; all hold "evil", so that a test can see that they were shown
MARKDOWN = (
    "![evil](http://evil.example/a.png) [evil](http://evil.example) __evil__ `evil` $evil$ :violet[evil] "
    "<img src='http://evil.example/b.png'> www.evil.example"
)
FORMULA = '=HYPERLINK("http://evil.example";"evil")'
CONTROL = "evil \x1b[31mred\x07 \x85\u202etxt.live\u202c \u2066evil\u2069 \u200fevil\r\n\t# evil"
LONG = "evil-" + 400 * "0123456789"
HOSTILE = (MARKDOWN, FORMULA, CONTROL, LONG)


def uid(*names: str) -> str:
    """A UUID that is the same in every run."""
    return str(uuid5(NAMESPACE_URL, "/".join(names)))


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def envelope(
    event_type: str, producer: str, order: str, at_ms: int, cause: str | None = None, **more: str
) -> dict[str, str]:
    """The fields of an event that belongs to an order. `cause` is the type of the event that caused it."""
    fields = {
        "event_type": event_type,
        "event_id": uid(order, event_type),
        "timestamp": iso(at_ms),
        "correlation_id": uid(order),
        "causation_id": uid(order, cause) if cause else "",
        "producer": producer,
        "data": dumps({"order_id": order, "total": 4990, "card": "4111 1111 1111 1111"}),
    }
    return {name: value for name, value in {**fields, **more}.items() if value}


@dataclass(frozen=True, slots=True)
class Stream:
    id: int
    source: str
    name: str


@dataclass(slots=True)
class Filled:
    """What a test wants to name of the filled store."""

    letters: dict[LetterState, int] = field(default_factory=dict)  # one of each state
    read_only: int = 0  # an open letter of the source that may only be watched
    without_target: int = 0  # an open letter that does not say where it came from
    return_of: int = 0  # the letter that one of the retried came back as
    traces: dict[str, str] = field(default_factory=dict)  # state of the order -> its correlation id
    operations: dict[str, int] = field(default_factory=dict)  # state -> command
    streams: dict[str, int] = field(default_factory=dict)  # name -> id
    alerts: dict[str, int] = field(default_factory=dict)  # "firing" | "acknowledged" -> id
    hostile: list[dict[str, str]] = field(default_factory=list)  # of each text, what a link names


class Builder:
    """Writes into one open transaction; times are so many seconds before `now_ms`."""

    def __init__(self, tx: Connection, now_ms: int) -> None:
        self.tx, self.now_ms = tx, now_ms
        self._decoder = Decoder(["order_id"])
        self._masker = Masker([MASKED])
        self._entries = 0

    def ago(self, seconds: float) -> int:
        return self.now_ms - round(seconds * 1000)

    def source(self, name: str, *, writable: bool, state: str = "up", detail: str = "") -> None:
        since_ms = self.ago(7_200)
        sources.register_source(self.tx, name, "redis_streams", writable, "{}", since_ms)
        sources.source_state(self.tx, name, state, since_ms, detail=detail, server="Valkey 9.1.2")
        if state == "up":  # checked just now
            sources.source_state(self.tx, name, state, self.now_ms)
        for role in ("sampler", "operator") if writable else ("sampler",):
            doing = "running" if state == "up" else "waiting"
            sources.heartbeat(self.tx, name, role, doing, self.now_ms, detail)

    def collectors(self, heartbeat_ms: int) -> None:
        for role in ("supervisor", "alerter"):
            sources.heartbeat(self.tx, "", role, "running", heartbeat_ms)

    def stream(self, source: str, name: str, *, kind: str = "events", unread: int | None = 0) -> Stream:
        sources.add_streams(self.tx, source, [(name, kind)], self.ago(7_200))
        known = sources.known_streams(self.tx, source)
        [found] = [stream for stream in known if stream.name == name]
        cursor = CursorRow(self.position(self.now_ms), None, 0, 0, "")
        sources.save_cursor(self.tx, found.id, None, cursor, self.now_ms)
        look = {"length": 1_200, "added": 48_210, "unread": unread, "sampled_ms": self.now_ms}
        sources.stream_seen(self.tx, [{"id": found.id, **look}])
        return Stream(found.id, source, name)

    def position(self, at_ms: int) -> str:
        self._entries += 1
        return f"{at_ms}-{self._entries}"

    def event(self, stream: Stream, at_ms: int, fields: Mapping[str, str]) -> str:
        """Takes an event in as the sampler does; its position."""
        record = _record(self.position(at_ms), at_ms, fields)
        decoded, size = self._decoder.decode(record), original.size(record)
        counts = events.Counts(set())
        counts.add(stream.id, record, decoded, size)
        flags = Flag.UNDECODABLE if decoded.undecodable else Flag(0)
        kept, masked = self._masker.masked(record)
        flags |= Flag.MASKED if masked else Flag(0)
        if size > CAP_BYTES:
            kept, flags = original.capped(kept, CAP_BYTES), flags | Flag.CAPPED
        body = original.pack(kept)
        row = events.event_row(stream.id, stream.name, 0, kept, decoded, body, int(flags), size)
        events.append(self.tx, [row], SEGMENT_ROWS, self.now_ms)
        events.learn_links(self.tx, stream.id, [row], self.now_ms)
        events.roll_up(self.tx, [counts])
        if decoded.event_type in ORDER_SAGA.types and decoded.correlation_id:
            step = sagas.SagaEvent(decoded.correlation_id, decoded.event_type, decoded.key, at_ms)
            sagas.follow(self.tx, ORDER_SAGA, [step])
        return record.position

    def letter(self, stream: Stream, at_ms: int, fields: Mapping[str, str], **failure: str) -> int:
        """Takes a dead letter in: an event's fields, and those that tell of its failure."""
        record = _record(self.position(at_ms), at_ms, {**fields, **failure})
        told = RedisDeadLetters().decode(record, stream.name)
        decoded = self._decoder.decode(record._replace(fields=without(record.fields, told.own_fields)))
        new = letters.NewLetter(record, decoded, told, original.pack(record), original.size(record))
        [letter_id] = letters.add(self.tx, stream.source, stream.id, 0, [new], at_ms)
        return letter_id

    def group(
        self,
        stream: Stream,
        name: str,
        lag: Lag,
        waits: Lag,
        *,
        status: Status = Status.OK,
        rule: str = "2: within what is allowed",
        position: str | None = None,
        pending: Sequence[str] = (),
        consumer: str = "worker-1",
        drain_per_s: float | None = 2.5,
    ) -> int:
        """A group with half an hour of samples, its consumer and its pending entries."""
        known = lag.value is not None
        row = {
            "stream_id": stream.id, "name": name, "status": status.value, "rule": rule, "position": position,
            "committed": 48_000 if known else None, "end": 48_210 if known else None,
            "lag_kind": lag.kind.value, "lag": lag.value, "lag_reason": lag.reason,
            "time_lag_kind": waits.kind.value, "time_lag_ms": waits.value, "time_lag_reason": waits.reason,
            "pending": len(pending) if known else None, "oldest_pending": min(pending, default=None),
            "oldest_pending_idle_ms": 42_000 if pending else None, "most_deliveries": 3 if pending else None,
            "consumers": 1, "drain_per_s": drain_per_s, "arrival_per_s": 2.0, "skipped": 0,
            "sampled_ms": self.now_ms,
        }  # fmt: skip
        group_id = groups.save_group(self.tx, row)
        sample = {
            "group_id": group_id, "committed": row["committed"], "end": row["end"],
            "lag_kind": lag.kind.value, "lag": lag.value, "time_lag_ms": waits.value,
            "pending": row["pending"], "oldest_pending": row["oldest_pending"],
        }  # fmt: skip
        times = range(self.ago(1_800), self.now_ms, 60_000)
        groups.save_samples(
            self.tx, [{**sample, "at_ms": at, "position": f"{at}-0" if position else None} for at in times]
        )
        seen = {"group_id": group_id, "sampled_ms": self.now_ms}
        groups.replace_members(
            self.tx,
            [group_id],
            [{**seen, "name": consumer, "pending": len(pending), "idle_ms": 800, "inactive_ms": None}],
            [{**seen, "position": p, "consumer": consumer, "idle_ms": 42_000, "deliveries": 3}
             for p in pending],
        )  # fmt: skip
        return group_id

    def submit(
        self, kind: CommandKind, source: str, letter_ids: Sequence[int], reason: str = "", at_s: float = 30
    ) -> int:
        """An operation as the dashboard asks for it; its id."""
        rows = letter_reads.rows_of(self.tx, letter_ids)
        order = Order(kind, source, Actor(), [(row.id, row.version) for row in rows], reason)
        return commands.submit(self.tx, order, self.ago(at_s)).command_id

    def carry_out(
        self,
        command_id: int,
        letter_ids: Sequence[int],
        *states: LetterState,
        item: ItemState = ItemState.DONE,
        detail: str = "",
        at_s: float = 20,
    ) -> None:
        """What the operator, and then the follower, writes of letters on their way through these states."""
        at_ms = self.ago(at_s)
        command_items.begin(self.tx, command_id, at_ms)
        command_items.intend(self.tx, command_id, dict.fromkeys(letter_ids, "{}"), at_ms)
        if LetterState.SENT in states:
            places = {i: (self.position(at_ms), at_ms) for i in letter_ids}
            command_items.sent_items(self.tx, command_id, places, "run-1", at_ms)
        for state in states:
            letters.transition(
                self.tx, letter_ids, state, at_ms, detail=detail or state.value, command_id=command_id
            )
        if not states:  # refused: as it was
            command_items.release(self.tx, command_id, letter_ids, at_ms, detail)
        command_items.finish_items(self.tx, command_id, dict.fromkeys(letter_ids, (item, detail)), at_ms)
        command_items.finish_if_ended(self.tx, command_id, at_ms)

    def alert(self, rule: AlertRule, subject: Subject, state: AlertState, at_s: float) -> int | None:
        """One evaluation of a rule; the alert's id while it is not over."""
        known = current(self.tx).get((rule.name, subject.name))
        alert = Alert(state, self.ago(at_s), subject.value)
        alerts.save(self.tx, rule, subject, known.id if known else None, alert, self.ago(at_s))
        found = current(self.tx).get((rule.name, subject.name))
        return found.id if found else None


def _record(position: str, at_ms: int, fields: Mapping[str, str]) -> Record:
    flat = [part.encode() for pair in fields.items() for part in pair]
    return Record(position, at_ms, flat)


def fill(store: Store, now_ms: int) -> Filled:
    """Fills a migrated store; collectors that reported just now."""
    filled = Filled()
    with store.write() as tx:
        build = Builder(tx, now_ms)
        build.collectors(now_ms)
        _watched(build, filled)
        _alerts(build, filled)
    return filled


def _watched(build: Builder, filled: Filled) -> None:
    build.source("shop", writable=True)
    build.source("warehouse", writable=False)
    build.source("archive", writable=True, state="down", detail="Connection refused")
    orders, payments, emails = (build.stream("shop", name) for name in ("orders", "payments", "emails"))
    dead_payments, dead_emails = (
        build.stream("shop", f"{name}:dlq", kind="dead_letters") for name in ("payments", "emails")
    )
    graveyard = build.stream("shop", "graveyard", kind="dead_letters")
    stock = build.stream("warehouse", "stock", unread=None)
    dead_stock = build.stream("warehouse", "stock:dlq", kind="dead_letters")
    invoices = build.stream("archive", "invoices")
    streams = (orders, payments, emails, dead_payments, dead_emails, graveyard, stock, dead_stock, invoices)
    filled.streams = {stream.name: stream.id for stream in streams}
    held = _orders(build, filled, orders, payments, emails)
    _groups(build, orders, payments, emails, stock, invoices, held)
    _letters(build, filled, dead_payments, graveyard, dead_stock)
    places = (build.position(build.ago(900)), build.position(build.ago(890)))
    sources.add_gap(build.tx, payments.id, 0, places, 17, "trimmed before they were read", build.ago(890))
    sources.add_gap(build.tx, emails.id, 0, places, None, "the stream was flushed", build.ago(600))


def _orders(build: Builder, filled: Filled, orders: Stream, payments: Stream, emails: Stream) -> str:
    """Orders in every state of their saga; the position of an event that a group holds."""

    def tell(order: str, since_s: float, *steps: tuple[Stream, str, str, str | None]) -> str:
        position = ""
        for i, (stream, event_type, producer, cause) in enumerate(steps):
            at_ms = build.ago(since_s) + 350 * i
            position = build.event(stream, at_ms, envelope(event_type, producer, order, at_ms, cause))
        return position

    placed = (orders, "OrderPlaced", "order-service", None)
    reserved = (orders, "InventoryReserved", "inventory-service", "OrderPlaced")
    charged = (payments, "PaymentCharged", "payment-service", "InventoryReserved")
    confirmed = (orders, "OrderConfirmed", "order-service", "PaymentCharged")
    failed = (payments, "PaymentFailed", "payment-service", "InventoryReserved")
    released = (orders, "InventoryReleased", "inventory-service", "PaymentFailed")
    cancelled = (orders, "OrderCancelled", "order-service", "InventoryReleased")
    tell("ord-1001", 240, placed, reserved, charged, confirmed)
    tell("ord-1002", 120, placed, reserved, failed, released, cancelled)
    tell("ord-1003", 1_500, placed, reserved)
    tell("ord-1004", 20, placed, reserved)
    for state, order in (
        ("completed", "ord-1001"), ("compensated", "ord-1002"), ("stuck", "ord-1003"), ("running", "ord-1004")
    ):  # fmt: skip
        filled.traces[state] = uid(order)
    at_ms = build.ago(100)
    again = envelope("PaymentCharged", "payment-service", "ord-1001", at_ms, "InventoryReserved")
    build.event(payments, at_ms, again)  # a producer that published twice
    broken = {"event_type": "EmailQueued", "data": '{"to": "someone@shop.example'}
    build.event(emails, at_ms, broken)
    whole = dumps({"order_id": "ord-1001", "text": 2 * CAP_BYTES * "x"})
    build.event(emails, at_ms, envelope("EmailQueued", "email-service", "ord-1001", at_ms, data=whole))
    old = envelope("EmailQueued", "email-service", "ord-1001", at_ms, timestamp="1970-01-01T00:00:01Z")
    build.event(emails, at_ms, {**old, "event_id": uid("an old clock")})
    return tell("ord-1005", 60, placed, (payments, "PaymentRequested", "order-service", "OrderPlaced"))


def _groups(
    build: Builder,
    orders: Stream,
    payments: Stream,
    emails: Stream,
    stock: Stream,
    invoices: Stream,
    held: str,
) -> None:
    """A group of each kind of lag, and of each status."""
    here = build.position(build.now_ms)
    none, unknown = Lag.known(0), Lag.unknown("the broker keeps no count of this stream")
    build.group(orders, "inventory-service", none, none, position=here)
    build.group(
        payments, "payment-service", Lag.known(210), Lag.approximate(4_200), status=Status.FALLING_BEHIND,
        rule="6: lag 20 -> 210 in 1800 s", position=here, pending=[held], drain_per_s=0.5,
    )  # fmt: skip
    build.group(
        payments, "fraud-check", Lag.at_most(90, "entries were deleted"), Lag.at_most(9_000),
        status=Status.REWOUND, rule="4: position fell by 80 events", position=f"{build.ago(5_000)}-0",
    )  # fmt: skip
    build.group(
        emails, "email-service", Lag.at_least(1_000), Lag.at_least(900_000, "older than the oldest sample"),
        status=Status.STALLED, rule="5: behind and unmoved for 1800 s", position=f"{build.ago(900)}-0",
    )  # fmt: skip
    build.group(
        stock, "stock-keeper", Lag.approximate(40), Lag.approximate(61_000), status=Status.STOPPED,
        rule="3: position unmoved for over 1800 s while events came", position=f"{build.ago(61)}-0",
    )  # fmt: skip
    build.group(
        invoices, "bookkeeper", unknown, Lag.unknown("no readable position or end"), status=Status.UNKNOWN,
        rule="1: lag unknown", drain_per_s=None,
    )  # fmt: skip


def declined(number: int, build: Builder, at_s: float) -> dict[str, str]:
    """The failure fields of a payment that was declined, as the shop's services write them."""
    error = f"PaymentDeclined: card of customer {number} was declined"
    return {
        "original_stream": "payments", "original_id": f"{build.ago(at_s + 30)}-0",
        "consumer_group": "payment-service", "consumer": "payment-1", "error_type": "PaymentDeclined",
        "error": f"card of customer {number} was declined", "stack_trace": STACK_TRACE.format(error=error),
        "retry_count": "4", "first_failed_at": iso(build.ago(at_s + 20)), "failed_at": iso(build.ago(at_s)),
    }  # fmt: skip


def _letters(build: Builder, filled: Filled, dead: Stream, graveyard: Stream, dead_stock: Stream) -> None:
    """A letter in each state, operations in several, and a letter that came back."""
    retry, discard = CommandKind.RETRY, CommandKind.DISCARD
    ids = {}
    for number, state in enumerate(LetterState):
        order, at_s = f"ord-2{number:03}", 400.0 + number
        fields = envelope("PaymentRequested", "order-service", order, build.ago(at_s + 30))
        ids[state] = build.letter(dead, build.ago(at_s), fields, **declined(number, build, at_s))
    filled.letters = ids

    for state, way in {
        LetterState.SENT: (LetterState.SENT,),
        LetterState.SETTLED: (LetterState.SENT, LetterState.SETTLED),
        LetterState.CONSUMED: (LetterState.SENT, LetterState.CONSUMED),
        LetterState.SUCCEEDED: (LetterState.SENT, LetterState.CONSUMED, LetterState.SUCCEEDED),
        LetterState.CAME_BACK: (LetterState.SENT, LetterState.CONSUMED),
    }.items():
        command_id = build.submit(retry, "shop", [ids[state]], at_s=300)
        build.carry_out(command_id, [ids[state]], *way, at_s=290)
    looks = {"letter_id": ids[LetterState.CONSUMED], "attempt": 1, "at_ms": build.now_ms}
    letters.save_outcomes(
        build.tx,
        [
            {**looks, "group_name": "payment-service", "state": "consumed"},
            {**looks, "group_name": "fraud-check", "state": "waiting"},
        ],
    )
    [sent] = letter_reads.rows_of(build.tx, [ids[LetterState.CAME_BACK]])
    filled.return_of = build.letter(
        dead, build.ago(270), envelope("PaymentRequested", "order-service", "ord-2006", build.ago(280)),
        **{REPLAY_ID_FIELD.decode(): replay_id("shop", dead.name, 0, sent.position, 1)},
        **declined(6, build, 270),
    )  # fmt: skip

    filled.operations["done"] = build.submit(discard, "shop", [ids[LetterState.DISCARDED]], "test order", 200)
    build.carry_out(filled.operations["done"], [ids[LetterState.DISCARDED]], LetterState.DISCARDED, at_s=190)
    doubtful = [ids[LetterState.UNKNOWN]]
    build.carry_out(
        build.submit(retry, "shop", doubtful, at_s=180), doubtful, LetterState.UNKNOWN,
        item=ItemState.UNKNOWN, detail="the operator was killed while it sent", at_s=170,
    )  # fmt: skip
    letters.transition(build.tx, [ids[LetterState.EXPIRED]], LetterState.EXPIRED, build.ago(160))
    letters.transition(build.tx, [ids[LetterState.GONE]], LetterState.GONE, build.ago(160))

    email = envelope("EmailQueued", "email-service", "ord-3001", build.ago(500))
    filled.without_target = build.letter(graveyard, build.ago(490), email, error="Timeout: no answer in 30 s")
    filled.read_only = build.letter(
        dead_stock, build.ago(480), envelope("StockCounted", "warehouse-7", "ord-3002", build.ago(500)),
        error_type="KeyError", error="'sku'", consumer_group="stock-keeper", original_stream="stock",
    )  # fmt: skip

    refused = [filled.without_target]
    rows = letter_reads.rows_of(build.tx, refused)
    order = Order(retry, "shop", Actor(), [(rows[0].id, rows[0].version)], "", {"target": "emails"})
    filled.operations["failed"] = commands.submit(build.tx, order, build.ago(150)).command_id
    build.carry_out(
        filled.operations["failed"], refused, item=ItemState.REFUSED, detail="the stream is full", at_s=140
    )
    stopped = build.submit(retry, "shop", [ids[LetterState.OPEN]], at_s=130)
    commands.cancel(build.tx, stopped, Actor(), build.ago(120))
    filled.operations["cancelled"] = stopped
    filled.operations["planned"] = build.submit(retry, "shop", [ids[LetterState.CLAIMED]], at_s=2)


def _alerts(build: Builder, filled: Filled) -> None:
    far = AlertRule(name="Group far behind", kind=AlertKind.LAG, above=100, for_s=60)
    long = AlertRule(name="Events waiting too long", kind=AlertKind.TIME_LAG, above=60, for_s=60)
    down = AlertRule(name="Source down", kind=AlertKind.SOURCE_DOWN, above=30)
    died = AlertRule(name="New dead letters", kind=AlertKind.DEAD_LETTERS, above=0)
    payments = Subject("shop/payments · payment-service", "shop", "payments/payment-service", 75)
    emails = Subject("shop/emails · email-service", "shop", "emails/email-service", 1_000)
    archive = Subject("archive", "archive", "archive", 7_200)
    letters_of = Subject("shop/payments:dlq", "shop", "payments:dlq", 3)
    filled.alerts["firing"] = build.alert(far, emails, AlertState.FIRING, 300) or 0
    filled.alerts["acknowledged"] = build.alert(down, archive, AlertState.FIRING, 7_100) or 0
    looked_after = filled.alerts["acknowledged"]
    alerts.acknowledge(build.tx, looked_after, Actor(), "disk is being swapped", build.now_ms)
    build.alert(long, payments, AlertState.PENDING, 20)
    build.alert(died, letters_of, AlertState.FIRING, 400)
    build.alert(died, letters_of, AlertState.RESOLVED, 300)


def add_hostile(store: Store, filled: Filled, now_ms: int) -> None:
    """Adds, for each hostile text, a stream, an event, a group, a letter and an alert that are made of it."""
    with store.write() as tx:
        build = Builder(tx, now_ms)
        for number, text in enumerate(HOSTILE):
            _hostile(build, filled, number, text)
        detail = f"Connection refused {MARKDOWN}"
        sources.source_state(tx, "archive", "down", now_ms, detail=detail, server=MARKDOWN)


def _hostile(build: Builder, filled: Filled, number: int, text: str) -> None:
    name = f"{text}{number}"
    stream = build.stream("shop", name)
    dead = build.stream("shop", f"{name}:dlq", kind="dead_letters")
    fields = {
        "event_type": text, "event_id": f"{text}-event", "correlation_id": name, "producer": text,
        "order_id": text, "data": dumps({"order_id": text, text: [text]}), text: text,
    }  # fmt: skip
    at_ms = build.ago(50 - number)
    position = build.event(stream, at_ms, fields)
    build.event(stream, at_ms + 5, {**fields, "event_id": f"{text}-second", "causation_id": f"{text}-lost"})
    build.event(stream, at_ms + 9, fields)
    build.group(
        stream, name, Lag.unknown(text), Lag.unknown(text), status=Status.STALLED, rule=text,
        position=position, pending=[position], consumer=text,
    )  # fmt: skip
    letter_id = build.letter(
        dead, at_ms + 700, fields, original_stream=name, original_id=position, consumer_group=name,
        error_type=text, error=text, stack_trace=text, retry_count="3",
    )  # fmt: skip
    build.submit(CommandKind.RETRY, "shop", [letter_id], text, at_s=1)
    other = build.letter(
        dead, at_ms + 800, {**fields, "event_id": f"{text}-other"}, original_stream=name, consumer_group=name,
        error_type=text, error=text, stack_trace=text,
    )  # fmt: skip
    rule = AlertRule(name=f"Rule {name}", kind=AlertKind.LAG, above=1)
    subject = Subject(f"shop/{name}", "shop", f"{name}/{name}", 5)
    alert_id = build.alert(rule, subject, AlertState.FIRING, 30) or 0
    alerts.acknowledge(build.tx, alert_id, Actor(text), text, build.now_ms)
    past = Subject(f"{name}, past", "shop", name, 5)
    build.alert(rule, past, AlertState.FIRING, 100)
    build.alert(rule, past, AlertState.RESOLVED, 90)
    places = (position, position)
    sources.add_gap(build.tx, stream.id, 0, places, None, text, build.now_ms)
    late = sagas.SagaEvent(name, text, text, build.ago(5_000))
    sagas.follow(build.tx, ORDER_SAGA, [late])
    sagas.follow(build.tx, ORDER_SAGA, [sagas.SagaEvent(f"{name}-2", text, None, build.ago(5_000))])
    filled.hostile.append(
        {"trace": name[:TEXT_AT_MOST], "group": name, "pick": f"stream:{stream.id}", "letter": str(other)}
    )
