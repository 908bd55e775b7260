"""Which states of operations and their items are ends."""

import pytest

from eventwake.domain.operation import ENDED, FINISHED, Actor, CommandState, ItemState


@pytest.mark.parametrize("state", [ItemState.INTENDED, ItemState.SENT])
def test_what_may_have_been_sent_has_not_ended(state: ItemState) -> None:
    """A restart has to look for it first."""
    assert state not in ENDED


def test_an_operation_can_be_paused_and_goes_on() -> None:
    under_way = {CommandState.PLANNED, CommandState.RUNNING, CommandState.PAUSED, CommandState.CANCELLING}
    assert under_way == set(CommandState) - FINISHED


def test_who_acts_before_there_is_a_sign_in_is_local() -> None:
    assert Actor().name == "local"
