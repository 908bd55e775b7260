"""A report as one HTML file: nothing is fetched from anywhere, it prints well, light and dark."""

from collections.abc import Iterator
from html import escape

from eventwake.reports.document import FEWEST_BARS, Bars, Cell, Figure, Report, Section

_CSS = """
:root { color-scheme: light dark; --line: #d8dee6; --faint: #5c6773; --bar: #3d7be0; }
@media (prefers-color-scheme: dark) {
  :root { --line: #303945; --faint: #9aa6b2; }
  body { background: #11161d; color: #e8edf2; }
}
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1080px; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.faint { color: var(--faint); }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
.figure { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .9rem; min-width: 9rem; }
.figure b { display: block; font-size: 1.4rem; }
table { border-collapse: collapse; width: 100%; font-size: 13px; }
th, td { text-align: left; padding: .25rem .5rem; border-bottom: 1px solid var(--line); }
td { vertical-align: top; overflow-wrap: break-word; max-width: 32rem; }
th { white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: 120px; }
rect { fill: var(--bar); }
@media print {
  body { margin: 0; max-width: none; font-size: 11px; }
  h2 { break-after: avoid; }
  tr { break-inside: avoid; }
}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
BAR_GAP = 0.15  # of a bar's width


def to_html(report: Report) -> bytes:
    """The whole report; every text is escaped."""
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f"<title>{escape(report.title)}, {escape(report.period)}</title><style>{_CSS}</style></head><body>",
        f"<h1>{escape(report.title)}</h1><div>{escape(report.period)}</div>",
        f"<div class='faint'>{escape(report.made)}</div>",
        f"<div class='figures'>{''.join(map(_figure, report.figures))}</div>",
        *(f"<p class='faint'>{escape(caveat)}</p>" for caveat in report.caveats),
        *(part for section in report.sections for part in _section(section)),
        "</body></html>",
    ]
    return "\n".join(parts).encode("utf-8", "replace")


def _figure(figure: Figure) -> str:
    note = f"<span class='faint'>{escape(figure.note)}</span>" if figure.note else ""
    return (
        f"<div class='figure'><span class='faint'>{escape(figure.label)}</span>"
        f"<b>{escape(figure.value)}</b>{note}</div>"
    )


def _section(section: Section) -> Iterator[str]:
    yield f"<h2>{escape(section.title)}</h2>"
    if section.note:
        yield f"<p class='faint'>{escape(section.note)}</p>"
    if section.bars and any(section.bars.values):
        yield _bars(section.bars)
    if not section.rows:
        if section.empty:
            yield f"<p>{escape(section.empty)}</p>"
        return
    heads = "".join(f"<th>{escape(name)}</th>" for name in section.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in section.rows)
    yield f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(value: Cell) -> str:
    if value is None:
        return "<td class='faint'>unknown</td>"
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f"<td class='number'>{value:,}</td>"


def _bars(bars: Bars) -> str:
    """Bars in a picture of 1,000 by 100, with each value in its title."""
    most = max(bars.values)
    width = 1000 / max(len(bars.values), FEWEST_BARS)
    drawn = "".join(
        f"<rect x='{i * width:.2f}' y='{100 - 100 * value / most:.2f}' width='{width * (1 - BAR_GAP):.2f}' "
        f"height='{100 * value / most:.2f}'><title>"
        f"{escape(label)}: {value:,} {escape(bars.unit)}</title></rect>"
        for i, (label, value) in enumerate(zip(bars.labels, bars.values, strict=True))
    )
    span = f"{escape(bars.labels[0])} to {escape(bars.labels[-1])}, at most {most:,} {escape(bars.unit)}"
    return (
        f"<svg viewBox='0 0 1000 100' preserveAspectRatio='none' role='img' aria-label='{span}'>{drawn}</svg>"
        f"<div class='faint'>{span}</div>"
    )
