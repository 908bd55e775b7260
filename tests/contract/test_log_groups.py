"""What every broker of the log profile says of its groups: lag, what is pending, who has seen what."""

import random

import pytest

from collectors.brokers.base import Broker
from eventwake.domain.lag import Lag, LagKind
from eventwake.domain.positions import has_passed
from tests.contract.rigs.base import STREAM, LogRig, publish

pytestmark = pytest.mark.server


class TestGroups:
    def test_lag_is_published_less_consumed(self, rig: LogRig) -> None:
        chance, ahead = random.Random(7), 0
        rig.make_group(STREAM, "mailer")
        with rig.broker() as broker:
            for _ in range(25):
                ahead += len(publish(rig, chance.randint(0, 5)))
                ahead -= len(rig.consume(STREAM, "mailer", chance.randint(1, 5)))
                assert lag_of(broker) == Lag.known(ahead)

    def test_lag_counts_what_can_still_be_read_of_a_trimmed_stream(self, rig: LogRig) -> None:
        rig.make_group(STREAM, "mailer")
        publish(rig, 100)
        rig.consume(STREAM, "mailer", 30)
        rig.trim(STREAM, 20)
        with rig.broker() as broker:
            broker.look([STREAM])
            [group] = broker.groups([STREAM])
        assert group.lag == Lag.known(20)
        assert group.skipped == (50 if rig.counts_events else None)

    @pytest.mark.parametrize("seed", range(8))
    def test_lag_is_right_or_a_bound_or_unknown_whatever_happens_to_the_stream(
        self, rig: LogRig, seed: int
    ) -> None:
        chance = random.Random(seed)
        published = publish(rig, 60)
        rig.make_group(STREAM, "mailer", chance.choice([None, published[20]]))
        with rig.broker() as broker:
            for _ in range(60):
                there = [*rig.entries(STREAM)]
                act = chance.choice(["publish", "consume", "trim", "remove"])
                if act == "remove" and not rig.removes:
                    continue
                if act == "publish":
                    publish(rig, chance.choice([2, 9, 150]))
                elif act == "consume":
                    rig.consume(STREAM, "mailer", chance.choice([1, 10, 40]))
                elif act == "trim":
                    rig.trim(STREAM, max(1, len(there) - chance.randint(0, 30)))
                elif there:
                    rig.remove(STREAM, chance.sample(there, min(len(there), 2)))
                broker.look([STREAM])
                [group] = broker.groups([STREAM])
                ahead = sum(not has_passed(group.position, position) for position in rig.entries(STREAM))
                assert holds(group.lag, ahead), f"{group.lag} where {ahead} are ahead"
                assert group.time_lag.value is None or (group.time_lag.value == 0 or ahead)

    def test_what_is_pending_is_told_with_its_deliveries_and_is_no_lag(self, holding: LogRig) -> None:
        rig = holding
        rig.make_group(STREAM, "mailer")
        publish(rig, 5)
        held = rig.consume(STREAM, "mailer", 3, ack=False)
        with rig.broker() as broker:
            broker.look([STREAM])
            [group] = broker.groups([STREAM])
        assert (group.lag, group.pending, group.oldest_pending) == (Lag.known(2), 3, held[0])
        assert [(entry.position, entry.deliveries) for entry in group.entries] == [(p, 1) for p in held]
        assert group.entries_complete
        [member] = group.consumers
        assert (member.name, member.pending) == ("c-1", 3)

    def test_each_group_has_passed_an_event_or_holds_it_or_has_yet_to_see_it(self, rig: LogRig) -> None:
        for group in ("passed", "holds", "waits"):
            rig.make_group(STREAM, group)
        [position] = publish(rig, 1)
        rig.consume(STREAM, "passed", 1)
        rig.consume(STREAM, "holds", 1, ack=False)
        with rig.broker() as broker:
            views = broker.views(STREAM, ["passed", "holds", "waits", "no-such-group"], [position])
        held = "pending" if rig.holds else "waiting"
        assert dict(views[position]) == {"passed": "consumed", "holds": held, "waits": "waiting"}


def lag_of(broker: Broker) -> Lag:
    broker.look([STREAM])
    [group] = broker.groups([STREAM])
    return group.lag


def holds(lag: Lag, ahead: int) -> bool:
    """Whether a lag is true where so many events are ahead."""
    value = lag.value if lag.value is not None else -1
    return {
        LagKind.KNOWN: value == ahead,
        LagKind.AT_LEAST: value <= ahead,
        LagKind.AT_MOST: value >= ahead,
        LagKind.APPROXIMATE: False,  # this broker has no such thing
        LagKind.UNKNOWN: bool(lag.reason),
    }[lag.kind]
