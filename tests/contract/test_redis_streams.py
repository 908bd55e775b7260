"""What is peculiar to Redis Streams: TLS, fail-over, databases, names of any bytes, limits of scripts."""

from pathlib import Path

import pytest

from collectors.brokers import broker_for
from collectors.brokers.base import Broker, LetterToSend, SendState
from eventwake.decoding.envelope import LAST_MS
from eventwake.decoding.names import raw
from eventwake.domain.errors import BrokerRefused, BrokerUnavailable, SettingsError
from eventwake.domain.lag import Lag, LagKind
from eventwake.settings import Source
from tests.contract.conftest import Rigs
from tests.contract.reader import Reader
from tests.contract.rigs.base import DEAD, STREAM, event, flat, publish, wait_until
from tests.contract.rigs.certificates import make_certificates
from tests.contract.rigs.redis_streams import (
    RIGS,
    BehindSentinel,
    Redis7,
    RedisRig,
    SentinelWithReplica,
    TlsAndAcl,
    TlsSentinel,
    Valkey,
)

pytestmark = pytest.mark.server


@pytest.fixture(params=RIGS, ids=lambda rig: rig.name)
def rig(request: pytest.FixtureRequest, rigs: Rigs) -> RedisRig:
    kind: type[RedisRig] = request.param
    return rigs.of(kind)


@pytest.fixture
def tls(rigs: Rigs) -> TlsAndAcl:
    return rigs.of(TlsAndAcl)


class TestTls:
    def test_an_authority_that_is_not_known_is_refused_with_what_to_do(
        self, tls: TlsAndAcl, tmp_path: Path
    ) -> None:
        make_certificates(tmp_path)
        with pytest.raises(BrokerRefused) as refused, tls.broker(tls_ca_file=str(tmp_path / "ca.crt")):
            pass
        assert "certificate" in str(refused.value)
        assert "Set tls_ca_file" in str(refused.value)

    def test_a_host_that_the_certificate_does_not_name_is_refused_unless_told_not_to_look(
        self, tls: TlsAndAcl
    ) -> None:
        url = tls.url().replace("127.0.0.1", "localhost")
        with pytest.raises(BrokerRefused, match="Hostname mismatch"), tls.broker(url=url):
            pass
        with tls.broker(url=url, tls_check_hostname=False) as broker:
            assert broker.server().version.startswith("Redis 7")

    @pytest.mark.parametrize("key", ["tls_ca_file", "tls_cert_file"])
    def test_a_file_that_is_not_there_is_a_fault_of_the_settings(self, tls: TlsAndAcl, key: str) -> None:
        with pytest.raises(SettingsError, match=f"{key}: Path does not point to a file"):
            broker_for(tls.source(**{key: "/nowhere.crt"}))

    def test_a_server_that_wants_a_certificate_and_gets_none_is_unavailable(self, tls: TlsAndAcl) -> None:
        with pytest.raises(BrokerUnavailable), tls.broker(tls_cert_file=None, tls_key_file=None):
            pass

    def test_tls_to_a_port_without_it_and_the_reverse_end_soon(self, tls: TlsAndAcl, rigs: Rigs) -> None:
        plain = rigs.of(Redis7)
        for rig, url in ((plain, f"rediss://127.0.0.1:{plain.port}"), (tls, f"redis://127.0.0.1:{tls.port}")):
            with pytest.raises(BrokerUnavailable), rig.broker(url=url, **rig.impatient()):
                pass

    def test_reaches_to_the_sentinels_as_well(self, tmp_path: Path) -> None:
        with TlsSentinel(tmp_path).running() as rig, rig.broker() as broker:
            published = publish(rig, 2)
            assert Reader(broker, STREAM).read_all().positions == published


class TestNames:
    """Keys and groups are bytes; the store has texts."""

    NAMES = (
        *("café".encode(), b"\xff\xfe", b"nul\x00in", b"back\\slash"),
        *(b"\\xff", b"{tag}a b", "→ {0}".encode()),
    )

    @pytest.mark.parametrize("name", NAMES, ids=repr)
    def test_a_stream_or_group_of_any_name_is_read_by_its_text(self, rig: RedisRig, name: bytes) -> None:
        rig.admin.execute_command("XGROUP", "CREATE", name, name, "0", "MKSTREAM")
        rig.admin.execute_command("XADD", name, "*", *flat(event(1)))
        with rig.broker() as broker:
            [[stream]] = [page for page in broker.discover(lambda _: True) if page]
            assert len(Reader(broker, stream).read_all().records) == 1
            [group] = broker.groups([stream])
        assert raw(stream) == raw(group.name) == name
        assert not {"\0", *map(chr, range(0xDC80, 0xDD00))} & {*stream}
        assert group.lag == Lag.known(1)

    def test_two_names_never_have_one_text(self, rig: RedisRig) -> None:
        for name in (b"\xff", b"\\xff", b"\\\\xff"):
            rig.admin.execute_command("XADD", name, "*", "a", "1")
        with rig.broker() as broker:
            texts = [stream for page in broker.discover(lambda _: True) for stream in page]
        assert len({*texts}) == 3

    def test_keys_of_other_types_are_no_streams_even_when_they_were(self, rig: RedisRig) -> None:
        rig.admin.execute_command("SET", "a-text", "1")
        publish(rig, 2)
        with rig.broker() as broker:
            assert [page for page in broker.discover(lambda _: True) if page] == [[STREAM]]
            reader = Reader(broker, STREAM).look()
            rig.drop(STREAM)
            rig.admin.execute_command("SET", STREAM, "no stream any more")
            assert not reader.read()
            assert not broker.groups([STREAM])
            assert broker.look([STREAM]) == ({}, {})


HUGE = "18446744073709551000-1"


class TestNumbersFromOutside:
    def test_an_id_beyond_all_time_is_read_like_any_other(self, rig: RedisRig) -> None:
        rig.admin.execute_command("XADD", STREAM, HUGE, *flat(event(1)))
        with rig.broker() as broker:
            [record] = Reader(broker, STREAM).read_all().records
        assert (record.position, record.recorded_ms) == (HUGE, LAST_MS)

    def test_a_retry_behind_such_an_id_says_a_time_that_can_be_kept(self, rig: RedisRig) -> None:
        rig.admin.execute_command("XADD", STREAM, HUGE, *flat(event(1)))
        [position] = rig.publish(DEAD, event(1))
        with rig.broker() as broker:
            [sent] = broker.retry(DEAD, [LetterToSend(1, position, "r-1", STREAM, 100, HUGE)], "7")
        assert (sent.state, sent.position, sent.sent_ms) == (SendState.SENT, HUGE[:-1] + "2", LAST_MS)

    def test_a_count_that_was_set_to_its_end_counts_nothing_and_all_is_read_on(self, rigs: Rigs) -> None:
        rig = rigs.of(Valkey)
        published = publish(rig, 2)
        rig.make_group(STREAM, "mailer")
        with rig.broker() as broker:
            reader = Reader(broker, STREAM).read_all()
            most = 2**63 - 1
            rig.admin.execute_command(
                *("XSETID", STREAM, published[-1], "ENTRIESADDED", most, "MAXDELETEDID", "0-0")
            )
            for _ in range(2):  # the second time the server's own counter has gone round
                published += publish(rig, 2)
                assert reader.read_all().positions == published
                assert broker.look([STREAM]).heads[STREAM][0].added is None
                [group] = broker.groups([STREAM])
                assert (group.lag, group.end, group.committed) == (Lag.known(len(published)), None, None)

    @pytest.mark.parametrize("position", ["1-1", "1230767999999-0"])
    def test_of_an_id_that_is_no_servers_time_no_age_is_claimed(self, rig: RedisRig, position: str) -> None:
        rig.admin.execute_command("XADD", STREAM, position, *flat(event(1)))
        rig.make_group(STREAM, "mailer")
        with rig.broker() as broker:
            broker.look([STREAM])
            [group] = broker.groups([STREAM])
        assert group.lag == Lag.known(1)
        assert (group.time_lag.kind, group.time_lag.value) == (LagKind.UNKNOWN, None)
        assert "chose the id" in group.time_lag.reason


@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster"])
@pytest.mark.parametrize(
    "password", ["hush/hush", "hush?hush", "hush#hush", "hush/1", "hush[hush", "hush\u2100x"]
)
def test_a_password_that_breaks_the_url_is_not_shown(scheme: str, password: str) -> None:
    source = Source(name="shop", kind="redis_streams", url=f"{scheme}://watcher:{password}@127.0.0.1:6379/0")
    with pytest.raises(SettingsError) as error:
        broker_for(source)
    assert "hush" not in str(error.value)
    assert "percent-encode" in str(error.value)


class TestLetters:
    @pytest.mark.parametrize("way", RedisRig.ways)
    def test_that_holds_no_event_but_only_a_reference_to_one_is_refused_and_stays(
        self, rig: RedisRig, way: str
    ) -> None:
        [first] = publish(rig, 1)
        reference = [
            (b"original_stream", STREAM.encode()), (b"original_id", first.encode()), (b"error", b"boom")
        ]  # fmt: skip
        [position] = rig.publish(DEAD, reference)
        with rig.broker(**rig.able_to(way)) as broker:
            [record] = Reader(broker, DEAD).read_all().records
            drop = broker.read_letter(record, DEAD).own_fields
            letter = LetterToSend(1, position, "r-1", STREAM, 100, "0-0", drop=drop)
            [sent] = broker.retry(DEAD, [letter], "7")
        assert (sent.state, sent.detail) == (
            SendState.REFUSED,
            "it holds no event, only a reference to one",
        )
        assert [*rig.entries(STREAM)] == [first]
        assert [*rig.entries(DEAD)] == [position]

    def test_whose_origin_has_a_backslash_in_its_name_goes_there_and_nowhere_else(self, rigs: Rigs) -> None:
        rig = rigs.of(Valkey)
        for name in (b"a\\x41b", b"aAb"):
            rig.admin.execute_command("XADD", name, "*", "q", "1")
        [position] = rig.publish(DEAD, [*event(1), (b"original_stream", b"a\\x41b"), (b"error", b"boom")])
        with rig.broker() as broker:
            [record] = Reader(broker, DEAD).read_all().records
            said = broker.read_letter(record, DEAD)
            assert said.origin_stream is not None
            letter = LetterToSend(1, position, "r-1", said.origin_stream, 100, "0-0", drop=said.own_fields)
            [sent] = broker.retry(DEAD, [letter], "7")
        assert sent.state is SendState.SENT
        lengths = [rig.admin.execute_command("XLEN", name) for name in (b"a\\x41b", b"aAb")]
        assert lengths == [2, 1]

    @pytest.mark.parametrize("way", RedisRig.ways)
    def test_an_origin_that_is_no_stream_is_refused_and_the_letter_stays(
        self, rig: RedisRig, way: str
    ) -> None:
        rig.admin.execute_command("SET", STREAM, "a text")
        [position] = rig.publish(DEAD, event(1))
        with rig.broker(**rig.able_to(way)) as broker:
            [sent] = broker.retry(DEAD, [LetterToSend(1, position, "r-1", STREAM, 100, "0-0")], "7")
        assert sent.state is SendState.REFUSED
        assert "wrong kind of value" in sent.detail
        assert [*rig.entries(DEAD)] == [position]

    def test_of_more_fields_than_a_script_can_take_is_refused_with_the_reason(self, rig: RedisRig) -> None:
        publish(rig, 1)
        [position] = rig.publish(DEAD, [(b"f%d" % number, b"v") for number in range(2_500)])
        with rig.broker() as broker:
            [sent] = broker.retry(DEAD, [LetterToSend(1, position, "r-1", STREAM, 100, "0-0")], "7")
        assert (sent.state, "more fields" in sent.detail) == (SendState.REFUSED, True)
        assert len(rig.entries(STREAM)) == 1

    def test_marks_are_forgotten_in_time_and_not_before(self, rig: RedisRig) -> None:
        publish(rig, 1)
        [position] = rig.publish(DEAD, event(1))
        with rig.broker() as broker:
            broker.retry(DEAD, [LetterToSend(1, position, "r-1", STREAM, 100, "0-0")], "7")
        [marks] = rig.admin.execute_command("KEYS", "eventwake:*")
        assert 29 < rig.admin.execute_command("PTTL", marks) / 86_400_000 <= 30


class TestLag:
    """Where the server has lost count; what each server then knows differs."""

    def test_of_a_group_at_a_place_of_its_own_is_counted_or_a_lower_bound(self, rig: RedisRig) -> None:
        published = publish(rig, 300)
        rig.make_group(STREAM, "near", published[-11])
        rig.make_group(STREAM, "far", published[10])
        with rig.broker() as broker:
            broker.look([STREAM])
            lags = {group.name: group.lag for group in broker.groups([STREAM])}
        assert lags["near"] == Lag.known(10)
        assert (lags["far"].kind, lags["far"].value) == (LagKind.AT_LEAST, 100)
        assert "lost count" in lags["far"].reason

    def test_of_a_group_beyond_the_end_is_unknown_with_the_reason(self, rig: RedisRig) -> None:
        publish(rig, 3)
        rig.make_group(STREAM, "mailer", "99999999999999-0")
        with rig.broker() as broker:
            broker.look([STREAM])
            [group] = broker.groups([STREAM])
        assert group.lag.kind is group.time_lag.kind is LagKind.UNKNOWN
        assert "beyond the stream's end" in group.lag.reason

    def test_of_a_group_that_a_trim_overtook_is_never_told_too_low_or_as_exact_and_wrong(
        self, rig: RedisRig
    ) -> None:
        rig.make_group(STREAM, "mailer")
        publish(rig, 400)
        rig.consume(STREAM, "mailer", 10)
        rig.trim(STREAM, 350)
        rig.consume(STREAM, "mailer", 50)
        with rig.broker() as broker:
            broker.look([STREAM])
            [group] = broker.groups([STREAM])
        kind, value = {"Valkey": (LagKind.KNOWN, 300), "Redis 6.2": (LagKind.AT_LEAST, 100)}.get(
            rig.server, (LagKind.AT_MOST, 340)
        )
        assert (group.lag.kind, group.lag.value) == (kind, value)


def test_another_database_is_another_source(rigs: Rigs) -> None:
    rig = rigs.of(Valkey)
    publish(rig, 1)
    rig.make_user("elsewhere", "+select")
    with rig.broker(url=rig.url("elsewhere") + "/3") as broker:
        assert not [page for page in broker.discover(lambda _: True) if page]


class TestFailOver:
    def test_is_followed_to_the_new_primary_which_is_another_server(self, tmp_path: Path) -> None:
        with SentinelWithReplica(tmp_path).running() as rig, rig.broker() as broker:
            published = publish(rig, 5)
            rig.admin.execute_command("WAIT", 1, 5_000)
            before, reader = broker.server(), Reader(broker, STREAM).read_all()
            rig.fail_over()
            with pytest.raises(BrokerUnavailable):
                reader.read_all()
            wait_until(lambda: starts(broker), "Sentinel tells of it")  # as a worker tries after an outage
            published += publish(rig, 5)
            assert reader.read_all().positions == published
            assert broker.server().identity != before.identity
            assert reader.incarnation == 0


def test_sentinels_that_are_down_or_know_no_such_service_are_said_so(rigs: Rigs) -> None:
    rig = rigs.of(BehindSentinel)
    for url in (rig.url().replace("/orders/", "/payments/"), "redis+sentinel://127.0.0.1:1/orders/0"):
        with pytest.raises(BrokerUnavailable) as error, rig.broker(url=url):
            pass
        assert str(error.value) == "tested: no Sentinel names a primary of the service in the URL"


def starts(broker: Broker) -> bool:
    try:
        broker.start()
    except BrokerUnavailable:
        return False
    return True
