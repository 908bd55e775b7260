"""What is peculiar to Kafka: partitions, batches, transactions, topics made anew, groups of every type."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from collectors.brokers.base import Broker, GroupSeen
from eventwake.domain.errors import BrokerRefused, BrokerUnavailable
from eventwake.domain.lag import Lag, LagKind
from eventwake.domain.positions import has_passed
from tests.contract.conftest import Rigs
from tests.contract.reader import Reader
from tests.contract.rigs.base import OTHER, STREAM, event, publish, wait_until
from tests.contract.rigs.certificates import make_certificates
from tests.contract.rigs.kafka import KafkaRig, TwoBrokers

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]


@pytest.fixture
def rig(rigs: Rigs) -> KafkaRig:
    return rigs.of(KafkaRig)


@pytest.fixture
def broker(rig: KafkaRig) -> Iterator[Broker]:
    with rig.broker() as broker:
        yield broker


def values(reader: Reader) -> list[bytes | None]:
    return [record.value for record in reader.records]


def group_of(broker: Broker, name: str = "mailer", stream: str = STREAM) -> GroupSeen:
    [group] = [g for g in broker.groups([stream]) if (g.name, g.stream) == (name, stream)]
    return group


class TestRecords:
    def test_each_partition_has_its_head_and_its_cursor(self, rig: KafkaRig, broker: Broker) -> None:
        rig.make(STREAM, 3)
        for number in range(12):
            rig.producer.send(STREAM, b"%d" % number, partition=number % 2)
        rig.producer.flush()
        heads = broker.look([STREAM]).heads[STREAM]
        assert [(head.partition, head.length, head.first_position) for head in heads] == [
            *((0, 6, "0:0"), (1, 6, "1:0"), (2, 0, None))
        ]
        reader = Reader(broker, STREAM).look()
        while reader.read(2):
            pass
        assert {p: cursor.position for p, cursor in reader.cursors.items()} == {0: "0:5", 1: "1:5", 2: "2:-1"}
        assert sorted(values(reader)) == sorted(b"%d" % number for number in range(12))
        for partition in (0, 1):
            offsets = [r.position for r in reader.records if r.partition == partition]
            assert offsets == [f"{partition}:{offset}" for offset in range(6)]

    def test_key_value_and_headers_come_as_they_are_and_a_tombstone_has_no_value(
        self, rig: KafkaRig, broker: Broker
    ) -> None:
        rig.make(STREAM)
        headers = [("tag", b"1"), ("tag", b"\xff\x00"), ("→", b"")]
        rig.producer.send(STREAM, bytes(range(256)), key=b"\xff\x00", headers=headers)
        rig.producer.send(STREAM, None, key=b"k-1")
        rig.producer.send(STREAM, b"", key=b"")
        rig.producer.flush()
        first, tombstone, empty = Reader(broker, STREAM).read_all().records
        assert (first.key, first.value) == (b"\xff\x00", bytes(range(256)))
        assert first.fields == [b"tag", b"1", b"tag", b"\xff\x00", "→".encode(), b""]
        assert (tombstone.key, tombstone.value, tombstone.fields) == (b"k-1", None, [])
        assert (empty.key, empty.value) == (b"", b"")

    @pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
    def test_of_a_compressed_batch_are_each_read_once_however_few_are_taken(
        self, rig: KafkaRig, broker: Broker, compression: str
    ) -> None:
        rig.make(STREAM)
        sent = [b"%d" % number * 40 for number in range(300)]
        with rig.producing(compression_type=compression, linger_ms=200) as producer:
            for value in sent:
                producer.send(STREAM, value)
            producer.flush()
        reader = Reader(broker, STREAM).look()
        while reader.read(7):
            pass
        assert values(reader) == sent

    def test_larger_than_what_is_fetched_at_a_time_are_read_too(self, rig: KafkaRig, broker: Broker) -> None:
        rig.make("large", max_message_bytes=20_000_000)
        sent = [b"a" * 12_000_000, b"b", b"c" * 1_500_000, b"d"]
        with rig.producing(max_request_size=20_000_000) as producer:
            for value in sent:
                producer.send("large", value).get(30)
        assert values(Reader(broker, "large").read_all()) == sent

    def test_have_the_time_of_their_producer_or_of_the_broker_as_the_topic_is_set(
        self, rig: KafkaRig, broker: Broker
    ) -> None:
        rig.make(STREAM)
        rig.make("stamped", message_timestamp_type="LogAppendTime")
        for topic in (STREAM, "stamped"):
            rig.publish(topic, event(1), at_ms=1_000)
        [by_producer] = Reader(broker, STREAM).read_all().records
        [by_broker] = Reader(broker, "stamped").read_all().records
        assert by_producer.recorded_ms == 1_000
        assert abs(by_broker.recorded_ms - time.time() * 1000) < 60_000

    def test_that_are_damaged_in_the_log_are_a_gap_and_those_around_them_are_read(
        self, rig: KafkaRig, broker: Broker
    ) -> None:
        rig.make(STREAM)
        for value in (b"first", b"to be damaged", b"third"):
            rig.producer.send(STREAM, value).get(30)  # a batch each
        log = rig.directory / "kafka" / "data" / f"{STREAM}-0" / f"{0:020}.log"
        log.write_bytes(log.read_bytes().replace(b"to be damaged", b"it is damaged"))
        reader = Reader(broker, STREAM).read_all()
        assert values(reader) == [b"first", b"third"]
        [gap] = reader.gaps
        assert gap.missed == 1
        assert "damaged" in gap.reason

    def test_of_a_busy_partition_do_not_keep_those_of_others_waiting(
        self, rig: KafkaRig, broker: Broker
    ) -> None:
        rig.make(STREAM, 12)
        for _ in range(4):
            for partition in range(12):
                rig.producer.send(STREAM, bytes(400_000), partition=partition)
        rig.producer.flush()
        reader = Reader(broker, STREAM).look()
        rounds = 0
        while reader.read(2):
            rounds += 1
            assert rounds < 40
        assert len(reader.records) == 48


class TestTransactions:
    def write(self, rig: KafkaRig, *, commit: bool, count: int = 3, name: bytes = b"in") -> None:
        with rig.producing(transactional_id="writer") as producer:
            producer.init_transactions()
            producer.begin_transaction()
            for number in range(count):
                producer.send(STREAM, name + b"-%d" % number)
            producer.flush()
            if commit:
                producer.commit_transaction()
            else:
                producer.abort_transaction()

    def test_that_were_aborted_are_never_shown_and_are_no_gap(self, rig: KafkaRig, broker: Broker) -> None:
        publish(rig, 1)
        self.write(rig, commit=False, name=b"aborted")
        self.write(rig, commit=True, name=b"committed")
        reader = Reader(broker, STREAM).read_all(at_most=2)
        assert values(reader)[1:] == [b"committed-0", b"committed-1", b"committed-2"]
        assert not reader.gaps
        [batch] = broker.read([(broker.look([STREAM]).heads[STREAM][0], reader.cursors[0], 10)])
        assert (batch.unread, batch.more) == (0, False)  # control records at the end are passed

    def test_that_are_open_are_read_when_they_are_committed(self, rig: KafkaRig, broker: Broker) -> None:
        publish(rig, 2)
        with rig.producing(transactional_id="writer") as producer:
            producer.init_transactions()
            producer.begin_transaction()
            producer.send(STREAM, b"open").get(30)
            behind = publish(rig, 2)
            reader = Reader(broker, STREAM).read_all()
            assert len(reader.records) == 2
            producer.commit_transaction()
            reader.read_all()
        assert reader.positions[-2:] == behind
        assert b"open" in values(reader)

    def test_are_all_shown_where_the_settings_say_so(self, rig: KafkaRig) -> None:
        publish(rig, 1)
        self.write(rig, commit=False)
        with rig.broker(read_uncommitted=True) as broker:
            assert len(Reader(broker, STREAM).read_all().records) == 4

    def test_make_a_lag_an_upper_bound(self, rig: KafkaRig, broker: Broker) -> None:
        rig.make_group(STREAM, "mailer")
        self.write(rig, commit=True)
        Reader(broker, STREAM).read_all()
        lag = group_of(broker).lag
        assert (lag.kind, lag.value) == (LagKind.AT_MOST, 4)  # three events and the mark of the commit
        assert "transactions" in lag.reason


COMPACTED = (
    "compacted"  # a name of its own: a broker that restarts may remember a topic's settings by its name
)


class TestCompaction:
    def test_leaves_no_gap_and_makes_a_lag_an_upper_bound(self, rig: KafkaRig) -> None:
        quickly = {"segment_ms": 200, "min_cleanable_dirty_ratio": 0.01, "min_compaction_lag_ms": 0}
        rig.make(COMPACTED, cleanup_policy="compact", **quickly)
        rig.commit(COMPACTED, "mailer", 0)

        def send(key: int, value: bytes) -> None:
            rig.producer.send(COMPACTED, value, key=b"k-%d" % key).get(30)

        for number in range(40):
            send(number % 4, b"%d" % number)
        with rig.broker() as broker:
            before = Reader(broker, COMPACTED).look()
            before.read(5)
        read = before.cursors[0].position

        def is_compacted() -> bool:
            time.sleep(0.3)
            send(9, b"it rolls the segment")
            return "0:20" not in rig.entries(COMPACTED)

        wait_until(is_compacted, "old values are gone", 90)
        with rig.broker() as broker:
            reader = Reader(broker, COMPACTED)
            reader.cursors = before.cursors
            reader.read_all(3)
            there = [*rig.entries(COMPACTED)]
            assert reader.positions == [place for place in there if not has_passed(read, place)]
            assert not reader.gaps
            lag = group_of(broker, stream=COMPACTED).lag
        assert lag.kind is LagKind.AT_MOST
        assert (lag.value or 0) >= len(there)


class TestTopics:
    def test_that_kafka_keeps_for_itself_are_watched_only_when_asked_for(self, rig: KafkaRig) -> None:
        rig.make_group(STREAM, "mailer")  # which makes the topic of offsets
        for internal in (False, True):
            with rig.broker(internal=internal) as broker:
                names = {name for page in broker.discover(lambda _: True) for name in page}
            assert STREAM in names
            assert ("__consumer_offsets" in names) is internal

    @pytest.mark.parametrize("already", [0, 10, 30])
    def test_made_anew_with_more_than_was_read_are_noticed_by_their_id(
        self, rig: KafkaRig, broker: Broker, already: int
    ) -> None:
        first = publish(rig, 30)
        reader = Reader(broker, STREAM).look()
        if already:
            reader.read(already)
        rig.drop(STREAM)
        second = rig.publish(STREAM, *(event(f"anew-{number}") for number in range(50)))
        while reader.read(7):  # by the head of the topic that was
            pass
        assert reader.positions == first[: len(reader.records)]
        assert not [record for record in reader.records if b"e-anew-1" in record.fields]
        read = len(reader.records)
        reader.read_all(7)
        assert reader.positions[read:] == second
        assert reader.incarnation == 1
        assert not reader.gaps

    def test_that_expire_in_one_partition_show_a_gap_in_that_one(self, rig: KafkaRig, broker: Broker) -> None:
        rig.make(STREAM, 2)
        for number in range(40):
            rig.producer.send(STREAM, b"%d" % number, partition=number % 2)
        rig.producer.flush()
        reader = Reader(broker, STREAM).look()
        reader.read(5)
        rig.admin.delete_records({TopicPartition(STREAM, 1): 15})
        reader.read_all()
        [gap] = reader.gaps
        assert (gap.after_position, gap.before_position, gap.missed) == ("1:4", "1:15", 10)
        assert len(reader.records) == 30

    def test_that_get_more_partitions_are_read_in_all_of_them(self, rig: KafkaRig, broker: Broker) -> None:
        publish(rig, 3)
        reader = Reader(broker, STREAM).read_all()
        rig.admin.create_partitions({STREAM: 3})
        wait_until(lambda: len(broker.look([STREAM]).heads[STREAM]) == 3, "there are three")
        with rig.producing() as producer:
            producer.send(STREAM, b"new", partition=2).get(30)
        reader.read_all()
        assert values(reader)[3:] == [b"new"]

    def test_letters_are_present_as_far_as_the_log_reaches(self, rig: KafkaRig, broker: Broker) -> None:
        published = publish(rig, 10)
        rig.trim(STREAM, 4)
        assert broker.present(STREAM, [*published, "0:10", "7:0"]) == {*published[6:]}


class TestGroups:
    def test_that_are_classic_show_their_members_and_what_each_reads(
        self, rig: KafkaRig, broker: Broker
    ) -> None:
        rig.make(STREAM, 2)
        for partition in (0, 1):
            for _ in range(3):
                rig.producer.send(STREAM, b"-", partition=partition)
        rig.producer.flush()
        consumer = KafkaConsumer(
            STREAM,
            bootstrap_servers=[f"127.0.0.1:{rig.port}"],
            group_id="mailer",
            client_id="c-1",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        try:
            seen = 0
            while seen < 6:
                seen += sum(map(len, consumer.poll(timeout_ms=200).values()))
            group = group_of(broker)
            assert (group.lag.kind, "committed nothing" in group.lag.reason) == (LagKind.UNKNOWN, True)
            [member] = group.consumers
            assert member.name.startswith("c-1 ")
            assert member.name.endswith(": 0, 1")
            consumer.commit()
            assert group_of(broker).lag == Lag.known(0)
        finally:
            consumer.close()
        wait_until(lambda: not group_of(broker).consumers, "its member has left")

    def test_of_the_new_protocol_show_theirs(self, rig: KafkaRig, broker: Broker) -> None:
        publish(rig, 5)
        options = ("--topic", STREAM, "--group", "mailer", "--from-beginning")
        new = ("--consumer-property", "group.protocol=consumer", "--consumer-property", "client.id=c-1")
        with rig.java("ConsoleConsumer", *options, *new):
            wait_until(lambda: any(g.lag == Lag.known(0) for g in broker.groups([STREAM])), "it reads", 90)
            publish(rig, 1)
            [member] = group_of(broker).consumers
            assert (member.name.startswith("c-1 "), member.name.endswith(": 0")) == (True, True)
            wait_until(lambda: group_of(broker).lag == Lag.known(0), "it has read on", 60)
            position = group_of(broker).position
        assert position == "0:5"

    def test_that_share_a_topic_have_a_lag_of_at_most_what_lies_ahead(
        self, rig: KafkaRig, broker: Broker
    ) -> None:
        publish(rig, 1)

        def is_at_work() -> bool:  # the broker tells its place some time after it has acknowledged
            publish(rig, 1)
            return any(group.position > "0:1" for group in broker.groups([STREAM]))

        with rig.java("ConsoleShareConsumer", "--topic", STREAM, "--group", "sharers"):
            wait_until(lambda: any(g.consumers for g in broker.groups([STREAM])), "it has joined", 90)
            wait_until(is_at_work, "it reads", 90)
        *_, last = publish(rig, 3)
        group = group_of(broker, "sharers")
        ahead = sum(not has_passed(group.position, place) for place in rig.entries(STREAM))
        assert (group.lag.kind, group.lag.value) == (LagKind.AT_MOST, ahead)
        assert ahead >= 3
        views = broker.views(STREAM, ["sharers"], ["0:1", last])
        assert [views[place][0].state for place in ("0:1", last)] == ["consumed", "waiting"]

    def test_take_as_many_requests_however_many_they_are(self, rig: KafkaRig, broker: Broker) -> None:
        rig.make(STREAM, 10)
        asked = []
        for count in (1, 30):
            for number in range(count):
                for partition in (0, 9):
                    rig.commit(STREAM, f"group-{number}", 0, partition)
            broker.groups([STREAM])
            before = broker.commands_sent
            assert len(broker.groups([STREAM])) == count
            asked.append(broker.commands_sent - before)
        assert asked[0] == asked[1] <= 7

    def test_beyond_the_log_have_an_unknown_lag_with_the_reason(self, rig: KafkaRig, broker: Broker) -> None:
        publish(rig, 3)
        rig.commit(STREAM, "mailer", 10)
        lag = group_of(broker).lag
        assert (lag.kind, "beyond" in lag.reason) == (LagKind.UNKNOWN, True)

    def test_of_a_deleted_topic_are_left_out_and_the_rest_stands(self, rig: KafkaRig, broker: Broker) -> None:
        for stream in (STREAM, OTHER):
            publish(rig, 3, stream)
            rig.commit(stream, "mailer", 1)
        rig.drop(STREAM)
        [group] = broker.groups([STREAM, OTHER])
        assert (group.stream, group.lag) == (OTHER, Lag.known(2))

    def test_that_are_deleted_are_gone(self, rig: KafkaRig, broker: Broker) -> None:
        rig.make_group(STREAM, "mailer")
        assert len(broker.groups([STREAM])) == 1
        rig.admin.delete_groups(["mailer"])
        assert not broker.groups([STREAM])

    def test_of_any_name_come_as_a_text_that_any_database_takes(self, rig: KafkaRig, broker: Broker) -> None:
        rig.make_group(STREAM, "→ a\0b {0}")
        [group] = broker.groups([STREAM])
        assert group.name == "→ a\ufffdb {0}"
        [view] = broker.views(STREAM, [group.name], ["0:0"])["0:0"]
        assert view == (group.name, "waiting")


class TestSecurity:
    def test_of_sasl_without_tls(self, rig: KafkaRig) -> None:
        assert works(rig, url=rig.plain_url(), sasl_mechanism="PLAIN", tls_ca_file=None)
        with pytest.raises(BrokerRefused, match="Authentication failed"):
            works(rig, url=rig.plain_url("wrong"), sasl_mechanism="PLAIN", tls_ca_file=None)

    def test_of_each_scram_mechanism_and_no_other(self, rig: KafkaRig) -> None:
        assert works(rig, sasl_mechanism="SCRAM-SHA-256")
        assert works(rig, sasl_mechanism="SCRAM-SHA-512")
        with pytest.raises(BrokerRefused, match="UnsupportedSaslMechanism"):
            works(rig, sasl_mechanism="PLAIN")

    def test_of_neither(self, rig: KafkaRig) -> None:
        assert works(rig, url=f"kafka://127.0.0.1:{rig.port}", tls_ca_file=None)

    def test_with_a_certificate_of_the_client(self, rig: KafkaRig) -> None:
        files = {"tls_cert_file": rig.directory / "client.crt", "tls_key_file": rig.directory / "client.key"}
        assert works(rig, **{key: str(path) for key, path in files.items()})

    def test_an_authority_that_is_not_known_is_refused_with_what_to_do(
        self, rig: KafkaRig, tmp_path: Path
    ) -> None:
        make_certificates(tmp_path)
        with pytest.raises(BrokerRefused, match="Set tls_ca_file"):
            works(rig, tls_ca_file=str(tmp_path / "ca.crt"))

    def test_a_host_that_the_certificate_does_not_name_is_refused_unless_told_not_to_look(
        self, rig: KafkaRig
    ) -> None:
        url = rig.url().replace("127.0.0.1", "localhost")
        with pytest.raises(BrokerRefused, match="Hostname mismatch"):
            works(rig, url=url)
        assert works(rig, url=url, tls_check_hostname=False)

    def test_tls_to_a_door_without_it_and_the_reverse_end_soon(self, rig: KafkaRig) -> None:
        for url in (f"kafka+ssl://127.0.0.1:{rig.port}", f"kafka://127.0.0.1:{rig.scram_port}"):
            with pytest.raises(BrokerUnavailable):
                works(rig, url=url, **rig.impatient())

    def test_one_address_that_answers_is_enough(self, rig: KafkaRig) -> None:
        assert works(rig, url=f"kafka://127.0.0.1:1,127.0.0.1:{rig.port}", tls_ca_file=None)


def works(rig: KafkaRig, **changes: Any) -> bool:
    with rig.broker(**changes) as broker:
        return broker.server().version.startswith("Apache Kafka 4")


class TestBrokerThatDies:
    """Two brokers without replicas: half of everything is gone when one dies."""

    @pytest.fixture
    def two(self, tmp_path: Path) -> Iterator[TwoBrokers]:
        rig = TwoBrokers(tmp_path)
        rig.start()
        yield rig
        rig.stop()

    def test_leaves_a_partial_sample_that_says_so_until_it_is_back(self, two: TwoBrokers) -> None:
        two.admin.create_topics(
            [NewTopic(STREAM, -1, -1, replica_assignments={0: [1], 1: [2]})], wait_for_metadata=True
        )
        for partition in (0, 1):
            two.producer.send(STREAM, b"-", partition=partition).get(30)
        names = [f"group-{number}" for number in range(8)]  # some of them on either coordinator
        for name in names:
            for partition in (0, 1):
                two.commit(STREAM, name, 0, partition)
        with two.broker() as broker:
            reader = Reader(broker, STREAM).read_all()
            assert {group.name: group.lag for group in broker.groups([STREAM])} == dict.fromkeys(
                names, Lag.known(2)
            )
            two.kill_second()
            sample = until(lambda: broker.groups([STREAM]), lambda seen: len(kinds(seen)) == 2)
            assert {group.name for group in sample} == {*names}
            assert kinds(sample) == {LagKind.AT_LEAST, LagKind.UNKNOWN}
            for group in sample:
                known = group.lag.kind is LagKind.AT_LEAST
                assert ("leads the partition" if known else "coordinator") in group.lag.reason
                assert group.lag.value == (1 if known else None)
            two.producer.send(STREAM, b"still", partition=0).get(30)
            reader.look()
            reader.read()
            assert values(reader)[-1] == b"still"
            two.start_second()
            sample = until(lambda: broker.groups([STREAM]), lambda seen: kinds(seen) == {LagKind.KNOWN})
            assert {group.lag.value for group in sample} == {3}


def kinds(sample: list[GroupSeen]) -> set[LagKind]:
    return {group.lag.kind for group in sample}


def until(ask: Callable[[], Any], is_so: Callable[[Any], bool], within_s: float = 60) -> Any:
    """The first answer of which it is so; in between a broker may be out of reach."""
    deadline = time.monotonic() + within_s
    answer: Any = None
    while time.monotonic() < deadline:
        try:
            answer = ask()
        except BrokerUnavailable:
            continue
        if is_so(answer):
            return answer
        time.sleep(0.2)
    raise AssertionError(f"not within {within_s} s; the last was {answer}")
