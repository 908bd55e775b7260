"""Dead letters on each real server: what they say, and that each act on them is done once, in every way."""

from dataclasses import replace

import pytest

from collectors.brokers.base import LetterToSend, SendState, Sent
from eventwake.domain.dead_letter import Known
from eventwake.domain.envelope import Record
from tests.contract.conftest import EVERY_LETTER, Acting, Rigs
from tests.contract.reader import Reader
from tests.contract.rigs.base import DEAD, STREAM, Letter, LogRig, event, flat, publish

pytestmark = pytest.mark.server

EVENT = [*event(1), (b"tag", b"first"), (b"tag", b"second"), (b"", b""), (b"raw", bytes(range(256)))]
OWN = [(b"original_stream", STREAM.encode()), (b"error", b"no answer"), (b"retry_count", b"3")]
MARKS = "7"


def dead_letters(acting: Acting, count: int) -> list[LetterToSend]:
    """So many letters in the dead-letter stream, as an operation would send them."""
    made = {*acting.rig.publish(DEAD, *([[*EVENT, *OWN]] * count))}
    intent = acting.broker.intent(STREAM)
    return [
        LetterToSend(
            number,
            record.position,
            f"replay-{record.position}-1",
            STREAM,
            1_000,
            intent,
            drop=acting.broker.read_letter(record, DEAD).own_fields,
        )
        for number, record in enumerate(Reader(acting.broker, DEAD).read_all().records)
        if record.position in made
    ]


def again(letter: LetterToSend) -> LetterToSend:
    return replace(letter, may_be_sent=True)


def sent_as(letter: LetterToSend) -> list[bytes]:
    return [*flat(EVENT), b"eventwake_replay_id", letter.replay_id.encode()]


@pytest.fixture
def origin(acting: Acting) -> list[str]:
    """What lies in the stream that letters came from."""
    return publish(acting.rig, 3)


@pytest.mark.parametrize(
    ("kind", "letter"), EVERY_LETTER, ids=[f"{kind.name}: {letter.name}" for kind, letter in EVERY_LETTER]
)
def test_a_dead_letter_says_its_reason_and_its_origin(rigs: Rigs, kind: type[LogRig], letter: Letter) -> None:
    rig = rigs.of(kind)
    rig.publish(letter.stream, [*zip(letter.fields[::2], letter.fields[1::2], strict=True)])
    with rig.broker() as broker:
        [record] = Reader(broker, letter.stream).read_all().records
        said = broker.read_letter(record, letter.stream)
    assert {name: getattr(said, name) for name in letter.says} == letter.says
    assert list(record.fields) == letter.fields
    if "failed_ms" not in letter.says:
        assert (said.failed_ms, said.how["failed"]) == (record.recorded_ms, Known.BROKER_TIME)


class TestRetry:
    def test_sends_the_event_as_it_was_and_removes_the_letter(
        self, acting: Acting, origin: list[str]
    ) -> None:
        acting.rig.make_group(STREAM, "mailer", origin[-1])
        letters = dead_letters(acting, 2)
        sent = acting.broker.retry(DEAD, letters[:1], MARKS)
        [position] = acting.rig.consume(STREAM, "mailer", 10)
        assert sent == [Sent(0, SendState.SENT, position, sent_ms=int(position.partition("-")[0]))]
        assert acting.rig.entries(STREAM)[position] == sent_as(letters[0])
        assert [*acting.rig.entries(DEAD)] == [letters[1].position]

    def test_of_the_same_attempt_does_nothing_more(self, acting: Acting, origin: list[str]) -> None:
        letters = dead_letters(acting, 3)
        first = acting.broker.retry(DEAD, letters, MARKS)
        before = acting.rig.entries(STREAM)
        for repeat in (letters, [again(letter) for letter in letters]):
            second = acting.broker.retry(DEAD, repeat, MARKS)
            assert {sent.state for sent in second} == {SendState.ALREADY}
            assert [sent.position for sent in second] == [sent.position for sent in first]
        assert acting.rig.entries(STREAM) == before
        assert len(before) == len(origin) + 3

    def test_that_may_have_been_sent_and_was_not_is_sent(self, acting: Acting, origin: list[str]) -> None:
        [letter] = dead_letters(acting, 1)
        assert [sent.state for sent in acting.broker.retry(DEAD, [again(letter)], MARKS)] == [SendState.SENT]
        assert not acting.rig.entries(DEAD)
        assert [*acting.rig.entries(STREAM).values()][len(origin) :] == [sent_as(letter)]

    def test_of_another_attempt_sends_again(self, acting: Acting, origin: list[str]) -> None:
        [letter] = dead_letters(acting, 1)
        acting.broker.retry(DEAD, [letter], MARKS)
        [came_back] = dead_letters(acting, 1)
        other = replace(came_back, replay_id=letter.replay_id[:-1] + "2")
        assert [sent.state for sent in acting.broker.retry(DEAD, [other], "8")] == [SendState.SENT]
        assert len(acting.rig.entries(STREAM)) == len(origin) + 2

    def test_of_a_letter_that_someone_else_removed_is_gone(self, acting: Acting, origin: list[str]) -> None:
        letters = dead_letters(acting, 4)
        acting.rig.remove(DEAD, [letters[1].position, letters[2].position])
        states = {sent.letter_id: sent.state for sent in acting.broker.retry(DEAD, letters, MARKS)}
        there, gone = SendState.SENT, SendState.GONE
        assert states == {0: there, 1: gone, 2: gone, 3: there}
        assert len(acting.rig.entries(STREAM)) == len(origin) + 2
        assert not acting.rig.entries(DEAD)

    def test_of_very_many_letters_is_each_sent_once(self, acting: Acting, origin: list[str]) -> None:
        letters = dead_letters(acting, 250)
        sent = acting.broker.retry(DEAD, letters, MARKS)
        assert {one.letter_id for one in sent} == {letter.letter_id for letter in letters}
        replayed = [fields[-1].decode() for fields in acting.rig.entries(STREAM).values()][len(origin) :]
        assert sorted(replayed) == sorted(letter.replay_id for letter in letters)
        assert not acting.rig.entries(DEAD)

    def test_to_a_stream_that_does_not_exist_is_refused_and_makes_none(self, acting: Acting) -> None:
        letters = dead_letters(acting, 2)
        for sent in acting.broker.retry(DEAD, letters, MARKS):
            assert sent.state is SendState.REFUSED
            assert "does not exist" in sent.detail
        assert not acting.broker.look([STREAM]).heads
        assert len(acting.rig.entries(DEAD)) == 2

    def test_of_an_edited_letter_sends_what_it_was_edited_to(self, acting: Acting, origin: list[str]) -> None:
        [letter] = dead_letters(acting, 1)
        edited = flat(event(1, note="mended by hand"))
        acting.broker.retry(DEAD, [replace(letter, fields=edited)], MARKS)
        replay_id = [b"eventwake_replay_id", letter.replay_id.encode()]
        assert [*acting.rig.entries(STREAM).values()][-1] == [*edited, *replay_id]
        assert not acting.rig.entries(DEAD)


class TestDiscard:
    def test_removes_what_is_there_and_says_what_that_was(self, acting: Acting) -> None:
        first, second, third = (letter.position for letter in dead_letters(acting, 3))
        acting.rig.remove(DEAD, [second])
        assert acting.broker.present(DEAD, [first, second, third]) == {first, third}
        assert acting.broker.discard(DEAD, [first, second]) == {first}
        assert acting.broker.discard(DEAD, [first, second]) == set()
        assert [*acting.rig.entries(DEAD)] == [third]


class TestRestore:
    def test_puts_a_letter_back_byte_for_byte_once_for_each_token(self, acting: Acting) -> None:
        [discarded] = self.discarded(acting)
        dead_letters(acting, 1)  # the stream goes on meanwhile
        before, after = len(acting.rig.entries(DEAD)), acting.broker.intent(DEAD)
        first = acting.broker.restore(DEAD, discarded, "t-1", after)
        assert acting.broker.restore(DEAD, discarded, "t-1", after) == first
        lie_there = acting.rig.entries(DEAD)
        assert lie_there[first] == list(discarded.fields)
        assert len(lie_there) == before + 1

    def test_of_another_token_puts_it_back_again(self, acting: Acting) -> None:
        [discarded] = self.discarded(acting)
        first = acting.broker.restore(DEAD, discarded, "t-1", acting.broker.intent(DEAD))
        acting.broker.discard(DEAD, [first])
        second = acting.broker.restore(DEAD, discarded, "t-2", acting.broker.intent(DEAD))
        assert [*acting.rig.entries(DEAD)] == [second]
        assert second != first

    @staticmethod
    def discarded(acting: Acting) -> list[Record]:
        dead_letters(acting, 1)
        records = Reader(acting.broker, DEAD).read_all().records
        acting.broker.discard(DEAD, [record.position for record in records])
        return records
