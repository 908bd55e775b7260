"""An item of an operation only moves forward, and what has ended stays so."""

import pytest

from eventwake.domain.operation import ENDED, FINISHED, Actor, CommandState, ItemState

WAY = [ItemState.WAITING, ItemState.CLAIMED, ItemState.INTENDED, ItemState.SENT, ItemState.DONE]


def test_every_step_of_an_items_way_ranks_above_the_one_before() -> None:
    ranks = [state.rank for state in WAY]
    assert ranks == sorted(set(ranks))


def test_no_end_ranks_above_another_so_that_none_follows_another() -> None:
    assert {state.rank for state in ENDED} == {ItemState.DONE.rank}
    assert {state for state in ItemState if state.rank == ItemState.DONE.rank} == ENDED


@pytest.mark.parametrize("state", [ItemState.INTENDED, ItemState.SENT])
def test_what_may_have_been_sent_has_not_ended(state: ItemState) -> None:
    """A restart has to look for it first."""
    assert state not in ENDED
    assert state.rank > ItemState.CLAIMED.rank


def test_an_operation_can_be_paused_and_goes_on() -> None:
    assert {CommandState.PLANNED, CommandState.RUNNING, CommandState.PAUSED} == set(CommandState) - FINISHED


def test_who_acts_before_there_is_a_sign_in_is_local() -> None:
    assert Actor().name == "local"
