"""Fixtures of the tests of operations."""

from tests.chaos.fixtures import lone_rig, rig, servers, settled_at_once

__all__ = ["lone_rig", "rig", "servers", "settled_at_once"]
