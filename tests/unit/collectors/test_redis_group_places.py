"""How far a group of Redis Streams has come is said exactly or not at all."""

import pytest

from collectors.brokers.base import StreamSeen
from collectors.brokers.redis_streams.groups import _committed
from collectors.brokers.redis_streams.reading import StreamHead
from eventwake.domain.lag import Lag


def head(added: int | None) -> StreamHead:
    return StreamHead(StreamSeen("orders", 150, added, "1-0", "200-0"), (1, 0), (200, 0), (0, 0), 1)


@pytest.mark.parametrize(
    ("lag", "added", "committed"),
    [
        (Lag.known(30), 200, 170),
        (Lag.known(0), 200, 200),
        (Lag.at_most(149), 200, None),
        (Lag.at_least(100), 200, None),
        (Lag.unknown("the server lost count"), 200, None),
        (Lag.known(30), None, None),
    ],
)
def test_a_place_is_reckoned_from_an_exact_lag_only(
    lag: Lag, added: int | None, committed: int | None
) -> None:
    """From an upper bound it would fall behind where the bound widens: the group would seem to go back."""
    assert _committed(head(added), lag) == committed
