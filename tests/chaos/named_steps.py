"""The steps of an operation, in the order in which an operator comes to them.

Whoever gives an operation another exchange with the broker, or another transaction, adds its steps here; that
no exchange is missing is tested. Letters are enough for two batches; where the same is done for each letter,
the step lies in the middle of a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from eventwake.domain.operation import CommandKind
from tests.chaos.armed_operator import LETTERS_A_BATCH, Step
from tests.chaos.rig import JOURNAL, JOURNAL_OF_A_CLUSTER, ONE_SLOT, OWN_SLOTS, Way

RETRY, DISCARD, RESTORE = CommandKind.RETRY, CommandKind.DISCARD, CommandKind.RESTORE
KINDS = (RETRY, DISCARD, RESTORE)
EVERY_WAY = (ONE_SLOT, OWN_SLOTS, JOURNAL, JOURNAL_OF_A_CLUSTER)
LETTERS = LETTERS_A_BATCH + 2
MIDDLE = 3  # of a batch

_ITEMS = "eventwake.store.command_items:"
_CARRY_OUT = "collectors.carry_out:CarryOut."
_LETTERS = "collectors.brokers.redis_streams.letters:Letters."
_SCRIPT = "collectors.brokers.redis_streams.letters:Script.run"
_REPLY = "redis.client:Redis.parse_response"  # before it: the command is sent, its reply is not read
_OF_TRANSACTION = "_"  # what the client calls the replies of a transaction


@dataclass(frozen=True)
class Exchange:
    """Commands that go to the broker together, those that change something; and the steps around them."""

    commands: frozenset[str]
    steps: tuple[Step, ...]


def _exchange(commands: str, *steps: Step) -> Exchange:
    return Exchange(frozenset(commands.split()), steps)


def _intent(call: int = 1) -> tuple[Step, ...]:
    return (
        Step("before", _CARRY_OUT + "_intend", call),
        Step("after", _ITEMS + "intend", call, uncommitted=True),
        Step("after", _CARRY_OUT + "_intend", call),
    )


def _script(call: int = 1) -> Exchange:
    """The server does not know the script at first, so that it is sent whole, and from then on by digest."""
    return _exchange(
        "EVAL EVALSHA",
        Step("before", _SCRIPT, call),
        Step("before", _REPLY, word="EVAL"),
        Step("before", _REPLY, call + 1, word="EVALSHA"),
        Step("after", _SCRIPT, call),
    )


_PROBE = _exchange(
    "XDEL", Step("before", _LETTERS + "_try_removing"), Step("after", _LETTERS + "_try_removing")
)
_REMOVAL_OF_SENT = _exchange(
    "XDEL",
    Step("before", _LETTERS + "_remove_sent"),
    Step("before", _REPLY, MIDDLE, word="XDEL"),
    Step("after", _LETTERS + "_remove_sent"),
)
_TRANSACTION = _exchange(
    "XADD HSET PEXPIRE",
    Step("before", _LETTERS + "_look_and_send", MIDDLE),
    Step("before", "redis.client:Pipeline.multi", MIDDLE),  # it has looked
    Step("before", _REPLY, word=_OF_TRANSACTION),
    Step("after", _LETTERS + "_look_and_send", MIDDLE),
)
_REMOVAL = _exchange(
    "XDEL",
    Step("before", _LETTERS + "discard"),
    Step("before", _REPLY, MIDDLE, word="XDEL"),
    Step("after", _LETTERS + "discard"),
)
_RESTORING_TRANSACTION = _exchange(
    "XADD HSET PEXPIRE",
    Step("before", _LETTERS + "restore", MIDDLE),
    Step("after", _LETTERS + "_look", MIDDLE),  # it was not there
    Step("before", _REPLY, word=_OF_TRANSACTION),
    Step("after", _LETTERS + "restore", MIDDLE),
)

EXCHANGES = {
    (RETRY, ONE_SLOT): (_script(),),
    (RETRY, OWN_SLOTS): (_PROBE, _script(), _REMOVAL_OF_SENT),
    (RETRY, JOURNAL): (_PROBE, _TRANSACTION, _REMOVAL_OF_SENT),
    (RETRY, JOURNAL_OF_A_CLUSTER): (_PROBE, _TRANSACTION, _REMOVAL_OF_SENT),
    **{(DISCARD, way): (_REMOVAL,) for way in EVERY_WAY},
    (RESTORE, ONE_SLOT): (_script(MIDDLE),),
    (RESTORE, OWN_SLOTS): (_script(MIDDLE),),
    (RESTORE, JOURNAL): (_RESTORING_TRANSACTION,),
    (RESTORE, JOURNAL_OF_A_CLUSTER): (_RESTORING_TRANSACTION,),
}
BEFORE_THE_BROKER = {RETRY: _intent(), DISCARD: _intent(), RESTORE: _intent(MIDDLE)}
AFTER_THE_BROKER = {
    RETRY: (
        Step("before", _CARRY_OUT + "_save_sent"),
        Step("after", _ITEMS + "sent_items", uncommitted=True),
        Step("after", _CARRY_OUT + "_save_sent"),
        Step("before", _CARRY_OUT + "settle"),
        Step("after", _ITEMS + "finish_items", uncommitted=True),
        Step("after", _CARRY_OUT + "settle"),
        Step("after", _ITEMS + "finish_if_ended", 3, uncommitted=True),
        Step("after", "collectors.operator:Operator._advance", 3),  # after both batches, and the settling
    ),
    DISCARD: (
        Step("before", _ITEMS + "finish_items", uncommitted=True),
        Step("after", _ITEMS + "finish_items", uncommitted=True),
        Step("after", _CARRY_OUT + "discard"),
        Step("after", _ITEMS + "finish_if_ended", 2, uncommitted=True),
        Step("after", "collectors.operator:Operator._advance", 2),
    ),
    RESTORE: (
        Step("before", _ITEMS + "finish_items", MIDDLE, uncommitted=True),
        Step("after", "eventwake.store.writes.letters:move_to", MIDDLE, uncommitted=True),
        Step("before", _CARRY_OUT + "_intend", MIDDLE + 1),  # the one before is committed
        Step("after", _CARRY_OUT + "restore"),
        Step("after", _ITEMS + "finish_if_ended", 2, uncommitted=True),
        Step("after", "collectors.operator:Operator._advance", 2),
    ),
}


def steps(kind: CommandKind, way: Way) -> Iterator[Step]:
    yield from BEFORE_THE_BROKER[kind]
    for exchange in EXCHANGES[kind, way]:
        yield from exchange.steps
    yield from AFTER_THE_BROKER[kind]
