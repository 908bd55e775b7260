"""What holds for every broker of the queue profile, on each real server that has a rig."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from collectors.brokers import broker_for
from collectors.brokers.base import Broker, GroupSeen, LetterToSend, SendState
from eventwake.decoding.envelope import Decoder
from eventwake.domain.errors import BrokerRefused, BrokerUnavailable
from eventwake.domain.lag import Lag, LagKind
from tests.contract.conftest import ActingOnQueue
from tests.contract.reader import Reader
from tests.contract.rigs.queue_base import CLASS, MESSAGE, OTHER_QUEUE, QUEUE, QueueRig, fail

pytestmark = pytest.mark.server

MARKS = "7"


def events(broker: Broker, queue: str = QUEUE) -> list[str]:
    return Reader(broker, queue).read_all().positions


def letters(rig: QueueRig, broker: Broker, queue: str = QUEUE) -> list[LetterToSend]:
    """Every dead letter of the queue that this connection has not read, as an operation would send it."""
    return [
        LetterToSend(
            number, record.position, f"replay-{record.position}-1", queue, 1_000, broker.intent(queue)
        )
        for number, record in enumerate(Reader(broker, rig.dead(queue)).read_all().records)
    ]


def group_of(broker: Broker, queue: str = QUEUE) -> GroupSeen:
    broker.look([queue])
    [group] = broker.groups([queue])
    return group


def seen(broker: Broker, place: str) -> str | None:
    """What the queue's workers have done with a job; None where that cannot be known."""
    name = group_of(broker).name
    views = broker.views(QUEUE, [name], [place])[place]
    assert {view.group for view in views} <= {name}
    return next((view.state for view in views), None)


class TestDiscovery:
    def test_finds_each_queue_and_its_dead_letters(self, queue_rig: QueueRig) -> None:
        for queue in (QUEUE, OTHER_QUEUE):
            queue_rig.put(queue, {})
        with queue_rig.broker() as broker:
            found = {name for page in broker.discover(lambda name: name != OTHER_QUEUE) for name in page}
            told = {name: broker.holds_dead_letters(name) for name in found}
        dead = queue_rig.dead(QUEUE)
        assert found == {QUEUE, dead, queue_rig.dead(OTHER_QUEUE)}
        assert (told[QUEUE], told[dead]) == (False, True)

    def test_a_queue_whose_jobs_are_done_is_empty_and_not_gone(self, queue_rig: QueueRig) -> None:
        queue_rig.put(QUEUE, {}, {})
        queue_rig.work(QUEUE)
        with queue_rig.broker() as broker:
            heads = broker.look([QUEUE, queue_rig.dead(QUEUE)]).heads
        assert [head.length for heads_of_one in heads.values() for head in heads_of_one] == [0, 0]


class TestCounts:
    def test_say_what_waits_what_runs_and_what_failed(self, queue_rig: QueueRig) -> None:
        fail(queue_rig, 3)
        queue_rig.put(QUEUE, *[{}] * 6)
        taken = queue_rig.take(QUEUE, 2)
        queue_rig.put(OTHER_QUEUE, {})
        with queue_rig.broker() as broker:
            heads = broker.look([QUEUE, queue_rig.dead(QUEUE)]).heads
            group = group_of(broker)
        if queue_rig.is_exact:
            assert [heads[name][0].length for name in (QUEUE, queue_rig.dead(QUEUE))] == [6, 3]
            assert (group.lag, group.pending) == (Lag.known(4), 2)
        else:
            assert group.lag.kind is LagKind.APPROXIMATE
        assert sorted(entry.position for entry in group.entries) == taken
        assert sum(consumer.pending for consumer in group.consumers) == 2

    def test_say_how_long_the_oldest_has_waited(self, queue_rig: QueueRig) -> None:
        with queue_rig.broker() as broker:
            assert group_of(broker).time_lag == Lag.known(0)
            queue_rig.put(QUEUE, {})
            first = group_of(broker).time_lag.value
            second = group_of(broker).time_lag.value
        assert first is not None and second is not None
        assert 0 <= first <= second < 60_000

    def test_the_workers_place_moves_when_they_take_a_job_and_only_then(self, queue_rig: QueueRig) -> None:
        queue_rig.put(QUEUE, *[{}] * 3)
        with queue_rig.broker() as broker:
            before = group_of(broker).position
            assert group_of(broker).position == before
            queue_rig.take(QUEUE, 1)
            assert group_of(broker).position != before


class TestEvents:
    @pytest.mark.parametrize("at_most", [1, 3, 1_000])
    def test_are_the_jobs_as_they_were_put_in_each_once(self, queue_rig: QueueRig, at_most: int) -> None:
        put = queue_rig.put(QUEUE, *({"number": number} for number in range(5)))
        queue_rig.put(OTHER_QUEUE, {"number": "of another queue"})
        with queue_rig.broker() as broker:
            reader = Reader(broker, QUEUE).read_all(at_most)
            put += queue_rig.put(QUEUE, *({"number": number} for number in range(5, 9)))
            reader.read_all(at_most)
            assert reader.positions == put
            reader.read_all(at_most)
            assert reader.positions == put
        assert [f'"number": {n}'.encode() in (r.value or b"") for n, r in enumerate(reader.records)] == [
            True
        ] * 9

    def test_a_cursor_that_was_kept_is_good_for_the_next_connection(self, queue_rig: QueueRig) -> None:
        put = queue_rig.put(QUEUE, *[{}] * 5)
        with queue_rig.broker() as broker:
            before = Reader(broker, QUEUE).look()
            before.read(3)
        with queue_rig.broker() as broker:
            after = Reader(broker, QUEUE)
            after.cursors = before.cursors
            after.read_all()
        assert before.positions + after.positions == put

    def test_begin_with_the_newest_where_that_is_told(self, queue_rig: QueueRig) -> None:
        queue_rig.put(QUEUE, *[{}] * 3)
        with queue_rig.broker() as broker:
            reader = Reader(broker, QUEUE, "newest").read_all()
            put = queue_rig.put(QUEUE, {})
            assert reader.read_all().positions == put

    def test_say_their_type_and_id_or_those_of_the_event_that_they_carry(self, queue_rig: QueueRig) -> None:
        [plain] = queue_rig.put(QUEUE, {"correlation_id": "c-1"})
        with queue_rig.broker() as broker:
            [record] = Reader(broker, QUEUE).read_all().records
        said = Decoder().decode(record)
        assert said.event_id == plain
        assert said.event_type
        assert said.undecodable is None


class TestDeadLetters:
    def test_are_the_failed_jobs_with_error_attempts_and_time(self, queue_rig: QueueRig) -> None:
        queue_rig.put(QUEUE, {})
        failed = fail(queue_rig, 2)
        with queue_rig.broker() as broker:
            records = Reader(broker, queue_rig.dead(QUEUE)).read_all().records
            said = [broker.read_letter(record, queue_rig.dead(QUEUE)) for record in records]
            workers = group_of(broker).name
        assert [letter.origin_position for letter in said] == failed
        for record, letter in zip(records, said, strict=True):
            assert letter.origin_stream == QUEUE
            assert letter.group == workers
            assert letter.attempts == 1
            assert letter.failed_ms == record.recorded_ms
            if queue_rig.keeps_error:
                assert letter.error_class == CLASS
                assert (letter.error_message or "").endswith(MESSAGE)
            else:
                assert letter.error_message is None
            assert b'"fails": true' in (record.value or b"")

    def test_are_each_given_once_while_connected_however_many_at_a_time(self, queue_rig: QueueRig) -> None:
        failed = fail(queue_rig, 7)
        with queue_rig.broker() as broker:
            reader = Reader(broker, queue_rig.dead(QUEUE)).read_all(2)
            failed += fail(queue_rig, 2)
            reader.read_all(2)
            reader.read_all(2)
        assert sorted(place.rpartition("-")[0] for place in reader.positions) == sorted(failed)

    def test_a_job_that_fails_again_is_another_letter(self, acting_on_queue: ActingOnQueue) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        fail(rig, 1)
        [first] = letters(rig, broker)
        broker.retry(rig.dead(QUEUE), [first], MARKS)
        rig.work(QUEUE)
        [second] = letters(rig, broker)
        assert second.position != first.position
        assert broker.present(rig.dead(QUEUE), [first.position, second.position]) == {second.position}
        assert broker.retry(rig.dead(QUEUE), [second], MARKS)[0].state is SendState.SENT


class TestRetry:
    def test_gives_the_job_back_to_the_workers_who_do_it(self, acting_on_queue: ActingOnQueue) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        failed = fail(rig, 2)
        first, second = letters(rig, broker)
        [sent] = broker.retry(rig.dead(QUEUE), [first], MARKS)
        assert (sent.state, sent.position) == (SendState.SENT, failed[0])
        assert rig.jobs(QUEUE) == {failed[0]: "waiting", failed[1]: "failed"}
        assert seen(broker, failed[0]) == "waiting"
        assert rig.take(QUEUE, 5) == [failed[0]]
        assert seen(broker, failed[0]) == "pending"
        assert broker.present(rig.dead(QUEUE), [first.position, second.position]) == {second.position}

    def test_of_the_same_attempt_does_nothing_more(self, acting_on_queue: ActingOnQueue) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        fail(rig, 3)
        those = letters(rig, broker)
        broker.retry(rig.dead(QUEUE), those, MARKS)
        before = rig.footprint()
        again = broker.retry(rig.dead(QUEUE), [replace(one, may_be_sent=True) for one in those], MARKS)
        leaves_trace = acting_on_queue.way != "state alone"
        assert {sent.state for sent in again} == {SendState.ALREADY if leaves_trace else SendState.UNKNOWN}
        assert all(sent.detail for sent in again) != leaves_trace
        assert rig.footprint() == before

    def test_that_may_have_been_sent_and_was_not_is_sent(self, acting_on_queue: ActingOnQueue) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        [failed] = fail(rig, 1)
        [letter] = letters(rig, broker)
        [sent] = broker.retry(rig.dead(QUEUE), [replace(letter, may_be_sent=True)], MARKS)
        assert sent.state is SendState.SENT
        assert rig.jobs(QUEUE) == {failed: "waiting"}

    def test_of_a_job_that_someone_else_removed_or_gave_back_is_gone(
        self, acting_on_queue: ActingOnQueue
    ) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        failed = fail(rig, 3)
        those = letters(rig, broker)
        rig.remove(failed[1:2])
        sent = {one.letter_id: one.state for one in broker.retry(rig.dead(QUEUE), those, MARKS)}
        assert sent == {0: SendState.SENT, 1: SendState.GONE, 2: SendState.SENT}
        other_try = [replace(one, replay_id=f"other-{one.letter_id}") for one in those]
        states = {one.state for one in broker.retry(rig.dead(QUEUE), other_try, MARKS)}
        assert states == {SendState.GONE}

    def test_to_another_queue_or_of_an_edited_job_is_refused(self, acting_on_queue: ActingOnQueue) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        fail(rig, 2)
        moved, edited = letters(rig, broker)
        asked = [replace(moved, origin=OTHER_QUEUE), replace(edited, fields=[b"a", b"b"])]
        before = rig.footprint()
        for sent in broker.retry(rig.dead(QUEUE), asked, MARKS):
            assert sent.state is SendState.REFUSED
            assert sent.detail
        assert rig.footprint() == before

    def test_of_very_many_is_each_sent_once(self, acting_on_queue: ActingOnQueue) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        failed = fail(rig, 120)
        sent = broker.retry(rig.dead(QUEUE), letters(rig, broker), MARKS)
        assert {one.state for one in sent} == {SendState.SENT}
        assert sorted(one.position or "" for one in sent) == sorted(failed)
        assert {*rig.jobs(QUEUE).values()} == {"waiting"}

    def test_is_followed_to_its_end(self, acting_on_queue: ActingOnQueue) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        [ended] = rig.put(QUEUE, {})
        rig.work(QUEUE)
        [failed] = fail(rig, 1)
        assert (seen(broker, ended), seen(broker, failed)) == ("consumed", None)


class TestDiscardAndRestore:
    def test_a_discard_removes_what_is_there_and_says_what_that_was(
        self, acting_on_queue: ActingOnQueue
    ) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        failed = fail(rig, 3)
        first, second, third = (letter.position for letter in letters(rig, broker))
        rig.remove(failed[1:2])
        assert broker.discard(rig.dead(QUEUE), [first, second]) == {first}
        assert broker.discard(rig.dead(QUEUE), [first, second]) == set()
        assert rig.jobs(QUEUE) == {failed[2]: "failed"}
        assert broker.present(rig.dead(QUEUE), [first, second, third]) == {third}

    def test_a_discard_leaves_alone_what_was_given_back_meanwhile(
        self, acting_on_queue: ActingOnQueue
    ) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        [failed] = fail(rig, 1)
        [letter] = letters(rig, broker)
        broker.retry(rig.dead(QUEUE), [letter], MARKS)
        assert broker.discard(rig.dead(QUEUE), [letter.position]) == set()
        assert rig.jobs(QUEUE) == {failed: "waiting"}

    def test_a_restore_puts_it_back_as_it_lay_there_once(self, acting_on_queue: ActingOnQueue) -> None:
        rig, broker = acting_on_queue.rig, acting_on_queue.broker
        [failed] = fail(rig, 1)
        [record] = Reader(broker, rig.dead(QUEUE)).read_all().records
        broker.discard(rig.dead(QUEUE), [record.position])
        place = broker.restore(rig.dead(QUEUE), record, "t-1", broker.intent(QUEUE))
        assert broker.restore(rig.dead(QUEUE), record, "t-1", broker.intent(QUEUE)) == place
        assert rig.jobs(QUEUE) == {failed: "failed"}
        with rig.broker() as other:
            [again] = Reader(other, rig.dead(QUEUE)).read_all().records
        columns = [*zip(record.fields[::2], record.fields[1::2], strict=True)]
        same = [pair for pair in zip(again.fields[::2], again.fields[1::2], strict=True) if pair in columns]
        assert len(same) >= len(columns) - 3  # what other tables told of it may be gone with it
        assert (again.value, again.position) == (record.value, place)
        [sent] = broker.retry(rig.dead(QUEUE), letters(rig, broker) or [to_send(place)], MARKS)
        assert sent.state is SendState.SENT


def to_send(position: str) -> LetterToSend:
    return LetterToSend(0, position, f"replay-{position}-1", QUEUE, 100, "")


class TestSafety:
    def test_watching_leaves_no_trace(self, queue_rig: QueueRig) -> None:
        fail(queue_rig, 2)
        queue_rig.put(QUEUE, *[{}] * 3)
        queue_rig.take(QUEUE, 1)
        calls = watching(queue_rig)
        before = queue_rig.footprint()
        with queue_rig.broker() as broker:
            for call in calls.values():
                call(broker)
            events(broker)
            letters(queue_rig, broker)
        assert queue_rig.footprint() == before

    def test_doctor_finds_no_fault_where_all_is_well(self, queue_rig: QueueRig) -> None:
        queue_rig.put(QUEUE, *[{}] * 30)
        with queue_rig.broker() as broker:
            checks = broker.checks()
        assert {check.name for check in checks} >= {"version", "clock", "streams", "rights to watch"}
        assert not [check for check in checks if check.state != "ok"]

    def test_a_read_only_source_refuses_to_act(self, queue_rig: QueueRig) -> None:
        acts = acting(queue_rig)
        before = queue_rig.footprint()
        with queue_rig.broker(writable=False) as broker:
            for call in acts.values():
                with pytest.raises(BrokerRefused, match="read-only"):
                    call(broker)
        assert queue_rig.footprint() == before

    def test_who_may_not_act_does_nothing(self, queue_rig: QueueRig) -> None:
        acts = acting(queue_rig)
        before = queue_rig.footprint()
        with queue_rig.broker(**queue_rig.without_right_to("act")) as broker:
            [sent] = acts["retry"](broker)
            assert sent.state is SendState.REFUSED
            with pytest.raises(BrokerRefused):
                acts["discard"](broker)
            faults = [check for check in broker.checks() if check.state == "fault"]
        assert queue_rig.footprint() == before
        assert [fault.name for fault in faults] == ["rights to act"]
        assert "GRANT" in faults[0].do

    @pytest.mark.parametrize("right", ["watch", "any"])
    def test_a_missing_right_is_a_refusal_without_a_word_of_the_password(
        self, queue_rig: QueueRig, right: str
    ) -> None:
        keys = queue_rig.without_right_to(right)
        with pytest.raises(BrokerRefused) as refused, queue_rig.broker(**keys) as broker:
            broker.look([QUEUE])
        assert "tested: " in str(refused.value)
        assert "of-the-tests" not in str(refused.value)


class TestServerThatIsDown:
    def test_is_unavailable_whatever_is_asked_of_it_until_it_is_back(self, queue_rig: QueueRig) -> None:
        calls = {**watching(queue_rig), **acting(queue_rig)}
        with queue_rig.broker() as broker:
            broker.look([QUEUE])
            queue_rig.stop()
            for call in calls.values():
                with pytest.raises(BrokerUnavailable, match="tested"):
                    call(broker)
            with pytest.raises(BrokerUnavailable):
                broker.start()
            queue_rig.start_again()
            broker.start()
            put = queue_rig.put(QUEUE, {})
            assert events(broker)[-1:] == put

    def test_is_unavailable_too_when_it_only_hangs(self, queue_rig: QueueRig) -> None:
        asked = {**watching(queue_rig), **acting(queue_rig)}
        with queue_rig.broker(**queue_rig.impatient()) as broker, queue_rig.hanging():
            for name in ("look", "retry"):
                with pytest.raises(BrokerUnavailable):
                    asked[name](broker)

    def test_before_it_is_connected_nothing_can_be_asked(self, queue_rig: QueueRig) -> None:
        broker = broker_for(queue_rig.source())
        with pytest.raises(BrokerUnavailable, match="not connected"):
            broker.server()
        with pytest.raises(BrokerUnavailable, match="not connected"):
            broker.look([QUEUE])
        broker.stop()


Calls = dict[str, Callable[[Broker], Any]]


def watching(rig: QueueRig) -> Calls:
    """Every call that only looks."""
    [put] = rig.put(QUEUE, {})
    dead = rig.dead(QUEUE)
    with rig.broker() as broker:
        heads = broker.look([QUEUE, dead]).heads
        cursors = {name: broker.first_cursor(seen, "earliest") for name, [seen] in heads.items()}
    return {
        "server": lambda broker: broker.server(),
        "discover": lambda broker: list(broker.discover(lambda _: True)),
        "look": lambda broker: broker.look([QUEUE, dead]),
        "first_cursor": lambda broker: broker.first_cursor(heads[QUEUE][0], "24h"),
        "read": lambda broker: broker.read([(heads[QUEUE][0], cursors[QUEUE], 10)]),
        "read of letters": lambda broker: broker.read([(heads[dead][0], cursors[dead], 10)]),
        "groups": lambda broker: broker.groups([QUEUE]),
        "views": lambda broker: broker.views(QUEUE, [], [put]),
        "present": lambda broker: broker.present(dead, [f"{put}-1"]),
        "checks": lambda broker: broker.checks(),
    }


def acting(rig: QueueRig) -> Calls:
    fail(rig, 1)
    dead = rig.dead(QUEUE)
    with rig.broker() as broker:
        [record, *_] = Reader(broker, dead).read_all().records
    letter = to_send(record.position)
    return {
        "retry": lambda broker: broker.retry(dead, [letter], MARKS),
        "discard": lambda broker: broker.discard(dead, [record.position]),
        "restore": lambda broker: broker.restore(dead, record, "t-1", ""),
    }
