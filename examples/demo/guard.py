"""Outlives the launcher and ends what it left, so that even kill -9 leaves nothing behind.

    python guard.py DIRECTORY    # removed at the end, unless it is ""

Standard input names one process group a line, and ends with the launcher; `stopped` says that there is
nothing to end any more.
"""

import os
import shutil
import signal
import sys
import time

GRACE_S = 5.0


def main() -> None:
    directory = sys.argv[1]
    groups: list[int] = []
    for line in sys.stdin:
        groups = [] if line == "stopped\n" else [*groups, int(line)]
    end(groups)
    if directory:
        shutil.rmtree(directory, ignore_errors=True)


def end(groups: list[int]) -> None:
    """Asks them to stop, and kills what has not by the end of the grace."""
    groups = [group for group in groups if sent(group, signal.SIGTERM)]
    give_up_at = time.monotonic() + GRACE_S
    while time.monotonic() < give_up_at and any(sent(group, 0) for group in groups):
        time.sleep(0.1)
    for group in groups:
        sent(group, signal.SIGKILL)


def sent(group: int, number: int) -> bool:
    """Whether there still was such a group; 0 only asks."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
