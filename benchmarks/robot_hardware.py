"""What stands for hardware on a machine that has other things to do."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

RANK = 20


def hurry(pid: int) -> None:
    """Let a process go before all ordinary work, where that is allowed: real servos are never short of a processor."""
    for thread in Path(f"/proc/{pid}/task").iterdir() if hasattr(os, "sched_setscheduler") else []:
        with suppress(PermissionError):
            os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(RANK))
