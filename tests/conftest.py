"""What holds for every test."""

import pytest

from tests import servers


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The markers `server` and `browser` need what they name."""
    if item.get_closest_marker("server"):
        servers.valkey()
    if item.get_closest_marker("browser"):
        servers.chromium_path()
