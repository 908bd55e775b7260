"""Navigation, and the frame that every page stands in."""

from pathlib import Path

import streamlit as st

from dashboard.components import frame
from dashboard.page_list import FIRST, PAGES

st.set_page_config(page_icon=Path(__file__).parent / "icon.png", layout="wide")
page = st.navigation(
    [
        st.Page(f"app_pages/{entry.name}.py", title=entry.title, icon=entry.icon, default=entry.name == FIRST)
        for entry in PAGES
    ],
    position="top",
)
st.set_page_config(page_title=f"{page.title} · Eventwake")
frame.environment_strip()
page.run()
