"""The rules of the layout: `lint-imports` over the contracts in pyproject.toml, and what it cannot see."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINES_AT_MOST = 400


def test_imports_go_the_ways_that_the_contracts_allow() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_folder_is_named_pages() -> None:
    """Streamlit would take its files for pages and flash them in the menu."""
    assert not list((ROOT / "dashboard").rglob("pages"))


@pytest.mark.parametrize("program", ["eventwake", "collectors", "dashboard", "examples"])
def test_no_file_has_grown_past_where_one_should_stop_and_think(program: str) -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / program).rglob("*.py")
        if path.parent.name not in ("versions",)
        and (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_AT_MOST
        and path.name != "schema.py"  # the tables of one store, one after the other
    }
    assert not long
