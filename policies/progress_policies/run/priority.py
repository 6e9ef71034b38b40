"""The first claim on the processor, for those who must not be late."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_RANK = 10


@contextmanager
def first_claim() -> Iterator[bool]:
    """While this lasts, the calling thread goes before all ordinary work, where the system permits; whether it does.

    Linux permits it to root and to those with an rtprio in /etc/security/limits.conf; macOS has no such call. What the
    thread starts (threads, processes) does not inherit it.
    """
    if not hasattr(os, "sched_setscheduler"):
        yield False
        return
    before, rank = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(_RANK))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, before, rank)
