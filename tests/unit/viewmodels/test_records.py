"""A record as it is shown and copied: the copies give back the very bytes that lay in the broker."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from dashboard.viewmodels import records
from dashboard.viewmodels.records import SHOWN_BYTES, FieldView
from eventwake.domain.envelope import Record
from examples.redis_server import free_port, start_server
from tests import servers

MASKED = "•••"
AWKWARD = [
    b"plain",
    b"",
    b"it's 'quoted' \"twice\"",
    b"$(touch evil) `touch evil` $HOME ; & | > evil \\ ! # * ?",
    '{"name": "Zoë", "snow": "☃"}'.encode(),
    b'{\n  "over": "several",\r\n\t"lines": true\n}',
    b"END\nFLUSHALL\nEND",
    b"\x00\x01\xfe\xff NUL and not UTF-8",
    b"-h evil.example",
    bytes(range(256)),
]


def record(*fields: bytes, **more: Any) -> Record:
    return Record("1795522883279-0", 1_795_522_883_279, list(fields), **more)


class TestFields:
    def test_json_is_opened_and_other_text_is_shown_as_it_is(self) -> None:
        data, note, number = records.field_views(
            record(b"data", b'{"a": [1]}', b"note", b"{no", b"n", b"7"), []
        )
        assert data == FieldView("data", '{"a": [1]}', {"a": [1]}, 10, False)
        assert (note.text, note.parsed) == ("{no", None)
        assert (number.text, number.parsed) == ("7", None)

    def test_what_is_no_text_has_its_size_only(self) -> None:
        [view] = records.field_views(record(b"blob", b"\xff\xfe\x00"), [])
        assert (view.text, view.parsed, view.size) == (None, None, 3)

    def test_a_name_that_is_no_text_is_shown_by_its_bytes(self) -> None:
        [view] = records.field_views(record(b"\xff", b"x"), [])
        assert view.name == "\\xff"

    def test_a_long_value_is_cut_and_not_opened(self) -> None:
        whole = b"[" + b"1," * SHOWN_BYTES + b"1]"
        [view] = records.field_views(record(b"data", whole), [])
        assert (len(view.text or ""), view.parsed, view.size, view.cut) == (
            SHOWN_BYTES,
            None,
            len(whole),
            True,
        )

    def test_a_payload_beside_the_fields_is_shown_with_them(self) -> None:
        views = records.field_views(record(b"header", b"x", value=b'{"a": 1}'), [])
        assert [(view.name, view.parsed) for view in views] == [("header", None), ("(value)", {"a": 1})]


class TestMasking:
    @pytest.mark.parametrize(
        "copy",
        [
            lambda kept, mask: str(records.field_views(kept, mask)),
            lambda kept, mask: records.as_json(kept, mask, stream="orders"),
            lambda kept, mask: records.as_redis_command(kept, mask, "orders"),
            lambda kept, mask: records.as_pytest_fixture(kept, mask, "OrderPlaced", "said"),
        ],
    )
    def test_a_masked_value_is_in_no_view_and_no_copy(self, copy: Callable[[Record, list[str]], str]) -> None:
        kept = record(b"data", b'{"card": "4111", "total": 7}')
        assert "4111" in copy(kept, [])
        assert "4111" not in copy(kept, ["data.card"])
        assert "total" in copy(kept, ["data.card"])


class TestJson:
    def test_text_stays_text_and_other_bytes_are_base64(self) -> None:
        copied = json.loads(
            records.as_json(record(b"name", "Zoë".encode(), b"blob", b"\xff"), [], stream="orders")
        )
        assert copied == {
            "stream": "orders", "position": "1795522883279-0",
            "fields": [["name", "Zoë"], ["blob", {"base64": "/w=="}]],
        }  # fmt: skip

    def test_key_and_value_are_there_where_the_broker_has_them(self) -> None:
        copied = json.loads(records.as_json(record(value=b"v", key=None), []))
        assert (copied["key"], copied["value"]) == (None, "v")


def fixture_of(kept: Record, name: str, said: str) -> tuple[str, Any]:
    """Runs the generated code; the fixture's name and what it gives."""
    code = records.as_pytest_fixture(kept, [], name, said)
    made: dict[str, Any] = {}
    exec(compile(code, "copied", "exec"), made)  # noqa: S102
    [fixture] = [value for key, value in made.items() if key not in ("pytest", "__builtins__")]
    function = fixture.__wrapped__ if hasattr(fixture, "__wrapped__") else fixture._get_wrapped_function()
    return function.__name__, function()


class TestPytestFixture:
    @pytest.mark.parametrize("value", AWKWARD)
    def test_gives_the_very_bytes(self, value: bytes) -> None:
        fields = [b"data", value, b"f:" + value, b"x"]
        _, given = fixture_of(record(*fields), "OrderPlaced", 'it said """\' \\')
        assert given == {b"data": value, b"f:" + value: b"x"}

    def test_gives_pairs_where_a_name_comes_twice(self) -> None:
        _, given = fixture_of(record(b"h", b"1", b"h", b"2"), "OrderPlaced", "")
        assert given == [(b"h", b"1"), (b"h", b"2")]

    @pytest.mark.parametrize(
        ("event_type", "name"),
        [
            ("OrderPlaced", "order_placed"),
            ("order.placed-v2", "order_placed_v2"),
            ("", "event"),
            ("注文", "event"),
            ("2fast", "event_2fast"),
            ("class", "event_class"),
            ("request", "event_request"),
            ("import os; evil()", "import_os__evil"),
        ],
    )
    def test_is_named_for_the_event_and_always_a_name_that_python_takes(
        self, event_type: str, name: str
    ) -> None:
        assert fixture_of(record(b"a", b"b"), event_type, "")[0] == name

    def test_can_be_used_by_a_test(self, tmp_path: Path) -> None:
        code = records.as_pytest_fixture(record(b"data", b'{"a": 1}'), [], "OrderPlaced", "Dead letter 7")
        use = "\n\ndef test_it(order_placed):\n    assert order_placed == {b'data': b'{\"a\": 1}'}\n"
        (tmp_path / "test_copied.py").write_text(code + use)
        assert pytest.main(["-q", "-p", "no:cacheprovider", str(tmp_path / "test_copied.py")]) == 0


Runs = Callable[[str], list[tuple[bytes, dict[bytes, bytes]]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs a copied command in a shell; what the stream "copied" then holds on a real server."""
    redis_cli = servers.require(shutil.which("redis-cli"), "redis-cli (Debian: apt-get install redis-tools)")
    folder = tmp_path_factory.mktemp("redis")
    port = free_port()
    process = start_server(port, folder)
    wrapper = folder / "redis-cli"
    wrapper.write_text(f'#!/bin/sh\nexec {redis_cli} -p {port} "$@"\n')
    wrapper.chmod(0o755)
    client = redis.Redis(port=port)

    def runs(command: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        client.flushall()
        path = f"{folder}:{os.environ['PATH']}"
        subprocess.run(["sh", "-c", command], check=True, cwd=folder, env={"PATH": path}, timeout=60)
        assert not (folder / "evil").exists()
        return [(key, client.xrange(key)[0][1]) for key in client.scan_iter()]

    yield runs
    client.close()
    process.terminate()
    process.wait(timeout=30)


@pytest.mark.server
class TestRedisCommand:
    @pytest.mark.parametrize("value", AWKWARD)
    def test_adds_the_very_bytes(self, value: bytes, run: Runs) -> None:
        fields = [b"data", value, b"f:" + value, b"x"]
        [(stream, entry)] = run(records.as_redis_command(record(*fields), [], "orders"))
        assert (stream, entry) == (b"orders", {b"data": value, b"f:" + value: b"x"})

    @pytest.mark.parametrize("stream", ["it's; touch evil", "$(touch evil)", "a\nb", "☃"])
    def test_adds_to_the_very_stream(self, stream: str, run: Runs) -> None:
        [(added_to, _)] = run(records.as_redis_command(record(b"a", b"b"), [], stream))
        assert added_to == stream.encode()
