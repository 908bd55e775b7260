"""The ASGI app: the pages, a health route, and one gate in front of both HTTP and the websocket."""

import sys
from pathlib import Path

# `streamlit run dashboard/app.py` puts this file's folder on the path, not the root
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gc

import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dashboard.gate import Gate
from dashboard.page_list import PATHS
from dashboard.start_page import start_page


async def healthz(_request: Request) -> JSONResponse:
    """Whether this process answers; what it knows of the brokers is the collectors' to say."""
    return JSONResponse({"status": "ok"})


app = st.App(
    Path(__file__).parent / "main.py",
    routes=[Route("/healthz", healthz), *(Route(path, start_page) for path in PATHS)],
    middleware=[Middleware(Gate)],
)

# Streamlit collects garbage after every rerun; what the imports made lives for ever and need not be looked at
gc.collect()
gc.freeze()
