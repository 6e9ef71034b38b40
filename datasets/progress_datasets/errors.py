"""The errors that the command line tells in one line."""

from __future__ import annotations


class UserError(Exception):
    """A mistake the user can put right.

    The message is one line: what is wrong, where, and the remedy. The command line prints it without a
    traceback and exits with code 2.
    """


class Failed(Exception):
    """What was asked for was in order and was begun, but something went wrong on the way; nobody made a mistake.

    The message is one line. The command line prints it without a traceback and exits with `status`.

    Attributes:
        status: the exit code: 1, or 130 where somebody interrupted it.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status
