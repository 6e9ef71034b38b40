"""What stands for hardware on a machine that has other things to do."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

RANK = 20
"""Above the loop's own."""


def hurry(pid: int) -> None:
    """Let a process go before all others, where that is allowed.

    Real servos are never short of a processor, and no loop that waits for their answer keeps them from answering.
    """
    with suppress(PermissionError, AttributeError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(RANK))
