"""The order system for real: its processes, started from its command line, on a real server."""

import collections
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from examples.redis_server import NoServer, free_port, start_server

pytestmark = pytest.mark.server

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "examples.order_system")
QUIET = ("--duplicates=0", "--declines=0", "--shortages=0", "--poison=0", "--greylisting=0")
FAST = ("--rate=40", "--backoff=0.05", "--step-timeout=20", "--account-pause=0.1", "--register-every=60")
SERVICES = ("user", "order", "inventory", "payment", "email", "analytics")
ENVELOPE = {"event_type", "event_id", "timestamp", "correlation_id", "producer", "schema_version", "data"}
LETTER = {
    *("original_stream", "original_id", "consumer_group", "consumer", "error_type", "error"),
    *("stack_trace", "retry_count", "first_failed_at", "failed_at"),
}
HAPPY_CHAIN = (
    *("OrderPlaced", "ReserveInventory", "InventoryReserved"),
    *("ChargePayment", "PaymentCharged", "OrderConfirmed"),
)
ISO_MS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

Fields = dict[str, str]


def wait_until(condition: Callable[[], object], what: str, within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


class OrderSystem:
    """The processes of one test, and what lies in their streams."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.redis: Any = redis.Redis.from_url(url, protocol=2)
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([*COMMAND, "run", *arguments, "--url", self.url], cwd=ROOT)
        self._started.append(process)
        return process

    def command(self, *arguments: str) -> str:
        command = [*COMMAND, *arguments, "--url", self.url]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    def stop(self) -> None:
        for process in self._started:
            process.terminate()
        for process in self._started:
            process.wait(timeout=10)

    def entries(self, stream: str, event_type: str | None = None) -> list[Fields]:
        found = [
            {name.decode(): value.decode("latin-1") for name, value in fields.items()}
            for _, fields in self.redis.xrange(stream)
        ]
        return [fields for fields in found if event_type in (None, fields["event_type"])]

    def events(self, stream: str, event_type: str | None = None) -> list[Fields]:
        """Each event once, whatever the number of its copies."""
        return list({fields["event_id"]: fields for fields in self.entries(stream, event_type)}.values())

    def duplicates_of(self, group: str) -> int:
        return int(self.redis.hget("order_system:duplicates", group) or 0)

    def send_again(self, letter: dict[bytes, bytes], stream: str, *, strip: bool) -> None:
        """As an operator's tool does it: with one field more, and with or without the letter's own."""
        kept = {name: value for name, value in letter.items() if not (strip and name.decode() in LETTER)}
        self.redis.xadd(stream, {**kept, b"replay_id": b"\xff\x00raw"})


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    try:
        server = start_server(port, tmp_path_factory.mktemp("redis"))
    except NoServer as error:
        if os.environ.get("REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(str(error))
    yield f"redis://127.0.0.1:{port}/0"
    server.kill()
    server.wait()


@pytest.fixture
def system(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[OrderSystem]:
    for name in [name for name in os.environ if name.startswith("ORDER_SYSTEM_")]:
        monkeypatch.delenv(name)
    order_system = OrderSystem(server_url)
    order_system.redis.flushall()
    yield order_system
    order_system.stop()


def data_of(fields: Fields) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(fields["data"])
    return data


def order_ids(events: list[Fields]) -> list[str]:
    return [data_of(event)["order_id"] for event in events]


def test_a_healthy_order_is_reserved_charged_and_confirmed(system: OrderSystem) -> None:
    system.start(*FAST, *QUIET, "--orders=3")
    wait_until(lambda: len(system.events("orders", "OrderConfirmed")) == 3, "three confirmed orders")
    wait_until(lambda: len(system.events("emails")) == 16, "mails to 10 users, and two of each order")

    placed = system.events("orders", "OrderPlaced")[0]
    assert set(placed) == ENVELOPE  # a root has no causation
    assert uuid.UUID(placed["event_id"]).version == 4
    assert ISO_MS.fullmatch(placed["timestamp"])
    assert placed["producer"] == "order-service"
    streams = ("orders", "inventory.commands", "inventory", "payment.commands", "payments")
    events = [event for stream in streams for event in system.events(stream)]
    trace = {e["event_type"]: e for e in events if e["correlation_id"] == placed["correlation_id"]}
    assert set(trace) == set(HAPPY_CHAIN)
    for before, after in itertools.pairwise(HAPPY_CHAIN):
        assert trace[after]["causation_id"] == trace[before]["event_id"]
    assert system.redis.zcard("order-service:saga-deadlines") == 0


def test_a_payment_that_fails_for_good_is_dead_lettered_and_its_order_cancelled(system: OrderSystem) -> None:
    system.command("break", "payment-down")
    system.start(*FAST, *QUIET, "--orders=1", "--step-timeout=1.5")
    wait_until(lambda: system.entries("payment.commands:dlq"), "a dead letter")
    wait_until(lambda: system.events("orders", "OrderCancelled"), "a cancelled order")

    [letter] = system.entries("payment.commands:dlq")
    [command] = system.entries("payment.commands")
    assert set(letter) == {*ENVELOPE, "causation_id", *LETTER}
    assert {name: letter[name] for name in command} == command
    assert letter["original_stream"] == "payment.commands"
    assert letter["original_id"] == system.redis.xrange("payment.commands")[0][0].decode()
    assert (letter["consumer_group"], letter["consumer"]) == ("payment-service", "payment-service-1")
    assert (letter["error_type"], letter["retry_count"]) == ("ProviderTimeout", "3")
    assert "no response within" in letter["error"]
    assert letter["stack_trace"].count("\n  File ") >= 4
    assert ISO_MS.fullmatch(letter["first_failed_at"])
    took = datetime.fromisoformat(letter["failed_at"]) - datetime.fromisoformat(letter["first_failed_at"])
    assert took.total_seconds() >= 0.05 * (2 + 4 + 8) - 0.01  # the delivery is a little before the failure
    assert system.redis.xpending("payment.commands", "payment-service")["pending"] == 0
    assert system.redis.hlen("payment-service:first-failures") == 0

    [alert] = system.entries("ops.alerts", "DeadLetterAlert")
    told = data_of(alert)
    assert (told["group"], told["stream"]) == ("payment-service", "payment.commands")
    assert (told["event_id"], told["correlation_id"]) == (letter["event_id"], letter["correlation_id"])
    assert told["error"].startswith("ProviderTimeout: ")
    assert alert["causation_id"] == letter["event_id"]

    assert len(system.events("inventory", "InventoryReleased")) == 1
    [cancelled] = system.events("orders", "OrderCancelled")
    assert data_of(cancelled)["reason"] == "no answer to ChargePayment within 1.5 s"
    assert data_of(cancelled)["uncompensated"] == []

    # an operator sends it again once the provider is back: too late for the order, so the money goes back
    system.command("mend", "payment-down")
    wait_for_poll(system)
    system.send_again(system.redis.xrange("payment.commands:dlq")[0][1], "payment.commands", strip=True)
    wait_until(lambda: system.events("payments", "PaymentRefunded"), "the refund of a late charge")
    assert len(system.events("payments", "PaymentCharged")) == 1
    assert system.events("orders", "OrderConfirmed") == []


def test_a_late_charge_of_an_order_being_cancelled_is_refunded_first(system: OrderSystem) -> None:
    system.command("break", "slow-payment", "900")
    system.start(*FAST, *QUIET, "--orders=1", "--step-timeout=0.4")
    wait_until(lambda: system.events("payments", "PaymentRefunded"), "a refund")
    wait_until(lambda: system.events("orders", "OrderCancelled"), "a cancelled order")
    assert len(system.events("payments", "PaymentCharged")) == 1
    assert system.events("orders", "OrderConfirmed") == []


def test_a_dead_letter_sent_again_is_handled_once_by_the_group_that_failed(system: OrderSystem) -> None:
    system.command("break", "email-down")
    system.start(*FAST, *QUIET, "--orders=1")
    placed = "OrderPlaced"
    wait_until(lambda: system.entries("orders:dlq", placed), "a dead letter of the order")
    wait_until(lambda: system.events("orders", "OrderConfirmed"), "the confirmed order")

    # sent again too early, with the fields of its first failure still on it
    first = next(f for _, f in system.redis.xrange("orders:dlq") if f[b"event_type"] == placed.encode())
    system.send_again(first, "orders", strip=False)
    wait_until(lambda: len(system.entries("orders:dlq", placed)) == 2, "the same dead letter again")
    second = [f for _, f in system.redis.xrange("orders:dlq") if f[b"event_type"] == placed.encode()][1]
    assert set(second) == {*first, b"replay_id"}
    assert second[b"replay_id"] == b"\xff\x00raw"
    assert second[b"original_id"] == system.redis.xrevrange("orders", count=1)[0][0]
    assert second[b"original_id"] != first[b"original_id"]
    assert second[b"data"] == first[b"data"]

    system.command("mend", "all")
    wait_for_poll(system)
    assert system.events("emails") == []
    system.send_again(second, "orders", strip=True)
    wait_until(lambda: len(system.events("emails")) == 1, "the mail")
    # it was sent twice in all, and those that had handled it at first skipped it each time
    wait_until(lambda: system.duplicates_of("order-service") == 2, "the order service to skip it")
    wait_until(lambda: system.duplicates_of("analytics-service") == 2, "analytics to skip it")
    assert system.duplicates_of("email-service") == 0
    assert len(system.entries("inventory.commands", "ReserveInventory")) == 1
    assert system.redis.hget("analytics-service:counters", placed) == b"1"
    assert len(system.entries("orders:dlq", placed)) == 2


def wait_for_poll(system: OrderSystem) -> None:
    """While nothing else goes on, hashes are read by those who poll the faults, each once a second."""

    def reads() -> int:
        return int(system.redis.info("commandstats")["cmdstat_hgetall"]["calls"])

    enough = reads() + 2 * len(SERVICES)
    wait_until(lambda: reads() >= enough, "two polls of the faults by each service")


def test_a_failure_that_passes_is_retried_and_no_dead_letter(system: OrderSystem) -> None:
    system.command("break", "email-down")
    system.start(*FAST, *QUIET, "--orders=0", "--backoff=0.7")
    wait_until(lambda: system.redis.hlen("email-service:first-failures") == 10, "ten failed mails")
    system.command("mend", "email-down")
    wait_until(lambda: len(system.events("emails")) == 10, "ten mails")
    assert system.redis.hlen("email-service:first-failures") == 0
    assert system.redis.xpending("users", "email-service")["pending"] == 0
    assert not system.redis.keys("*:dlq")


@pytest.mark.parametrize(
    ("fault", "broken", "failures"),
    [
        ("poison", 1, dict.fromkeys(("order", "email", "analytics"), "JSONDecodeError")),  # it strikes once
        ("schema-drift 1", 2, {"email": "KeyError", "analytics": "ValueError"}),  # each order
    ],
)
def test_an_order_that_cannot_be_read_fails_in_each_group_that_needs_to(
    system: OrderSystem, fault: str, broken: int, failures: dict[str, str]
) -> None:
    system.command("break", *fault.split())
    system.start(*FAST, *QUIET, "--orders=2")
    wait_until(lambda: len(system.entries("orders:dlq")) == broken * len(failures), "the dead letters")
    confirmed = 2 if "order" not in failures else 2 - broken
    wait_until(lambda: len(system.events("orders", "OrderConfirmed")) == confirmed, "the other orders")
    letters = system.entries("orders:dlq")
    seen = {(letter["consumer_group"], letter["error_type"]) for letter in letters}
    assert seen == {(f"{name}-service", error) for name, error in failures.items()}
    assert len({letter["event_id"] for letter in letters}) == broken
    assert bool(system.redis.exists("order_system:faults")) is (fault != "poison")  # which strikes once


def test_events_delivered_twice_take_effect_once(system: OrderSystem) -> None:
    system.start(*FAST, *QUIET, "--orders=5", "--duplicates=1")
    wait_until(lambda: len(system.entries("emails")) == 2 * 20, "mails to 10 users, and two of each order")
    counters = "analytics-service:counters"
    wait_until(lambda: system.redis.hget(counters, "EmailSent") == b"20", "analytics to count them")
    for stream, event_type in (("payments", "PaymentCharged"), ("orders", "OrderConfirmed")):
        assert len(system.entries(stream, event_type)) == 10
        ids = order_ids(system.events(stream, event_type))
        assert len(ids) == len({*ids}) == 5
    assert system.redis.hget(counters, "PaymentCharged") == b"5"
    for name in ("order", "inventory", "payment", "email", "analytics"):
        assert system.duplicates_of(f"{name}-service") > 0


def test_an_account_is_the_sum_of_its_events(system: OrderSystem) -> None:
    system.start(*FAST, *QUIET, "--orders=0")
    wait_until(lambda: len(system.events("accounts", "MoneyWithdrawn")) == 10, "ten complete accounts")
    accounts = collections.defaultdict(list)
    for event in system.events("accounts"):
        accounts[data_of(event)["account_id"]].append(event)
    registered = {event["event_id"] for event in system.events("users", "UserRegistered")}
    assert len(accounts) == 10
    for events in accounts.values():
        types = [event["event_type"] for event in events]
        assert types == ["AccountOpened", "MoneyDeposited", "MoneyWithdrawn"]
        assert [data_of(event)["sequence"] for event in events] == [1, 2, 3]
        assert sum(data_of(event)["amount"] for event in events) == 150
        assert events[0]["causation_id"] in registered
        assert [event["causation_id"] for event in events[1:]] == [event["event_id"] for event in events[:2]]


def test_killed_services_lose_no_order_and_charge_none_twice(system: OrderSystem) -> None:
    options = (*FAST, *QUIET, "--duplicates=0.1")
    running = {name: system.start(name, *options) for name in SERVICES}
    for name in ("payment", "inventory", "order") * 3:
        wait_for_ends(system, len(ended_orders(system)) + 5)
        running[name].kill()
        running[name].wait()
        running[name] = system.start(name, *options)
    running["order"].terminate()
    running["order"].wait()
    system.start("order", *options, "--orders=0")
    placed = {*order_ids(system.events("orders", "OrderPlaced"))}
    wait_until(lambda: {*ended_orders(system)} == placed, "the end of every order", within_s=25)
    assert len(ended_orders(system)) == len(placed)
    charged = order_ids(system.events("payments", "PaymentCharged"))
    assert len(charged) == len({*charged})
    assert not system.redis.keys("*:dlq")


def wait_for_ends(system: OrderSystem, enough: int) -> None:
    wait_until(lambda: len(ended_orders(system)) >= enough, "some more ended orders")


def ended_orders(system: OrderSystem) -> list[str]:
    ends = ("OrderConfirmed", "OrderCancelled")
    return order_ids([event for event in system.events("orders") if event["event_type"] in ends])


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_run_leaves_no_process_behind(system: OrderSystem, by: signal.Signals) -> None:
    run = system.start(*FAST, *QUIET)
    wait_until(lambda: system.events("orders", "OrderConfirmed"), "a running system")
    children = psutil.Process(run.pid).children(recursive=True)
    assert len(children) == len(SERVICES)
    run.send_signal(by)
    assert run.wait(timeout=10) == (-by if by is signal.SIGKILL else 0)
    wait_until(lambda: not any(child.is_running() for child in children), "the end of every service", 5)


def test_one_service_that_dies_is_told_of_and_not_started_again(system: OrderSystem) -> None:
    run = subprocess.Popen(
        [*COMMAND, "run", *FAST, *QUIET, "--url", system.url], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: system.events("orders", "OrderConfirmed"), "a running system")
        children = psutil.Process(run.pid).children()
        next(child for child in children if "payment" in child.cmdline()).kill()
        assert run.stderr is not None
        line = next(line for line in run.stderr if "the payment service" in line)
        assert "has ended with -9; the others go on" in line
        assert len(psutil.Process(run.pid).children()) == len(SERVICES) - 1
    finally:
        run.terminate()
        run.communicate(timeout=10)


def test_the_rate_changes_while_it_runs(system: OrderSystem) -> None:
    system.start(*QUIET, "--rate=0")
    wait_until(lambda: system.redis.hlen("order-service:customers") >= 10, "the customers")
    assert system.events("orders") == []
    system.command("rate", "50")
    wait_until(lambda: len(system.events("orders", "OrderPlaced")) >= 20, "orders")


def test_a_seed_repeats_what_is_ordered(system: OrderSystem) -> None:
    ordered = []
    for _ in range(2):
        system.redis.flushall()
        run = system.start(*FAST, "--orders=5", "--seed=7", "--poison=0")
        wait_until(lambda: len(system.events("orders", "OrderPlaced")) == 5, "five orders")
        run.terminate()
        run.wait()
        ordered.append([data_of(event)["items"] for event in system.events("orders", "OrderPlaced")])
    assert ordered[0] == ordered[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("break", "gravity"), "no fault is called 'gravity'; there are: payment-down, "),
        (("mend", "gravity"), "no fault is called 'gravity'"),
        (("break", "payment-down", "3"), "payment-down takes no value"),
        (("break", "duplicates", "7"), "duplicates takes share from 0 to 1, not '7'"),
        (("run", "--rate=-1"), "argument --rate"),
        (("run", "--url=redis://:secret@127.0.0.1:1/0"), "Start one (redis-server or valkey-server)"),
        (("run", "payment", "--url=redis://127.0.0.1:1/0"), "Cannot use Redis at redis://127.0.0.1:1/0"),
        (("faults", "--url=nonsense"), "is no address of a Redis"),
    ],
)
def test_a_mistake_is_explained(
    system: OrderSystem, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.setenv("ORDER_SYSTEM_URL", system.url)
    done = subprocess.run([*COMMAND, *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
