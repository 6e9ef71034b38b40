"""How the simulated robot is spoken to: a Unix socket in its folder, and standard input.

A request is a JSON object on a line, `{"do": "reset", "seed": 3}`; the reply is `{"answer": …}` or `{"error": …}`. On
standard input words do as well: `reset 3`.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from progress_datasets.errors import UserError

CONTROL = "control"
"""The socket's name in the robot's folder."""

Handle = Callable[[Mapping[str, Any]], Any]


class Control:
    """Everybody who speaks to the robot.

    Args:
        path: of the socket.
        attached: standard input belongs to whoever started the robot, and its end is the robot's.

    Attributes:
        ended: that end has come.

    Raises:
        UserError: a robot runs in this folder already, or its name is too long for a socket.
    """

    def __init__(self, path: Path, attached: bool) -> None:
        self._path = path
        self._listener = _listen(path)
        self._clients: dict[socket.socket, bytes] = {}
        self._attached = attached
        self._input: int | None = sys.stdin.fileno() if attached or sys.stdin.isatty() else None
        self._typed = b""
        self.ended = False

    @property
    def sources(self) -> list[Any]:
        """What to wait for."""
        return [self._listener, *self._clients, *([] if self._input is None else [self._input])]

    def serve(self, ready: Sequence[Any], handle: Handle) -> None:
        """Answer what has come from `ready` sources; others may be among them."""
        for source in ready:
            if source is self._listener:
                client, _ = self._listener.accept()
                self._clients[client] = b""
            elif source in self._clients:
                self._converse(source, handle)
            elif source == self._input:
                self._read_input(handle)

    def close(self) -> None:
        """Hang up on everybody."""
        for client in self._clients:
            client.close()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _converse(self, client: socket.socket, handle: Handle) -> None:
        try:
            heard = client.recv(65536)
        except ConnectionError:
            heard = b""
        if not heard:
            client.close()
            del self._clients[client]
            return
        *lines, self._clients[client] = (self._clients[client] + heard).split(b"\n")
        for line in lines:
            # The end of the conversation is read in the next round.
            with suppress(ConnectionError):
                client.sendall(json.dumps(_answer(line, handle)).encode() + b"\n")

    def _read_input(self, handle: Handle) -> None:
        """Do what was typed."""
        assert self._input is not None
        heard = os.read(self._input, 4096)
        if not heard:
            self._input = None
            self.ended = self._attached
            return
        *lines, self._typed = (self._typed + heard).split(b"\n")
        for line in filter(None, map(bytes.strip, lines)):
            answer = _answer(words_to_request(line.decode(errors="replace")), handle)
            print(answer.get("error") or answer.get("answer") or "done", flush=True)


def words_to_request(line: str) -> str:
    """`reset 3` as JSON; what is JSON already stays."""
    if line.startswith("{"):
        return line
    what, *rest = line.split()
    shorthand: dict[str, dict[str, Any]] = {
        "unplug": {"do": "inject", "unplugged": True},
        "plug": {"do": "inject"},
        "reset": {"do": "reset", **({"seed": int(rest[0])} if rest and rest[0].isdigit() else {})},
    }
    return json.dumps(shorthand.get(what, {"do": what}))


def _answer(line: bytes | str, handle: Handle) -> dict[str, Any]:
    try:
        request = json.loads(line)
        return {"answer": handle(request if isinstance(request, dict) else {})}
    except (UserError, ValueError) as error:
        return {"error": str(error)}


def _listen(path: Path) -> socket.socket:
    if len(str(path)) > 100:
        raise UserError(f"{path.parent}: too long a name for a socket; give a folder with a shorter path")
    if path.exists():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
            else:
                raise UserError(
                    f"{path.parent}: a simulated robot runs there already; end it or give another folder"
                )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return listener
