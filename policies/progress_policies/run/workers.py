"""Processes beside the loop: how they are started, talked to and missed when they are gone."""

from __future__ import annotations

import json
import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

Message = dict[str, Any]

PRELOAD = [
    "lerobot.robots",
    "lerobot.cameras",
    "lerobot.motors.feetech",
    "progress_policies.run.policy_worker",
    "progress_policies.run.reward_worker",
    "progress_policies.run.recorder",
    "progress_policies.run.watchdog",
]
"""What takes long to import and all of them need."""


METHOD = "forkserver"
"""Processes are forked from one that has imported everything once, and that has no threads."""


def context() -> Any:
    """How processes are made."""
    made = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        made.set_forkserver_preload(PRELOAD)
    return made


class Worker:
    """One process and the pipe to it; messages are JSON.

    Attributes:
        name: for people.
        process: the process.
        connection: the pipe, for those who wait for several.
    """

    def __init__(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        made = context()
        self.name = name
        self.connection, theirs = made.Pipe()
        self.process = made.Process(target=_main, args=(theirs, target, arguments), name=name, daemon=True)
        self.process.start()
        theirs.close()
        self._gone = False

    def send(self, message: Message) -> None:
        """Send, unless the process is gone."""
        try:
            self.connection.send_bytes(json.dumps(message).encode())
        except OSError:
            self._gone = True

    def receive(self) -> Iterator[Message]:
        """What has arrived."""
        try:
            while not self._gone and self.connection.poll():
                yield json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self._gone = True

    def wait(self, seconds: float) -> Message | None:
        """The next message; None when there is none in time or the process is gone."""
        try:
            if not self._gone and self.connection.poll(seconds):
                message: Message = json.loads(self.connection.recv_bytes())
                return message
        except (EOFError, OSError):
            self._gone = True
        return None

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return not self._gone and self.process.is_alive()

    def stop(self, seconds: float = 5.0) -> None:
        """Let it finish, or end it."""
        self.send({"bye": True})
        self.connection.close()
        self._gone = True
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()


def _main(connection: Connection, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """A worker's life: Ctrl-C is the loop's business, and so is the first claim on the processor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # LeRobot tries to turn them on again whenever it has opened a dataset.
    warnings.filterwarnings("ignore", message="Cannot enable progress bars")
    target(Inbox(connection), *arguments)


class Inbox:
    """A worker's end of the pipe.

    Attributes:
        left: the loop has said goodbye.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.left = False

    def wait(self, seconds: float | None = None) -> bool:
        """Whether there is something to receive, or the loop is gone, within `seconds`."""
        try:
            return self._connection.poll(seconds)
        except OSError:
            return True

    def receive(self) -> Message | None:
        """The next message; None when the loop says goodbye or is gone, and then `left` says which."""
        try:
            message: Message = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            return None
        self.left = "bye" in message
        return None if self.left else message

    def send(self, message: Message) -> None:
        """Answer, unless the loop is gone."""
        with suppress(OSError):
            self._connection.send_bytes(json.dumps(message).encode())
