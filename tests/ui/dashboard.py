"""A browser's tab on the dashboard, without a browser: what it shows, and what is clicked in it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block, Element

from dashboard import data

MAIN = Path(__file__).resolve().parents[2] / "dashboard" / "main.py"
RUNS_WITHIN_S = 60  # generous: the machine may be busy with other things
# Left to itself, each tab looks for components through every installed package, which takes most of its time
COMPONENTS = BidiComponentManager()
LITERAL = ("dataframe", "text", "code", "json", "plotly_chart", "bidi_component", "html", "exception")
NOT_SHOWN = (
    "id", "form_id", "page", "page_script_hash", "query_string", "query_param_key", "url", "deferred_file_id"
)  # fmt: skip
SHOWN_LITERALLY = ("value", "raw_value", "raw_values", "default", "options")  # of input fields


class Tab:
    """One page, opened by its link; a cache of the program never hides what the store says by now."""

    def __init__(self, page: str, **link: str) -> None:
        self.app = AppTest.from_file(str(MAIN), default_timeout=RUNS_WITHIN_S)
        self.app._bidi_component_manager = COMPONENTS
        self.app.switch_page(f"app_pages/{page}.py")
        self.app.query_params.update(link)
        self.run()

    def run(self) -> "Tab":
        data._read.clear()  # as if its second were over
        self.app.run()
        assert not self.app.exception, self.app.exception
        return self

    def click(self, key: str) -> "Tab":
        button = self.app.button(key=key)
        assert not button.proto.disabled, f"{key} is greyed out"
        button.click()
        return self.run()

    def fill(self, key: str, text: str) -> "Tab":
        self.app.text_input(key=key).set_value(text)
        return self.run()

    def choose(self, key: str, option: str) -> "Tab":
        self.app.selectbox(key=key).set_value(option)
        return self.run()

    def select(self, *rows: int) -> "Tab":
        """Ticks rows of the first table that takes a selection."""
        key = next(f.key for f in self.app.dataframe if f.proto.selection_mode)
        self.app.session_state[key] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
        return self.run()

    def has(self, key: str) -> bool:
        return any(button.key == key for button in self.app.button)

    @property
    def link(self) -> dict[str, Any]:
        return dict(self.app.query_params)

    def errors(self) -> list[str]:
        return [plain(error.value) for error in self.app.error]

    def warnings(self) -> list[str]:
        return [plain(warning.value) for warning in self.app.warning]

    def figure(self, label: str) -> str:
        """The value of one figure of the page."""
        return next(plain(metric.value) for metric in self.app.metric if metric.label == label)

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        """Those columns of the first table that has all of them."""
        for frame in self.app.dataframe:
            if set(columns) <= set(frame.value.columns):
                return list(frame.value[list(columns)].itertuples(index=False, name=None))
        raise AssertionError(f"no table has the columns {columns}")

    def said(self) -> str:
        """All words on the page, as a person reads them; what tables hold is not among them."""
        return "\n".join(plain(text) for _, text in self.markdown_slots())

    def markdown_slots(self) -> Iterator[tuple[str, str]]:
        """Every text that the browser takes for markdown: (where, text)."""
        for node in self.nodes():
            if node.type not in LITERAL:
                yield from _texts(node.proto, node.type)

    def component(self, name: str) -> str:
        """What one of our own components was given, as JSON."""
        for node in self.nodes():
            if node.type == "bidi_component" and name in node.proto.component_name:
                return str(node.proto.json or node.proto.mixed.json)
        raise AssertionError(f"no component {name}")

    def nodes(self) -> Iterator[Element | Block]:
        for root in self.app._tree.children.values():  # also what lies in a dialog
            yield from (node for node in root if node.proto is not None)


def _texts(message: Message, where: str) -> Iterator[tuple[str, str]]:
    for field, value in message.ListFields():
        if field.name in NOT_SHOWN:
            continue
        many = value if field.is_repeated else [value]
        if field.message_type is not None:
            for part in many:
                yield from _texts(part, f"{where}.{field.name}")
        elif field.type == field.TYPE_STRING and field.name not in SHOWN_LITERALLY:
            yield from ((f"{where}.{field.name}", text) for text in many)


def plain(markdown: str) -> str:
    """What a person reads of a text that was escaped."""
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", markdown).replace("\u2060", "")
