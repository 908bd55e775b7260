"""A dead letter's states, and the fingerprint by which letters of one cause are one group."""

import random
from itertools import pairwise

import pytest

from eventwake.domain.dead_letter import (
    MESSAGE_READ_AT_MOST,
    NEXT,
    REVIVABLE,
    DeadLetter,
    LetterState,
    fingerprint,
    normalise,
    own_frame,
    replay_id,
)

S = LetterState
PYTHON_TRACE = """Traceback (most recent call last):
  File "/srv/app-{n}/orders/worker.py", line {n}, in handle
    charge(order)
  File "/srv/app-{n}/orders/payment.py", line 4{n}, in charge
    return client.post(url)
  File "/usr/lib/python3.11/site-packages/httpx/_client.py", line 1144, in post
    raise ConnectError(message)
httpx.ConnectError: refused
"""
JAVA_TRACE = """java.lang.IllegalStateException: no stock
\tat java.base/java.util.Optional.orElseThrow(Optional.java:403)
\tat com.example.orders.Stock.reserve(Stock.java:{n})
\tat com.example.orders.Handler.handle(Handler.java:17)
"""


class TestStates:
    def test_every_state_says_what_may_follow(self) -> None:
        assert set(NEXT) == set(LetterState)

    @pytest.mark.parametrize(
        "way",
        [
            [S.OPEN, S.CLAIMED, S.SENT, S.SETTLED, S.CONSUMED],
            [S.OPEN, S.CLAIMED, S.SENT, S.SETTLED, S.SUCCEEDED],
            [S.OPEN, S.CLAIMED, S.SENT, S.SETTLED, S.CAME_BACK],
            [S.OPEN, S.CLAIMED, S.SENT, S.SETTLED, S.UNKNOWN],
            [S.OPEN, S.CLAIMED, S.OPEN],  # refused
            [S.UNKNOWN, S.OPEN],  # by a person
            [S.OPEN, S.CLAIMED, S.DISCARDED, S.OPEN],  # restored
            [S.OPEN, S.EXPIRED],
            [S.OPEN, S.GONE],
            [S.CONSUMED, S.CAME_BACK],  # a group passed it and gave it up again
            [S.SETTLED, S.OPEN],  # its server forgot what was done, and it lies there again
            [S.GONE, S.OPEN],  # its stream is there again
        ],
    )
    def test_the_ways_of_a_letter_are_open(self, way: list[LetterState]) -> None:
        for before, after in pairwise(way):
            assert after in NEXT[before]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (S.OPEN, S.SENT),  # nothing is sent that was not claimed
            (S.OPEN, S.DISCARDED),
            (S.SENT, S.OPEN),  # what was sent is not open to be sent again
            (S.SENT, S.CLAIMED),
            (S.SETTLED, S.CLAIMED),
            (S.SETTLED, S.SENT),
            (S.CLAIMED, S.CONSUMED),  # and nothing is done that was not sent
            (S.CLAIMED, S.SUCCEEDED),
            (S.DISCARDED, S.SENT),
        ],
    )
    def test_no_way_leads_past_the_claim_or_twice_to_the_broker(
        self, before: LetterState, after: LetterState
    ) -> None:
        assert after not in NEXT[before]

    def test_what_was_sent_can_be_sent_again_only_where_it_is_unknown_or_lies_there_again(self) -> None:
        """From `sent` every way to a new claim leads through `unknown` or `open`, where a person decides."""
        reached, edge = {S.SENT}, [S.SENT]
        while edge:
            for state in NEXT[edge.pop()] - reached - {S.UNKNOWN, S.OPEN}:
                reached.add(state)
                edge.append(state)
        assert not reached & {S.CLAIMED, S.DISCARDED}

    def test_only_what_the_operator_is_done_with_can_be_open_because_it_lies_there_again(self) -> None:
        back = {state for state, after in NEXT.items() if S.OPEN in after}
        assert back == REVIVABLE | {S.CLAIMED, S.UNKNOWN}
        assert S.SENT not in REVIVABLE

    def test_what_has_ended_stays_so_unless_it_lies_there_again(self) -> None:
        assert NEXT[S.EXPIRED] == frozenset()
        assert NEXT[S.CAME_BACK] == NEXT[S.GONE] == {S.OPEN}


class TestMessages:
    @pytest.mark.parametrize(
        ("message", "same"),
        [
            ("order 1042 not found", "order <num> not found"),
            ("550e8400-e29b-41d4-a716-446655440000 is gone", "<uuid> is gone"),
            ("01HV8Z3X7K9QK5M2N4P6R8S0T2 is gone", "<ulid> is gone"),
            ("object 507f1f77bcf86cd799439011 is gone", "object <hex> is gone"),
            (f"digest {'0f' * 64} differs", "digest <hex> differs"),
            ("<Order object at 0x7f3a2b90>", "<Order object at <hex>>"),
            ("order-1042 failed", "<id> failed"),
            ("order-7 failed", "<id> failed"),
            ("user_7 is locked", "<id> is locked"),
            ("PO20260301 rejected", "<id> rejected"),
            ("late since 2026-03-01T12:00:00.123Z", "late since <time>"),
            ("late since 2026-03-01 12:00:00,123", "late since <time>"),
            ("late since 2026-03-01", "late since <time>"),
            ("late since 2026-03-01T12:00+01:00", "late since <time>"),
            ("took 1,234.5 s of -3", "took <num> s of <num>"),
            ("took 35ms", "took <num>ms"),
            ("10.0.0.1:6379 refused", "<ip> refused"),
            ("192.168.1.20 refused", "<ip> refused"),
            ("mail to ada.l+shop@mail.example bounced", "mail to <email> bounced"),
            ("KeyError: 'user_42'", "KeyError: <value>"),
            ('no "sku 12" here', "no <value> here"),
            ("no 'price' field", "no 'price' field"),  # a constant name tells causes apart
            ("  two\n lines\t here ", "two lines here"),
            ("", ""),
        ],
    )
    def test_lose_what_differs_from_letter_to_letter(self, message: str, same: str) -> None:
        assert normalise(message) == same

    def test_of_one_cause_are_one_whatever_the_ids_in_them(self) -> None:
        dice = random.Random(8)

        def filled() -> str:
            digits = dice.randint(1, 12)
            return (
                f"order-{dice.randrange(10**digits)} of {dice.randbytes(16).hex()} at "
                f"10.{dice.randrange(256)}.{dice.randrange(256)}.1:{dice.randint(1, 65535)}: "
                f"{dice.random() * 10**digits:.2f} EUR missing since 2026-{dice.randint(10, 12)}-1"
                f"{dice.randrange(10)}T12:0{dice.randrange(10)}:00Z"
            )

        assert len({normalise(filled()) for _ in range(500)}) == 1

    @pytest.mark.parametrize(
        "other", ["order <num> not found", "orders 1 not found", "order 1 not founded", "order 1 was found"]
    )
    def test_of_other_causes_stay_apart(self, other: str) -> None:
        assert (normalise(other) == normalise("order 1 not found")) is (other == "order <num> not found")

    @pytest.mark.parametrize(
        "piece",
        [
            "a",
            "1",
            "1.",
            "f0",
            "a-",
            "a1_",
            "'",
            "'<",
            "\"'",
            "a@",
            "1.1.1.",
            "-",
            "0x",
            "2026-",
            " ",
            "a.b-c_1@",
        ],
    )
    def test_made_to_take_long_do_not(self, piece: str) -> None:
        """A pattern that tries every combination would not end within the test's time-out."""
        assert len(normalise(piece * (10 * MESSAGE_READ_AT_MOST))) <= MESSAGE_READ_AT_MOST * 3


class TestFrames:
    def test_the_innermost_of_our_own_code_counts_without_folders_and_lines(self) -> None:
        assert {own_frame(PYTHON_TRACE.format(n=n)) for n in (1, 2, 99)} == {"orders/payment.py:charge"}
        assert {own_frame(JAVA_TRACE.format(n=n)) for n in (1, 99)} == {"com.example.orders.Stock.reserve"}

    def test_where_all_are_a_librarys_the_innermost_counts(self) -> None:
        trace = 'File "/usr/lib/python3.11/site-packages/a/b.py", line 1, in x\n' * 2
        assert own_frame(trace) == "a/b.py:x"

    @pytest.mark.parametrize("trace", [None, "", "no trace at all", "goroutine 1 [running]:"])
    def test_none_is_read_where_none_is(self, trace: str | None) -> None:
        assert own_frame(trace) is None

    def test_of_windows_line_ends_are_read_as_well(self) -> None:
        assert own_frame(PYTHON_TRACE.format(n=1).replace("\n", "\r\n")) == "orders/payment.py:charge"

    @pytest.mark.parametrize(
        "piece", ["\n", "\n\t", " ", 'File "', 'File "a', "at a.", "at\n", '"\n"', "a(\n"]
    )
    def test_in_a_trace_that_was_made_to_take_long_are_looked_for_in_no_time(self, piece: str) -> None:
        """Empty lines alone took seconds a trace once: the test would not end within its time-out."""
        for _ in range(50):
            assert own_frame(piece * 50_000) is None


class TestFingerprint:
    LETTER = DeadLetter("r", error_class="E", error_message="order 1 failed", stack_trace=PYTHON_TRACE)

    def test_is_the_same_for_letters_of_one_cause(self) -> None:
        prints = {
            fingerprint(
                DeadLetter(
                    "r",
                    error_class="E",
                    error_message=f"order {n} failed",
                    stack_trace=PYTHON_TRACE.format(n=n),
                    attempts=n,
                    failed_ms=n,
                )
            )
            for n in range(1, 50)
        }
        assert len(prints) == 1

    @pytest.mark.parametrize(
        "other",
        [
            DeadLetter("r", error_class="F", error_message="order 1 failed"),
            DeadLetter("r", error_class="E", error_message="order 1 refused"),
            DeadLetter("r", error_class="E", error_message="order 1 failed", stack_trace=JAVA_TRACE),
            DeadLetter("r"),
        ],
    )
    def test_differs_by_class_message_and_frame(self, other: DeadLetter) -> None:
        plain = DeadLetter("r", error_class="E", error_message="order 1 failed")
        assert fingerprint(other).id != fingerprint(plain).id

    def test_is_kept_in_stores_and_so_never_changes(self) -> None:
        letter = DeadLetter("r", error_class="ValueError", error_message="no such sku 12")
        assert fingerprint(letter).id == "86f78f755e48a786"

    def test_of_a_letter_that_says_nothing_says_so(self) -> None:
        assert fingerprint(DeadLetter("r")).error_class == "(no error class)"

    def test_cannot_be_forged_by_a_separator_in_a_text(self) -> None:
        one = DeadLetter("r", error_class="E", error_message="a")
        assert fingerprint(one).id != fingerprint(DeadLetter("r", error_class="E\x1f", error_message="a")).id


class TestReplayId:
    PLACE = ("shop", "orders:dlq", 0, "5-1")

    def test_is_of_the_letters_place_and_attempt_so_that_a_crash_repeats_it(self) -> None:
        assert replay_id(*self.PLACE, 1) == replay_id(*self.PLACE, 1)

    def test_differs_by_every_part_of_the_place(self) -> None:
        others = [
            ("shop2", "orders:dlq", 0, "5-1"),
            ("shop", "orders.dlq", 0, "5-1"),
            ("shop", "orders:dlq", 1, "5-1"),
            ("shop", "orders:dlq", 0, "5-2"),
        ]
        ids = {replay_id(*place, 1) for place in [self.PLACE, *others]} | {replay_id(*self.PLACE, 2)}
        assert len(ids) == len(others) + 2

    def test_ends_with_the_attempt_for_people_who_read_it(self) -> None:
        assert replay_id(*self.PLACE, 12).endswith("-12")
