"""Tables: one look, one way to select, one way to export."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pandas as pd
import streamlit as st

from eventwake.reports.csv_export import to_csv

ROW_PX = 32
HEAD_PX = 36
SHOWN_ROWS = 12  # a longer table scrolls in itself

Columns = Mapping[str, Any]  # attribute of the rows -> heading, or a column configuration with one


def show(
    rows: Sequence[Any],
    columns: Columns,
    *,
    key: str,
    empty: str,
    select: Literal["single-row", "multi-row"] | None = None,
    chosen: Sequence[int] = (),
    export: bool = True,
    shown_rows: int = SHOWN_ROWS,
) -> list[int]:
    """Shows rows and returns the places of the selected ones.

    `key` must change with what the rows are wherever a selection may be made, so that a selection never
    lands on another row. `empty` is said where there are no rows.
    """
    if not rows:
        st.caption(empty)
        return []
    frame = pd.DataFrame([[getattr(row, name) for name in columns] for row in rows], columns=list(columns))
    options: dict[str, Any] = {}
    if select:
        options = {
            "on_select": "rerun",
            "selection_mode": select,
            "selection_default": {"selection": {"rows": list(chosen)}},
        }
    event = st.dataframe(
        frame,
        key=key,
        hide_index=True,
        width="stretch",
        row_height=ROW_PX,
        height=HEAD_PX + ROW_PX * min(len(rows), shown_rows) + 2,
        column_config=dict(columns),
        **options,
    )
    if export:
        st.download_button(
            "CSV",
            data=lambda: to_csv(rows, {name: _heading(name, column) for name, column in columns.items()}),
            file_name=f"eventwake-{key.partition('.')[0]}.csv",
            mime="text/csv",
            icon=":material/download:",
            type="tertiary",
            key=f"{key}.csv",
            on_click="ignore",
        )
    return list(event["selection"]["rows"]) if select else []


def _heading(name: str, column: Any) -> str:
    return column if isinstance(column, str) else (column or {}).get("label") or name
