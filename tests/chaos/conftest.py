"""Fixtures of the tests of operations, and the figures of the random kills in the summary."""

import pytest

from tests.chaos.fixtures import FIGURES, lone_rig, rig, servers, settled_at_once

__all__ = ["lone_rig", "rig", "servers", "settled_at_once"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    lines = [value for report in reports for name, value in report.user_properties if name == FIGURES]
    if lines:
        terminalreporter.section("letters under kills")
        for line in lines:
            terminalreporter.write_line(line)
