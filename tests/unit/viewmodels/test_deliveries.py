"""What a group did with an event, as far as its samples tell."""

from typing import Any

from dashboard.viewmodels.deliveries import deliveries
from eventwake.domain.trace import Delivery, DeliveryState, Window
from eventwake.store.reads.events import EventRow
from eventwake.store.reads.groups import GroupRow, PendingRow, SampleRow

EVENT = EventRow(
    "1-1", 1, "shop", "orders", "1000-0", 1_000, None, "OrderPlaced", "e-1", None, "order-service", "c-1",
    None, "correlation id", 0, 10,
)  # fmt: skip
SAMPLED = 9_000


def group(position: str | None, **more: Any) -> GroupRow:
    values: dict[str, Any] = {
        **dict.fromkeys(GroupRow._fields), "id": 7, "stream_id": 1, "name": "mailer", "position": position,
        "pending": 0, "sampled_ms": SAMPLED,
    }  # fmt: skip
    return GroupRow(**{**values, **more})


def sample(at_ms: int, position: str | None, pending: int | None = 0, oldest: str | None = None) -> SampleRow:
    return SampleRow(at_ms, position, None, None, "known", 0, 0, pending, oldest)


def held(position: str = "1000-0", deliveries: int = 3) -> dict[str, PendingRow]:
    return {position: PendingRow(position, "mailer-1", 500, deliveries, 8_500)}


def seen(
    of: GroupRow, samples: list[SampleRow] | None = None, pending: dict[str, PendingRow] | None = None
) -> Delivery:
    [delivery] = deliveries([EVENT], [of], {7: samples or []}, {7: pending or {}})["1-1"]
    return delivery


def test_a_group_that_is_not_there_yet_waits_at_least_until_it_was_looked_at() -> None:
    delivery = seen(group("999-0"))
    assert (delivery.state, delivery.delivered) == (DeliveryState.WAITING, Window(low_ms=SAMPLED))


def test_a_group_without_a_readable_position_is_unknown() -> None:
    for position in (None, "", "not a position"):
        assert seen(group(position)) == Delivery("mailer", DeliveryState.UNKNOWN)


def test_two_samples_bound_when_it_was_given_and_the_next_one_when_it_was_done() -> None:
    samples = [sample(900, "500-0"), sample(2_000, "1000-0", 1, "1000-0"), sample(3_000, "1500-0")]
    delivery = seen(group("2000-0"), samples)
    assert delivery.state is DeliveryState.PASSED
    assert delivery.delivered == Window(900, 2_000)
    assert delivery.done == Window(high_ms=3_000)


def test_what_was_passed_before_the_first_sample_is_bounded_on_one_side_only() -> None:
    assert seen(group("2000-0"), [sample(4_000, "1500-0")]).delivered == Window(high_ms=4_000)


def test_what_was_passed_after_the_last_sample_was_so_when_the_group_was_looked_at() -> None:
    assert seen(group("1000-0"), [sample(4_000, "900-0")]).delivered == Window(4_000, SAMPLED)


def test_an_entry_that_is_held_is_pending_with_its_consumer_and_deliveries() -> None:
    delivery = seen(group("2000-0", pending=1, oldest_pending="1000-0"), [], held())
    assert delivery.state is DeliveryState.PENDING
    assert (delivery.consumer, delivery.deliveries) == ("mailer-1", 3)
    assert delivery.done == Window(low_ms=8_500)


def test_what_may_be_among_pending_entries_that_were_not_looked_at_is_unknown() -> None:
    many = group("2000-0", pending=500, oldest_pending="900-0")
    assert seen(many, [], held("900-0")).state is DeliveryState.UNKNOWN
    unknown = group("2000-0", pending=None)
    assert seen(unknown).state is DeliveryState.UNKNOWN


def test_what_is_older_than_all_that_is_pending_was_handled() -> None:
    many = group("2000-0", pending=500, oldest_pending="1001-0")
    assert seen(many, [], held("1001-0")).state is DeliveryState.PASSED


def test_groups_of_other_streams_have_nothing_to_do_with_it() -> None:
    other = group("2000-0", stream_id=2)
    assert deliveries([EVENT], [other], {}, {}) == {"1-1": []}
