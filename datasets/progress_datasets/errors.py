"""The one error that a user's mistake raises."""

from __future__ import annotations


class UserError(Exception):
    """A mistake the user can put right.

    The message is one line: what is wrong, where, and the remedy. The command line prints it without a
    traceback and exits with code 2.
    """
