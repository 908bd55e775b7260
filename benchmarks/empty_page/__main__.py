"""`python -m benchmarks.empty_page PORT`"""

import gc
import sys
import tomllib
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route

from dashboard.__main__ import STREAMLIT_CONFIG
from dashboard.gate import Gate
from dashboard.start_page import start_page


def main() -> None:
    app = st.App(
        Path(__file__).with_name("page.py"), routes=[Route("/", start_page)], middleware=[Middleware(Gate)]
    )
    gc.collect()
    gc.freeze()
    settings = tomllib.loads(STREAMLIT_CONFIG.read_text())["server"]
    more = {"address": "127.0.0.1", "port": int(sys.argv[1])}
    app.run(config={f"server.{name}": value for name, value in (settings | more).items()})


if __name__ == "__main__":
    main()
