"""Runs an operator as `python -m collectors.operator` does, in small batches, each settled at once.

    python -m tests.chaos.armed_operator SOURCE [SIGKILL|SIGSTOP before|after MODULE:NAME CALL WORD]

At one step, which is a function of the product, it sends itself the signal; only calls that have WORD among
their arguments count, where one is given.
"""

import os
import signal
import sys
from functools import reduce, wraps
from importlib import import_module
from typing import Any

from collectors import operator


def arm(signal_name: str, when: str, place: str, call: int, word: str) -> None:
    """Wraps the function at `place`: its `call`-th call sends the signal to this process."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner = reduce(getattr, owners, import_module(module))
    real = getattr(owner, name)
    left = call

    @wraps(real)
    def step(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        counts = not word or word in arguments
        left -= counts
        is_it = counts and left == 0
        if is_it and when == "before":
            os.kill(os.getpid(), signal.Signals[signal_name])
        result = real(*arguments, **named)
        if is_it and when == "after":
            os.kill(os.getpid(), signal.Signals[signal_name])
        return result

    setattr(owner, name, step)


if __name__ == "__main__":
    if sys.argv[2:]:
        *how, call, word = sys.argv[2:]
        arm(*how, int(call), word)
    operator.LETTERS_A_BATCH = 10  # a kill at a random moment then meets more of what lies between batches
    operator.SETTLE_AFTER_MS = 0
    operator.main()
