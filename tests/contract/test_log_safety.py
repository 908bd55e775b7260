"""Watching disturbs nothing; what cannot be watched says so: a server that is down, a missing right."""

from collections.abc import Callable
from typing import Any

import pytest

from collectors.brokers import broker_for
from collectors.brokers.base import Broker, LetterToSend, SendState
from eventwake.domain.errors import BrokerRefused, BrokerUnavailable
from tests.contract.conftest import EVERY_REFUSAL, Rigs
from tests.contract.reader import Reader
from tests.contract.rigs.base import DEAD, STREAM, LogRig, event, publish

pytestmark = pytest.mark.server

Calls = dict[str, Callable[[Broker], Any]]


def watching(rig: LogRig) -> Calls:
    """Every call that only looks, over a stream with a group in the midst of it and a dead letter."""
    rig.make_group(STREAM, "mailer")
    positions = publish(rig, 5)
    rig.consume(STREAM, "mailer", 2)
    rig.consume(STREAM, "mailer", 2, ack=not rig.holds)
    [dead] = rig.publish(DEAD, event(1, original_stream=STREAM, error="Timeout: no answer"))
    with rig.broker() as broker:
        [seen] = broker.look([STREAM]).heads[STREAM]
        cursor = broker.first_cursor(seen, "earliest")
        [letter] = Reader(broker, DEAD).read_all().records
    calls: Calls = {
        "server": lambda broker: broker.server(),
        "discover": lambda broker: list(broker.discover(lambda _: True)),
        "look": lambda broker: broker.look([STREAM, DEAD]),
        "first_cursor": lambda broker: broker.first_cursor(seen, "24h"),
        "read": lambda broker: broker.read([(seen, cursor, 10)]),
        "groups": lambda broker: broker.groups([STREAM, DEAD]),
        "views": lambda broker: broker.views(STREAM, ["mailer"], positions),
        "read_letter": lambda broker: broker.read_letter(letter, DEAD),
        "present": lambda broker: broker.present(DEAD, [dead]),
        "checks": lambda broker: broker.checks(),
    }
    return calls | ({"intent": lambda broker: broker.intent(STREAM)} if rig.ways else {})


def acting(rig: LogRig) -> Calls:
    """Every call that acts, where the broker has any."""
    if not rig.ways:
        return {}
    [dead] = rig.publish(DEAD, event(2))
    with rig.broker() as broker:
        record = Reader(broker, DEAD).read_all().records[-1]
        letter = LetterToSend(1, dead, "r-1", STREAM, 100, broker.intent(STREAM))
        after = broker.intent(DEAD)
    return {
        "retry": lambda broker: broker.retry(DEAD, [letter], "1"),
        "discard": lambda broker: broker.discard(DEAD, [dead]),
        "restore": lambda broker: broker.restore(DEAD, record, "t-1", after),
    }


class TestWatching:
    def test_leaves_no_trace_that_a_consumer_could_notice(self, rig: LogRig) -> None:
        calls = watching(rig)
        before = rig.footprint([STREAM, DEAD])
        with rig.broker() as broker:
            for _ in range(2):
                for call in calls.values():
                    call(broker)
            Reader(broker, STREAM).read_all()
        assert rig.footprint([STREAM, DEAD]) == before
        assert len(rig.consume(STREAM, "mailer", 10)) == 1

    def test_finds_no_fault_where_the_rights_are_those_that_doctor_names(self, rig: LogRig) -> None:
        publish(rig, 1)
        with rig.broker() as broker:
            checks = broker.checks()
        assert {check.name for check in checks} >= rig.checks
        assert not [check for check in checks if check.state == "fault"]

    def test_a_read_only_source_refuses_to_act(self, rig: LogRig) -> None:
        looks, acts = watching(rig), acting(rig)
        before = rig.footprint([STREAM, DEAD])
        with rig.broker(writable=False) as broker:
            for call in looks.values():
                call(broker)
            for call in acts.values():
                with pytest.raises(BrokerRefused, match="read-only"):
                    call(broker)
        assert rig.footprint([STREAM, DEAD]) == before


class TestServerThatIsDown:
    def test_is_unavailable_whatever_is_asked_of_it_until_it_is_back(self, rig: LogRig) -> None:
        calls = {**watching(rig), **acting(rig)}
        del calls["read_letter"]  # which needs no server
        with rig.broker() as broker:
            broker.look([STREAM])
            rig.stop()
            for call in calls.values():
                with pytest.raises(BrokerUnavailable, match="tested"):
                    call(broker)
            with pytest.raises(BrokerUnavailable):
                broker.start()
            rig.start_again()
            broker.start()
            published = publish(rig, 3)
            assert Reader(broker, STREAM).read_all().positions[-3:] == published

    def test_is_unavailable_too_when_it_only_hangs(self, rig: LogRig) -> None:
        calls = {**watching(rig), **acting(rig)}
        for name in ("look", "read", "retry"):
            if name not in calls:
                continue
            with rig.broker(**rig.impatient()) as broker, rig.hanging(), pytest.raises(BrokerUnavailable):
                calls[name](broker)

    def test_before_it_is_connected_nothing_can_be_asked(self, rig: LogRig) -> None:
        broker = broker_for(rig.source())
        with pytest.raises(BrokerUnavailable, match="not connected"):
            broker.server()
        broker.stop()


class TestRights:
    @pytest.mark.parametrize(
        ("kind", "right", "call"),
        EVERY_REFUSAL,
        ids=[f"{kind.name}: {call} without {right}" for kind, right, call in EVERY_REFUSAL],
    )
    def test_a_missing_one_is_a_refusal_and_never_an_empty_answer(
        self, rigs: Rigs, kind: type[LogRig], right: str, call: str
    ) -> None:
        rig = rigs.of(kind)
        asked = watching(rig)[call]
        with rig.broker(**rig.without_right_to(right)) as broker:
            broker.look([STREAM])
            with pytest.raises(BrokerRefused):
                asked(broker)

    def test_a_stream_that_may_not_be_looked_at_is_named_with_the_reason(self, rig: LogRig) -> None:
        publish(rig, 1)
        with rig.broker(**rig.without_right_to("look")) as broker:
            looked = broker.look([STREAM])
        assert not looked.heads
        assert "permission" in looked.refused[STREAM]

    @pytest.mark.parametrize("right", ["connect", "any"])
    def test_who_may_not_connect_is_refused_without_a_word_of_the_password(
        self, rig: LogRig, right: str
    ) -> None:
        with pytest.raises(BrokerRefused) as refused, rig.broker(**rig.without_right_to(right)):
            pass
        assert "tested: " in str(refused.value)
        assert rig.secret not in str(refused.value)

    def test_who_may_not_remove_a_letter_sends_none(self, writing: LogRig) -> None:
        rig = writing
        acts, before = acting(rig), publish(rig, 2)
        with rig.broker(**rig.without_right_to("act")) as broker:
            with pytest.raises(BrokerRefused):
                acts["discard"](broker)
            [sent] = acts["retry"](broker)
        assert sent.state is SendState.REFUSED
        assert sent.detail
        assert [*rig.entries(STREAM)] == before
        assert len(rig.entries(DEAD)) == 1

    def test_doctor_names_what_is_missing_and_how_to_give_it(self, rig: LogRig) -> None:
        publish(rig, 1)
        right, name, mend = rig.missing_right
        with rig.broker(**rig.without_right_to(right)) as broker:
            [check] = [check for check in broker.checks() if check.name == "rights to watch"]
        if rig.can_try_rights:
            assert (check.state, name in check.found) == ("fault", True)
            assert mend in check.do
        else:
            assert check.state == "warning"
