"""`python -m dashboard`: serves the pages, on 127.0.0.1 unless told otherwise."""

import argparse
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

from eventwake.domain.errors import EventwakeError
from eventwake.settings import CONFIG_VARIABLE, load

STREAMLIT_CONFIG = Path(__file__).resolve().parent.parent / ".streamlit" / "config.toml"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m dashboard", description=__doc__)
    parser.add_argument("--config", help="the settings file (default: eventwake.toml)")
    parser.add_argument("--host", help="the address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="the port to listen on (default: 8501)")
    options = parser.parse_args()
    if options.config:
        os.environ[CONFIG_VARIABLE] = options.config
    try:
        dashboard = load().dashboard
    except EventwakeError as error:
        print(f"dashboard: {error}", file=sys.stderr)  # noqa: T201
        return 2
    from dashboard.app import app  # after the settings: a fault in them shows before a second of imports

    app.run(
        config=_flat(tomllib.loads(STREAMLIT_CONFIG.read_text()))
        | {"server.address": options.host or dashboard.host, "server.port": options.port or dashboard.port}
    )
    return 0


def _flat(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Streamlit looks for its settings beside the working directory; these hold wherever one starts."""
    flat: dict[str, Any] = {}
    for name, value in tables.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


if __name__ == "__main__":
    sys.exit(main())
