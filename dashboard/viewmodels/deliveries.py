"""What each group did with each event of a trace, out of the samples that were taken of the group."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from eventwake.domain.positions import has_passed
from eventwake.domain.trace import Delivery, DeliveryState, Window
from eventwake.store.reads.events import EventRow
from eventwake.store.reads.groups import GroupRow, PendingRow, SampleRow


def deliveries(
    events: Sequence[EventRow],
    groups: Sequence[GroupRow],
    samples: Mapping[int, Sequence[SampleRow]],
    pending: Mapping[int, Mapping[str, PendingRow]],
) -> dict[str, list[Delivery]]:
    """By the event's `ref`, one for each group of its stream, by name."""
    of_stream: dict[int, list[GroupRow]] = {}
    for group in sorted(groups, key=lambda g: g.name):
        of_stream.setdefault(group.stream_id, []).append(group)
    return {
        event.ref: [
            _delivery(event, group, samples.get(group.id, ()), pending.get(group.id, {}))
            for group in of_stream.get(event.stream_id, ())
        ]
        for event in events
    }


def _delivery(
    event: EventRow, group: GroupRow, samples: Sequence[SampleRow], pending: Mapping[str, PendingRow]
) -> Delivery:
    passed = has_passed(group.position, event.position)
    if passed is None:
        return Delivery(group.name, DeliveryState.UNKNOWN)
    if not passed:
        return Delivery(group.name, DeliveryState.WAITING, Window(low_ms=group.sampled_ms))
    delivered = _delivered(event.position, group, samples)
    if (entry := pending.get(event.position)) is not None:
        still = Window(low_ms=entry.sampled_ms)
        return Delivery(
            group.name, DeliveryState.PENDING, delivered, still, entry.deliveries, entry.consumer
        )  # fmt: skip
    return Delivery(
        group.name, _handled(event.position, group, pending), delivered, _done(event, group, samples)
    )


def _handled(position: str, group: GroupRow, pending: Mapping[str, PendingRow]) -> DeliveryState:
    """Given to the group and not among the pending entries that were looked at."""
    all_seen = group.pending is not None and group.pending <= len(pending)
    if all_seen or _behind_all(position, group.oldest_pending):
        return DeliveryState.PASSED
    return DeliveryState.UNKNOWN


def _delivered(position: str, group: GroupRow, samples: Sequence[SampleRow]) -> Window:
    """Between the last sample in which the group had yet to reach it and the first in which it had."""
    for before, after in pairwise(samples):
        if has_passed(before.position, position) is False and has_passed(after.position, position):
            return Window(before.at_ms, after.at_ms)
    if samples and has_passed(samples[0].position, position):
        return Window(high_ms=samples[0].at_ms)
    if samples and has_passed(samples[-1].position, position) is False:
        return Window(samples[-1].at_ms, group.sampled_ms)
    return Window(high_ms=group.sampled_ms)


def _done(event: EventRow, group: GroupRow, samples: Sequence[SampleRow]) -> Window:
    """Before the first sample in which the group had been given it and held nothing as old as it."""
    for sample in samples:
        if has_passed(sample.position, event.position) and (
            sample.pending == 0 or _behind_all(event.position, sample.oldest_pending)
        ):
            return Window(high_ms=sample.at_ms)
    if group.pending == 0 or _behind_all(event.position, group.oldest_pending):
        return Window(high_ms=group.sampled_ms)
    return Window()


def _behind_all(position: str, oldest_pending: str | None) -> bool:
    """Whether the oldest pending entry is newer than this one."""
    return oldest_pending is not None and has_passed(position, oldest_pending) is False
