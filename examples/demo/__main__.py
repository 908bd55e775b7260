"""The command line: python -m examples.demo"""

import argparse
import signal
import sys
import threading
from pathlib import Path


def main() -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: stop.set())
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description="Runs a server, the order system, the collectors and the dashboard until Ctrl-C.",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="keep the data there (default: in a temporary directory)"
    )
    parser.add_argument(
        "--port", type=int, default=8501, help="of the dashboard; another is taken where it is in use"
    )
    options = parser.parse_args()
    from examples.demo.launcher import run  # after the signals: Ctrl-C during a slow import is no traceback

    return run(options.data, options.port, stop)


if __name__ == "__main__":
    sys.exit(main())
