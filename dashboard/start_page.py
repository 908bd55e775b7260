"""Streamlit's start page, with the one thing added that it would otherwise find out by failing requests.

Opened at /lag, its script first asks for /lag/_stcore/health, then for /_stcore/health, and only then knows
where the server is; a page that has been told asks once.
"""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse

_TELLS_BASE = "<script>window.__streamlit = {BACKEND_BASE_URL: window.location.origin}</script>"
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def _html() -> str:
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    return page.replace("<head>", f"<head>{_TELLS_BASE}", 1).replace(
        "<title>Streamlit<", "<title>Eventwake<", 1
    )


HTML = _html()
INLINE_SCRIPTS = [
    f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in _INLINE.findall(HTML)
]


async def start_page(_request: Request) -> HTMLResponse:
    return HTMLResponse(HTML, headers={"cache-control": "no-cache"})
