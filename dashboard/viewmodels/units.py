"""Numbers as people read them: every one with its unit, an unknown one as such."""

from datetime import UTC, datetime, tzinfo

UNKNOWN = "unknown"
_LAG_SIGNS = {"known": "", "at most": "≤ ", "at least": "≥ ", "about": "≈ ", "unknown": ""}


def count(number: int | None, *, at_most: int | None = None) -> str:
    """1234 -> "1,234"; one more than `at_most` reads "10,000+"."""
    if number is None:
        return UNKNOWN
    return f"{at_most:,}+" if at_most is not None and number > at_most else f"{number:,}"


def duration(ms: float | None) -> str:
    """340 -> "340 ms", 2400 -> "2.4 s", 200000 -> "3 min 20 s"."""
    if ms is None:
        return UNKNOWN
    if ms < 1_000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    seconds = round(ms / 1000)
    for size, unit, smaller, small_unit in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {unit} {rest} {small_unit}" if rest else f"{seconds // size} {unit}"
    return f"{seconds} s"


def age(at_ms: int | None, now_ms: int) -> str:
    """How long ago, in one unit: "4 s ago", "3 min ago"."""
    if at_ms is None:
        return "never"
    seconds = max(0, now_ms - at_ms) // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def rate(per_s: float | None) -> str:
    """12.34 -> "12.3/s"; slow ones by the minute or hour, so that 0 always means none at all."""
    if per_s is None:
        return UNKNOWN
    if per_s == 0:
        return "0/s"
    if per_s >= 100:
        return f"{per_s:,.0f}/s"
    if per_s >= 0.1:
        return f"{per_s:.1f}/s"
    if per_s * 60 >= 0.1:
        return f"{per_s * 60:.1f}/min"
    return f"{per_s * 3600:.1f}/h" if per_s * 3600 >= 0.1 else "< 0.1/h"


def size(number: int | None) -> str:
    """Bytes: 2048 -> "2.0 KiB"."""
    if number is None:
        return UNKNOWN
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError("unreachable")


def share(part: int, whole: int) -> str:
    """3 of 750 -> "0.4 %"."""
    if not whole:
        return UNKNOWN
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.1 or not part else "< 0.1 %"


def lag(kind: str, value: int | None) -> str:
    """A lag with its bound: "1,234", "≥ 100", "unknown"."""
    return UNKNOWN if value is None else f"{_LAG_SIGNS[kind]}{value:,}"


def time_lag(kind: str, value_ms: int | None) -> str:
    """A time lag with its bound: "≈ 4.2 s"."""
    return UNKNOWN if value_ms is None else f"{_LAG_SIGNS[kind]}{duration(value_ms)}"


def moment(ms: int | None, zone: tzinfo = UTC) -> datetime | None:
    """A time for a table's column; None where the year does not fit a calendar."""
    if ms is None:
        return None
    try:
        return datetime.fromtimestamp(ms / 1000, zone)
    except (OverflowError, ValueError, OSError):
        return None


def clock(ms: int | None, zone: tzinfo = UTC, *, millis: bool = False) -> str:
    """2026-11-24 14:05:03 in the reader's zone."""
    at = moment(ms, zone)
    if at is None:
        return UNKNOWN if ms is None else f"{ms} ms since 1970"
    return at.strftime("%Y-%m-%d %H:%M:%S") + (f".{at.microsecond // 1000:03d}" if millis else "")
