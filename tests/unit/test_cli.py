"""`python -m eventwake`: the table of sub-commands, and what init makes of a URL."""

import subprocess
import sys
import tomllib

import pytest

from collectors.brokers import kind_of
from collectors.commands.init import Survey, to_toml, without_password
from eventwake.__main__ import COMMANDS
from eventwake.domain.errors import SettingsError
from eventwake.settings import Source


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eventwake", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_without_a_command_it_lists_them() -> None:
    done = run()
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


def test_an_unknown_command_is_said_to_be_unknown() -> None:
    done = run("replay")
    assert done.returncode == 2
    assert "no command 'replay'" in done.stderr


def test_init_says_which_urls_it_knows() -> None:
    done = run("init", "amqp://127.0.0.1")
    assert done.returncode == 1
    assert "redis://" in done.stderr
    assert "Traceback" not in done.stderr


def test_init_says_that_a_server_is_down() -> None:
    done = run("init", "redis://127.0.0.1:1/0", "--output", "/nowhere/eventwake.toml")
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_names_a_fault_in_the_settings_and_what_to_do() -> None:
    done = run("doctor", "--config", "/nowhere/eventwake.toml")
    assert done.returncode == 1
    assert "FAULT" in done.stdout
    assert "does not exist" in done.stdout


@pytest.mark.parametrize(
    ("url", "hidden", "password"),
    [
        ("redis://h:1/0", "redis://h:1/0", None),
        ("redis://u:p%40s@h:1/0", "redis://u:${V}@h:1/0", "p%40s"),
        ("redis://:secret@h", "redis://:${V}@h", "secret"),
        ("redis://u@h", "redis://u@h", None),
        ("redis+sentinel://u:x@a:1,b:2/m/0", "redis+sentinel://u:${V}@a:1,b:2/m/0", "x"),
    ],
)
def test_a_password_leaves_the_url_for_the_environment(url: str, hidden: str, password: str | None) -> None:
    assert without_password(url, "V") == (hidden, password)


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h", "unix:///s", "redis+cluster://h,h", "rediss+sentinel://h/m"]
)
def test_a_url_tells_its_broker(url: str) -> None:
    assert kind_of(url) == "redis_streams"


def test_a_url_of_no_broker_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError) as error:
        kind_of("ftp://user:secret@h")
    assert "secret" not in str(error.value)


def test_what_init_writes_is_read_only_and_survives_hostile_names() -> None:
    source = Source(name="shop", kind="redis_streams")
    found = Survey("Redis 7", {}, {}, whole=True, dead_letters={'a"\n[x]': "entries"}, keys=["order_id"])
    written = tomllib.loads(to_toml(source, 'redis://h"/0', found))
    assert written["source"][0]["writable"] is False
    assert written["source"][0]["url"] == 'redis://h"/0'
    assert written["source"][0]["dead_letter_streams"] == {'a"\n[x]': ""}
    assert written["source"][0]["business_keys"] == ["order_id"]
