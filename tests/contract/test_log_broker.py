"""What holds for every broker of the log profile, on each real server that has a rig."""

import random
import time

import pytest

from collectors.brokers import REGISTRY
from eventwake.decoding.envelope import Decoder
from tests.contract.reader import Reader
from tests.contract.rigs import LOG_RIGS, QUEUE_RIGS
from tests.contract.rigs.base import DEAD, OTHER, STREAM, LogRig, event, flat, publish

pytestmark = pytest.mark.server

HOUR_MS = 3_600_000


def test_every_registered_broker_has_a_rig() -> None:
    assert {name for name, rigs in (LOG_RIGS | QUEUE_RIGS).items() if rigs} == {*REGISTRY}


class TestDiscovery:
    def test_finds_the_streams_that_are_wanted(self, rig: LogRig) -> None:
        for stream in (STREAM, OTHER, DEAD):
            publish(rig, 1, stream)
        with rig.broker() as broker:
            pages = list(broker.discover(lambda name: name != OTHER))
        assert {name for page in pages for name in page} == {STREAM, DEAD}

    def test_a_stream_that_is_not_there_has_no_head(self, rig: LogRig) -> None:
        publish(rig, 3)
        with rig.broker() as broker:
            looked = broker.look([STREAM, "never-made"])
        assert {*looked.heads} == {STREAM}
        assert not looked.refused
        [head] = looked.heads[STREAM]
        assert (head.length, head.added) == (3, 3 if rig.counts_events else None)
        assert [head.first_position, head.last_position] == [*rig.entries(STREAM)][::2]


class TestReading:
    @pytest.mark.parametrize("at_most", [1, 7, 1_000])
    def test_from_the_returned_cursor_gives_nothing_twice_and_skips_nothing(
        self, rig: LogRig, at_most: int
    ) -> None:
        published = publish(rig, 20)
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).look()
            for _ in range(3):
                reader.read(at_most)
                published += publish(rig, 9)  # behind the head that was looked at, too
            reader.read_all(at_most)
            assert reader.positions == published
            assert not reader.gaps
            reader.read_all(at_most)
            assert reader.positions == published

    def test_many_streams_are_read_in_one_go(self, rig: LogRig) -> None:
        published = {stream: publish(rig, 5, stream) for stream in (STREAM, OTHER, DEAD)}
        with rig.broker() as broker:
            looked = broker.look([*published])
            wanted = [
                (seen, broker.first_cursor(seen, "earliest"), 3)
                for heads in looked.heads.values()
                for seen in heads
            ]
            batches = broker.read(wanted)
        assert {batch.stream: [record.position for record in batch.records] for batch in batches} == {
            stream: positions[:3] for stream, positions in published.items()
        }
        assert all(batch.more for batch in batches)
        assert {batch.unread for batch in batches} == {2 if rig.counts_events else None}

    def test_a_cursor_that_was_kept_is_good_for_the_next_connection(self, rig: LogRig) -> None:
        published = publish(rig, 10)
        with rig.broker() as broker:
            before = Reader(broker, STREAM).look()
            before.read(4)
        with rig.broker() as broker:
            after = Reader(broker, STREAM)
            after.cursors = before.cursors
            after.read_all()
        assert before.positions + after.positions == published

    @pytest.mark.parametrize(
        ("start", "first"), [("earliest", 0), ("48h", 2), ("12h", 4), ("1h", 6), ("newest", 6)]
    )
    def test_begins_where_it_is_told_to(self, rig: LogRig, start: str, first: int) -> None:
        now = int(time.time() * 1000)
        published = [
            position
            for hours in (72, 36, 6)
            for position in rig.publish(STREAM, event(1), event(2), at_ms=now - hours * HOUR_MS)
        ]
        with rig.broker() as broker:
            reader = Reader(broker, STREAM, start).read_all()
            published += publish(rig, 3)
            reader.read_all()
        assert reader.positions == published[first:]
        assert not reader.gaps

    @pytest.mark.parametrize(
        "fields",
        [
            pytest.param(((b"data", b"{broken"),), id="cut off"),
            pytest.param(((b"data", b"[" * 100_000),), id="a bomb of brackets"),
            pytest.param(((b"data", b'{"id": "\xff\xfe"}'),), id="not UTF-8"),
            pytest.param(((b"data", b'{"a": "\\ud800"}'),), id="half a surrogate pair"),
            pytest.param(((b"event_id", b"1"), (b"event_id", b"2"), (b"data", b"{'a': 1}")), id="repeated"),
        ],
    )
    def test_a_malformed_payload_is_an_undecodable_event_with_its_bytes_kept(
        self, rig: LogRig, fields: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        rig.publish(STREAM, fields)
        with rig.broker() as broker:
            [record] = Reader(broker, STREAM).read_all().records
        assert list(record.fields) == flat(fields)
        assert (Decoder().decode(record).undecodable or "").startswith("not valid JSON")

    def test_any_bytes_come_as_they_lie_there(self, rig: LogRig) -> None:
        fields = ((bytes(range(256)), bytes(range(256))), (b"", b""), (b"tag", b"1"), (b"tag", b"2"))
        rig.publish(STREAM, fields)
        with rig.broker() as broker:
            [record] = Reader(broker, STREAM).read_all().records
        assert list(record.fields) == flat(fields)
        assert abs(record.recorded_ms - time.time() * 1000) < HOUR_MS


class TestGaps:
    def test_what_was_trimmed_before_it_could_be_read_is_counted(self, rig: LogRig) -> None:
        published = publish(rig, 100)
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).look()
            reader.read(30)
            rig.trim(STREAM, 20)
            reader.read_all()
        assert reader.positions == published[:30] + published[80:]
        [gap] = reader.gaps
        assert (gap.after_position, gap.missed) == (published[29], 50 if rig.counts_events else None)
        assert "trimmed" in gap.reason

    def test_what_was_deleted_before_it_could_be_read_is_counted(self, removing: LogRig) -> None:
        rig = removing
        published = publish(rig, 10)
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).look()
            reader.read(3)
            rig.remove(STREAM, published[5:7])
            reader.read_all()
            assert reader.positions == published[:5] + published[7:]
            assert sum(gap.missed or 0 for gap in reader.gaps) == (2 if rig.counts_events else 0)

    def test_what_was_trimmed_before_the_first_contact_is_no_gap(self, rig: LogRig) -> None:
        published = publish(rig, 50)
        rig.trim(STREAM, 10)
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).read_all()
        assert reader.positions == published[40:]
        assert not reader.gaps

    def test_what_is_skipped_is_counted(self, rig: LogRig) -> None:
        published = publish(rig, 60)
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).look()
            reader.read(10)
            reader.skip()
            published += publish(rig, 5)
            reader.read_all()
        assert reader.positions == published[:10] + published[60:]
        [gap] = reader.gaps
        assert (gap.after_position, gap.before_position) == (published[9], published[59])
        assert gap.missed == (50 if rig.counts_events else None)
        assert "skipped" in gap.reason

    @pytest.mark.parametrize("seed", range(8))
    def test_whatever_happens_to_a_stream_read_and_missed_make_up_what_was_published(
        self, rig: LogRig, seed: int
    ) -> None:
        chance, published = random.Random(seed), publish(rig, 10)
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).look()
            for _ in range(60):
                there = [*rig.entries(STREAM)]
                act = chance.choice(["publish", "publish", "look", "read", "read", "trim", "remove"])
                if act == "remove" and not rig.removes:
                    continue
                if act == "publish":
                    published += publish(rig, chance.randint(1, 12))
                elif act == "look":
                    reader.look()
                elif act == "read":
                    reader.read(chance.choice([1, 5, 1_000]))
                elif act == "trim":
                    rig.trim(STREAM, chance.randint(1, 15))
                elif there:
                    rig.remove(STREAM, chance.sample(there, min(len(there), 3)))
            unread = [position for position in rig.entries(STREAM) if position not in {*reader.positions}]
            before = len(reader.positions)
            reader.read_all(4)
        assert reader.positions[before:] == unread
        assert reader.positions == [position for position in published if position in {*reader.positions}]
        if rig.counts_events:
            assert len(reader.positions) + (reader.missed or 0) == len(published)


class TestStreamsMadeAnew:
    @pytest.mark.parametrize("count", [3, 10, 25])
    def test_are_a_new_incarnation_read_from_its_beginning(self, rig: LogRig, count: int) -> None:
        first = publish(rig, 10)
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).read_all()
            rig.drop(STREAM)
            second = publish(rig, count)
            reader.read_all()
            assert reader.positions == first + second
            if rig.counts_events:  # else it is as if it had been trimmed
                assert reader.incarnation == 1
                assert not reader.gaps
            rig.drop(STREAM)
            third = rig.publish(STREAM, event(1), event(2), at_ms=1_000)  # in time before all that was read
            reader.read_all()
            assert reader.positions == first + second + third
            assert reader.incarnation == (2 if rig.counts_events else 1)

    def test_are_not_read_again_as_far_as_they_were_before_it_was_noticed(self, rig: LogRig) -> None:
        first = publish(rig, 30)
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).read_all()
            rig.drop(STREAM)
            second = publish(rig, 5)
            reader.read()  # by the head of the stream that was
            second += publish(rig, 5)
            reader.read_all()
            assert reader.positions == first + second
            assert reader.incarnation == (1 if rig.counts_events else 0)
            second += publish(rig, 5)
            reader.read_all()
            assert reader.positions == first + second
            assert not reader.gaps

    def test_are_gone_in_between(self, rig: LogRig) -> None:
        publish(rig, 10)
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).look()
            rig.drop(STREAM)
            assert not broker.look([STREAM]).heads
            assert not reader.read()
            assert not broker.groups([STREAM])
        assert not reader.records
