"""The frame of every page: where one is, whether the collectors are alive, live refresh, honest outages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import streamlit as st

from dashboard import data
from dashboard.viewmodels import freshness, units
from dashboard.viewmodels.text import literal
from eventwake.clock import now_ms
from eventwake.domain.errors import EventwakeError, SettingsError, StoreUnavailable
from eventwake.settings import Colour
from eventwake.store.reads import sources

F = TypeVar("F", bound=Callable[..., None])

COLOURS = {
    "grey": "#7b8794", "green": "#1a7f4b", "blue": "#1f5fbf", "violet": "#7a4fbf",
    "yellow": "#b38600", "orange": "#c25e00", "red": "#c4314b",
}  # fmt: skip

_CSS = """
<style>
.stApp::before {
  content: ""; position: fixed; inset: 0 0 auto 0; height: 4px; background: %s; z-index: 1000000;
}
.block-container { padding: 4.2rem 1.5rem 2rem; }
[data-testid="stMetric"] { padding: .6rem .8rem; }
/* our own CSV button exports what a spreadsheet cannot take for a formula; the table's does not */
[data-testid="stElementToolbarButton"]:has([aria-label="Download as CSV"]) { display: none; }
.st-key-causes button { justify-content: flex-start; min-height: 1.75rem; padding: 0 .5rem; }
.st-key-causes button div { justify-content: flex-start; text-align: left; }
</style>
"""


def environment_strip() -> None:
    """The environment's name and colour, and the state of the collectors, on every page."""
    try:
        environment = data.settings().environment
    except SettingsError as error:
        st.error(literal(error, 2_000))
        st.stop()
    st.html(_CSS % COLOURS[environment.colour])
    _strip(environment.name, environment.colour)


@st.fragment(run_every=5)
def _strip(name: str, colour: Colour) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(literal(name), color=colour)
        with outages():
            alive, last_ms = data.collectors_alive()
            if alive:
                st.caption(f"collectors reported {units.age(last_ms, now_ms())}")
                _silent_sources()
            elif last_ms is None:
                st.badge("no collector has ever run over this store", color="red", icon=":material/error:")
            else:
                text = f"no collector is alive: the last one reported {units.age(last_ms, now_ms())}"
                st.badge(text, color="red", icon=":material/error:")


def _silent_sources() -> None:
    now = now_ms()
    watched = data.read(sources.all_sources)
    answering = freshness.answering(watched, now)
    for source in watched:
        if source.name not in answering:
            text = f"{source.name} does not answer: last known {units.age(source.checked_ms, now)}"
            st.badge(literal(text, 120), color="red", icon=":material/cloud_off:")


@contextmanager
def outages() -> Iterator[None]:
    """Shows what cannot be read as an outage, never as an empty page."""
    try:
        yield
    except StoreUnavailable as error:
        data.reopen()
        st.error(f"The store cannot be read: {literal(error, 2_000)}", icon=":material/database_off:")
    except EventwakeError as error:
        st.error(literal(error, 2_000), icon=":material/error:")


def title(text: str) -> None:
    """The page's heading, with the switch for live refresh."""
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        st.markdown(f"### {text}", width="content")
        st.toggle(
            "Live",
            value=True,
            key="live",
            bind="query-params",
            help="Refreshes the figures every few seconds",
        )


def live(body: F, every_s: float | None = None) -> F:
    """A part of a page that refreshes by itself while the switch is on."""
    every = (every_s or data.settings().dashboard.refresh_s) if st.session_state.get("live", True) else None

    def shown(*arguments: object, **options: object) -> None:
        with outages():
            body(*arguments, **options)

    shown.__qualname__ = body.__qualname__
    return st.fragment(shown, run_every=every, key=body.__qualname__)  # type: ignore[return-value]
