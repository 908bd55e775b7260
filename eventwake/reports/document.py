"""A report as plain values: figures, tables and charts, which every format renders in its own way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

Cell = str | int | float | None  # None: not known
FEWEST_BARS = 24  # that a chart has room for


class Figure(NamedTuple):
    """One number at the top of a report."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Values over time, as bars: `labels` and `values` are as many; `unit` is said once."""

    labels: Sequence[str]
    values: Sequence[int]
    unit: str


@dataclass(frozen=True, slots=True)
class Section:
    """One table. `note` says what it cannot know, `empty` stands for no rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    empty: str = "None."
    bars: Bars | None = None


@dataclass(frozen=True, slots=True)
class Report:
    title: str
    period: str
    made: str
    figures: Sequence[Figure]
    sections: Sequence[Section]
    caveats: Sequence[str] = ()
