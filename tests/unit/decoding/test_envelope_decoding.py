"""The envelope of an event, by the names that people use, and how its correlation was inferred."""

import random
from typing import Any

import orjson
import pytest

from eventwake.decoding.envelope import BODY_NAMES_AT_MOST, TEXT_AT_MOST, Decoder, timestamp_ms
from eventwake.domain.envelope import Envelope, Link, Record

AT, AT_MS = "2026-03-01T12:00:00Z", 1_772_366_400_000
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def decode(
    value: Any = None, *keys: str, broker_key: bytes | None = None, **fields: str | bytes | None
) -> Envelope:
    """The envelope of a record with that JSON (or those bytes) as payload, business keys and fields."""
    raw = value if isinstance(value, bytes | None) else orjson.dumps(value)
    flat: list[bytes | None] = []
    for name, said in fields.items():
        flat += (name.encode(), said.encode() if isinstance(said, str) else said)
    return Decoder(keys).decode(Record("1-0", AT_MS, flat, broker_key, raw))


class TestNames:
    def test_the_fields_of_the_envelope_are_read(self) -> None:
        envelope = decode(
            event_type="OrderPlaced", event_id="e1", timestamp=AT, data='{"id": 7}', producer="web",
            correlation_id="c1", causation_id="e0", key="o-1",
        )  # fmt: skip
        assert envelope == Envelope("OrderPlaced", "e1", AT_MS, "o-1", "web", "c1", "e0", Link.FIELD, None)

    def test_cloudevents_in_headers_are_read(self) -> None:
        envelope = decode(
            {"amount": 5}, ce_specversion="1.0", ce_id="e1", ce_type="t", ce_source="/web", ce_time=AT,
            ce_correlationid="c1", ce_causationid="e0",
        )  # fmt: skip
        assert envelope == Envelope("t", "e1", AT_MS, None, "/web", "c1", "e0", Link.CLOUDEVENTS, None)

    def test_cloudevents_as_one_json_object_are_read(self) -> None:
        envelope = decode(
            {"specversion": "1.0", "id": "e1", "type": "t", "source": "/web", "time": AT,
             "correlationid": "c1", "causationid": "e0", "data": {"id": "business"}},
        )  # fmt: skip
        assert envelope == Envelope("t", "e1", AT_MS, None, "/web", "c1", "e0", Link.FIELD, None)

    @pytest.mark.parametrize("style", ["{}_{}", "{}-{}", "{}{}", "{}.{}"])
    @pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
    def test_names_are_known_in_any_case_and_with_any_joint(self, style: str, case: Any) -> None:
        said = {
            case(style.format(what, "id")): value
            for what, value in (("correlation", "c1"), ("causation", "e0"))
        }
        for envelope in (decode(**said), decode(said)):
            assert (envelope.correlation_id, envelope.causation_id, envelope.link) == ("c1", "e0", Link.FIELD)

    @pytest.mark.parametrize(
        ("name", "fact"),
        [
            ("type", "event_type"), ("messageType", "event_type"), ("detail-type", "event_type"),
            ("id", "event_id"), ("message_id", "event_id"), ("EventId", "event_id"),
            ("service", "producer"), ("publisher", "producer"), ("aggregate_id", "key"),
        ],
    )  # fmt: skip
    def test_other_names_are_known(self, name: str, fact: str) -> None:
        assert getattr(Decoder().decode(Record("1-0", 1, [name.encode(), b"x"])), fact) == "x"

    @pytest.mark.parametrize("name", ["time", "ts", "occurred_at", "created_at", "eventTime"])
    def test_other_names_of_the_time_are_known(self, name: str) -> None:
        assert Decoder().decode(Record("1-0", 1, [name.encode(), AT.encode()])).timestamp_ms == AT_MS

    def test_fields_go_before_the_body(self) -> None:
        envelope = decode(
            {"event_id": "in body", "correlation_id": "in body"}, event_id="e1", correlation_id="c1"
        )
        assert (envelope.event_id, envelope.correlation_id) == ("e1", "c1")

    def test_of_a_repeated_field_the_first_counts(self) -> None:
        assert Decoder().decode(Record("1-0", 1, [b"id", b"first", b"id", b"second"])).event_id == "first"

    def test_where_the_fields_are_the_envelope_the_bodys_id_type_and_time_are_business_data(self) -> None:
        envelope = decode(event_type="OrderPlaced", data='{"id": 7, "type": "express", "time": 5}')
        assert (envelope.event_type, envelope.event_id, envelope.timestamp_ms) == ("OrderPlaced", None, None)

    def test_but_names_that_cannot_mean_anything_else_are_read_there_too(self) -> None:
        envelope = decode(event_id="e1", data='{"correlationId": "c1", "causation-id": "e0"}')
        assert (envelope.correlation_id, envelope.causation_id) == ("c1", "e0")

    def test_an_event_that_says_nothing_is_nothing_but_itself(self) -> None:
        assert decode() == Envelope()


class TestCorrelation:
    """Strongest first; the link says how it was inferred."""

    STRONGEST_FIRST = (
        ({"correlation_id": "c1"}, "c1", Link.FIELD),
        ({"ce_correlationid": "c2"}, "c2", Link.CLOUDEVENTS),
        ({"NServiceBus.ConversationId": "c3"}, "c3", Link.NSERVICEBUS),
        ({"traceparent": TRACEPARENT}, TRACE_ID, Link.TRACEPARENT),
        ({"order_id": "o-1"}, "o-1", Link.KEY),
        ({"else": "x"}, None, Link.NONE),
    )

    @pytest.mark.parametrize("strongest", range(len(STRONGEST_FIRST)))
    def test_is_taken_from_the_strongest_of_what_is_said(self, strongest: int) -> None:
        said = {
            name: value for fields, _, _ in self.STRONGEST_FIRST[strongest:] for name, value in fields.items()
        }
        flat: list[bytes | None] = [part.encode() for pair in reversed(said.items()) for part in pair]
        envelope = Decoder(["order_id"]).decode(Record("1-0", 1, flat))
        assert (envelope.correlation_id, envelope.link) == self.STRONGEST_FIRST[strongest][1:]

    def test_nservicebus_says_what_an_event_is_related_to(self) -> None:
        fields: list[bytes | None] = [b"NServiceBus.RelatedTo", b"e0"]
        assert Decoder().decode(Record("1-0", 1, fields)).causation_id == "e0"

    def test_an_empty_field_says_nothing(self) -> None:
        envelope = decode(correlation_id="", traceparent=TRACEPARENT)
        assert (envelope.correlation_id, envelope.link) == (TRACE_ID, Link.TRACEPARENT)

    @pytest.mark.parametrize(
        "text",
        [
            TRACEPARENT, TRACEPARENT.upper(), f"{TRACEPARENT}-of-a-later-version",
        ],
    )  # fmt: skip
    def test_a_traceparent_gives_its_trace_id(self, text: str) -> None:
        assert decode(traceparent=text).correlation_id == TRACE_ID
        assert decode({"traceparent": text}).correlation_id == TRACE_ID

    @pytest.mark.parametrize(
        "text",
        [
            f"00-{'0' * 32}-00f067aa0ba902b7-01",  # says that there is no trace
            f"00-{'g' * 32}-00f067aa0ba902b7-01",
            f"00-{TRACE_ID[:-1]}-00f067aa0ba902b7-01",
            f"00-{TRACE_ID}-01",
            TRACE_ID,
            "---",
            "",
        ],
    )
    def test_what_is_no_traceparent_joins_nothing(self, text: str) -> None:
        envelope = decode(traceparent=text)
        assert (envelope.correlation_id, envelope.link) == (None, Link.NONE)


class TestBusinessKeys:
    @pytest.mark.parametrize(
        ("value", "fields"),
        [
            (None, {"order_id": "o-1"}),
            ({"order_id": "o-1"}, {}),
            ({"data": {"order_id": "o-1"}}, {}),
            (None, {"data": '{"order_id": "o-1"}'}),
        ],
    )
    def test_are_found_in_a_field_the_body_or_its_data(self, value: Any, fields: dict[str, str]) -> None:
        envelope = decode(value, "order_id", **fields)
        assert (envelope.key, envelope.correlation_id, envelope.link) == ("o-1", "o-1", Link.KEY)

    def test_the_first_that_is_found_counts_in_the_order_of_the_settings(self) -> None:
        body = {"customer_id": "c-1", "order_id": "o-1"}
        assert decode(body, "order_id", "customer_id").key == "o-1"
        assert decode(body, "invoice_id", "customer_id").key == "c-1"

    def test_a_number_is_its_digits_and_0_and_1_are_numbers(self) -> None:
        for number in (0, 1, 42, 2**64 - 1):
            assert decode({"order_id": number}, "order_id").key == str(number)

    @pytest.mark.parametrize("value", [True, False, None, "", 1.5, ["o-1"], {"a": 1}, 10**30])
    def test_what_is_no_name_is_no_key(self, value: object) -> None:
        """10^30 is more than JSON libraries agree on: it would come out as a rounded float."""
        raw = b'{"order_id": %s}' % (
            str(value).encode() if isinstance(value, int) and value > 9 else orjson.dumps(value)
        )
        assert decode(raw, "order_id").key is None

    def test_without_any_the_brokers_own_key_is_the_key(self) -> None:
        assert decode(broker_key=b"k-1").key == "k-1"
        assert decode(broker_key=b"").key is None

    def test_a_true_or_false_is_no_correlation_that_joins_everything(self) -> None:
        assert decode({"correlation_id": True, "id": False}) == Envelope()


class TestUndecodable:
    @pytest.mark.parametrize(
        "payload",
        [
            b"{", b'{"a": }', b'{"a": NaN}', b'{"a": Infinity}', b"[1, 2", b'{"a": 1} trailing', b"  {",
            b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 100_000, b'{"a":' * 100_000,
            b"[" * 100_000 + b"]" * 100_000,
        ],
    )  # fmt: skip
    def test_what_looks_like_json_and_is_none_says_why(self, payload: bytes) -> None:
        for envelope in (decode(payload, event_id="e1"), decode(event_id="e1", data=payload)):
            assert envelope.undecodable is not None
            assert envelope.undecodable.startswith("not valid JSON: ")
            assert envelope.event_id == "e1", "what the fields say is still read"

    @pytest.mark.parametrize(
        "payload",
        [None, b"", b"plain text", b"\x00\x00\x00\x00\x07avro", b"\xff\xfe", b"7", b'"text"', b"[1]", b"{}"],
    )
    def test_other_kinds_of_payload_are_left_alone(self, payload: bytes | None) -> None:
        assert decode(payload) == Envelope()

    def test_an_integer_beyond_64_bits_is_decodable_but_no_id(self) -> None:
        envelope = decode(b'{"id": 123456789012345678901234567890, "type": "t"}')
        assert envelope == Envelope("t")

    def test_repeated_names_in_a_body_do_no_harm(self) -> None:
        assert decode(b'{"id": "e1", "id": "e2"}').event_id == "e2"

    def test_an_object_with_very_many_names_is_data_and_no_envelope(self) -> None:
        wide = {f"n{i}": i for i in range(BODY_NAMES_AT_MOST)}
        assert decode(wide | {"id": "e1"}) == Envelope()
        del wide["n0"]
        assert decode(wide | {"id": "e1"}).event_id == "e1"

    def test_any_bytes_at_all_make_an_envelope_that_a_store_can_hold(self) -> None:
        dice = random.Random(14)
        decoder = Decoder(["id", "order_id"])
        names = [
            b"id",
            b"type",
            b"data",
            b"traceparent",
            b"correlation_id",
            b"ts",
            b"key",
            b"\xff",
            b"",
            None,
        ]
        for _ in range(2_000):
            fields: list[bytes | None] = []
            for _ in range(dice.randint(0, 5)):
                fields += (
                    dice.choice(names),
                    dice.choice(
                        [None, dice.randbytes(8), b"{" + dice.randbytes(4), b'{"id":"\\u0000"}', b"9" * 999]
                    ),
                )
            envelope = decoder.decode(Record("1-0", 1, fields, dice.randbytes(3), dice.randbytes(9)))
            for text in envelope[:2] + envelope[3:7]:
                assert text is None or (
                    isinstance(text, str) and len(text) <= TEXT_AT_MOST and "\0" not in text
                )


class TestTexts:
    def test_are_cut_to_what_an_index_can_hold(self) -> None:
        assert decode(event_id="x" * 5_000).event_id == "x" * TEXT_AT_MOST

    def test_hold_no_nul_and_no_half_characters(self) -> None:
        assert decode(event_id=b"a\0b\xffc").event_id == "a\ufffdb\ufffdc"
        assert decode(b'{"id": "a\\u0000b"}').event_id == "a\ufffdb"


class TestTimes:
    @pytest.mark.parametrize(
        "value",
        [
            AT, "2026-03-01T12:00:00+00:00", "2026-03-01T13:00:00+01:00", "2026-03-01T12:00:00.000Z",
            "2026-03-01T12:00:00", "2026-03-01 12:00:00", AT_MS, str(AT_MS), AT_MS / 1000, f"{AT_MS / 1000}",
            AT_MS * 1000, str(AT_MS * 1000),
        ],
    )  # fmt: skip
    def test_are_read_as_text_or_as_seconds_milliseconds_or_microseconds(self, value: object) -> None:
        assert timestamp_ms(value) == AT_MS

    def test_keep_their_milliseconds(self) -> None:
        assert timestamp_ms("2026-03-01T12:00:00.123456Z") == AT_MS + 123
        assert timestamp_ms(AT_MS / 1000 + 0.123) == AT_MS + 123

    @pytest.mark.parametrize(
        "value",
        [
            None, "", "soon", "nan", "inf", "-inf", "1e400", float("nan"), float("inf"), True, False, 0, -5,
            1e18, 10**30, "9" * 5_000, "2026-13-01", [], {},
        ],
    )  # fmt: skip
    def test_that_are_none_are_not_known(self, value: object) -> None:
        assert timestamp_ms(value) is None

    @pytest.mark.parametrize(
        ("text", "year"),
        [("1900-01-01T00:00:00Z", 1900), ("9999-12-31T23:59:59-14:00", 10_000), ("0001-01-01", 1)],
    )
    def test_far_from_today_are_kept_as_they_are_said(self, text: str, year: int) -> None:
        moment = timestamp_ms(text)
        assert moment is not None
        assert 1970 + round(moment / 31_556_952_000) == year
