"""Stores for the tests: SQLite in a file, and PostgreSQL on a server of their own."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from examples.redis_server import free_port
from tests import servers

START_WITHIN_S = 60
USER = "postgres"  # who runs the server where the tests are root, which PostgreSQL refuses to be
QUICK = "-c fsync=off -c full_page_writes=off -c max_connections=60 -c deadlock_timeout=200ms"


class PostgresServer:
    """A private server with its data in a folder of its own."""

    def __init__(self) -> None:
        self._programs = servers.postgres()
        self._directory = Path(tempfile.mkdtemp(prefix="eventwake-postgres-"))
        self._data = self._directory / "data"
        self._numbers = count(1)
        self._as: dict[str, Any] = {"cwd": self._directory}
        if os.geteuid() == 0:
            account = pwd.getpwnam(USER)
            os.chown(self._directory, account.pw_uid, account.pw_gid)
            self._as |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self.port = free_port()
        self._run("initdb", "-U", USER, "-A", "trust", "--no-sync", "--locale=C.UTF-8", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        where = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._directory}"
        log = str(self._directory / "log")
        self._run("pg_ctl", "-w", "-t", str(START_WITHIN_S), "-l", log, "-o", f"{where} {QUICK}", "start")

    def stop(self, mode: str = "immediate") -> None:
        """ "immediate" is a crash; "fast" ends the connections in order."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def restart(self) -> None:
        self.stop()
        self.start()

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"eventwake_{next(self._numbers)}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        name = url.rpartition("/")[2]
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _conninfo(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user={USER} dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, "-D", self._data, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would be kept open by the server that pg_ctl starts
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=START_WITHIN_S + 10,
            **self._as,
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}"


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    try:
        yield server
    finally:
        server.end()
