"""How a benchmark says what it found: one line a bar, and exit code 1 when one fails."""

from collections.abc import Sequence
from typing import NamedTuple


class Bar(NamedTuple):
    """A ratio and its limit; `at_most` tells on which side of it is well."""

    name: str  # NAME/CASE
    ratio: float
    limit: float
    at_most: bool = False

    @property
    def passed(self) -> bool:
        return self.ratio <= self.limit if self.at_most else self.ratio >= self.limit


def report(bars: Sequence[Bar]) -> int:
    """Prints every bar; the exit code."""
    for bar in bars:
        verdict = "pass" if bar.passed else "fail"
        print(f"{bar.name} ratio={bar.ratio:.2f} bar={bar.limit:g} {verdict}", flush=True)
    return 0 if all(bar.passed for bar in bars) else 1
