"""The wall clock. The domain takes times as arguments; programs ask here."""

import time


def now_ms() -> int:
    """Milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000
