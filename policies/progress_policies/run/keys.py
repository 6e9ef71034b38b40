"""The keys that a person at the robot can press."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

EMERGENCY, HAND_OVER, RESUME, SUCCESS, FAILURE, QUIT = " ", "h", "r", "s", "f", "q"
HELP = "space: emergency stop   h: I take over   r: policy goes on   s: success   f: failure   q: end"


class Keys:
    """Keys of the terminal; none where there is no terminal.

    Attributes:
        fileno: what to wait for; None without a terminal.
    """

    def __init__(self, fileno: int | None) -> None:
        self.fileno = fileno

    def pressed(self) -> str:
        """What has been pressed since the last call, without waiting."""
        if self.fileno is None:
            return ""
        try:
            return os.read(self.fileno, 64).decode(errors="ignore")
        except BlockingIOError:
            return ""


@contextmanager
def open_keys() -> Iterator[Keys]:
    """Keys come one by one, without Enter, while this lasts."""
    if not sys.stdin or not sys.stdin.isatty():
        yield Keys(None)
        return
    fileno = sys.stdin.fileno()
    before = termios.tcgetattr(fileno)
    try:
        tty.setcbreak(fileno)
        os.set_blocking(fileno, False)
        yield Keys(fileno)
    finally:
        os.set_blocking(fileno, True)
        termios.tcsetattr(fileno, termios.TCSADRAIN, before)
