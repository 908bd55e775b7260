"""The demo's directory: its data, its logs, its settings file; temporary unless the visitor names one."""

import fcntl
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import IO

TEMPLATE = Path(__file__).with_name("eventwake.toml")
MARK = ".eventwake-demo"  # the file that makes a directory ours; locked while a demo runs on it


class Unusable(RuntimeError):
    """The directory cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """`lock` is held as long as a process has it open."""

    directory: Path
    kept: bool
    lock: IO[str]

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def valkey(self) -> Path:
        return self.directory / "valkey"

    @property
    def settings(self) -> Path:
        return self.directory / "eventwake.toml"

    @property
    def store_url(self) -> str:
        return f"sqlite:///{self.directory / 'eventwake.db'}"

    def write_settings(self, valkey_url: str, port: int) -> None:
        values = {"store_url": json.dumps(self.store_url), "valkey_url": json.dumps(valkey_url), "port": port}
        self.settings.write_text(Template(TEMPLATE.read_text()).substitute(values))


def open_workspace(data: Path | None) -> Workspace:
    """In `data`, which is kept, or in a new temporary directory. Raises `Unusable`."""
    try:
        directory = _prepared(data.expanduser().resolve()) if data else Path(_temporary())
        workspace = Workspace(directory, data is not None, (directory / MARK).open("w"))
        workspace.logs.mkdir(exist_ok=True)
        workspace.valkey.mkdir(exist_ok=True)
    except OSError as error:
        raise Unusable(f"cannot write to {error.filename}: {error.strerror}") from error
    try:
        fcntl.flock(workspace.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise Unusable(f"another demo runs on {directory}: stop it, or name another directory") from error
    return workspace


def _temporary() -> str:
    return tempfile.mkdtemp(prefix="eventwake-demo-")


def _prepared(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()) and not (directory / MARK).exists():
        raise Unusable(
            f"{directory} holds files that are not the demo's: name an empty directory, or a former demo's"
        )
    return directory
