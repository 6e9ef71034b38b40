"""The USB cable: a pseudo-terminal that a driver opens as a serial port, and what can happen to packets on it."""

from __future__ import annotations

import errno
import heapq
import os
import termios
import tty
from pathlib import Path
from typing import Protocol

import numpy as np

from progress_envs.hardware.faults import Faults

_SPEEDS = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name.startswith("B") and name[1:].isdigit() and name != "B0"
}
_BITS = 10
"""Of a byte on the wire: start, eight, stop."""


class Bus(Protocol):
    """What hangs on the cable."""

    baud: int | None

    def packets(self, data: bytes) -> list[bytes]:
        """The whole packets among what was heard so far."""
        ...

    def answer(self, packet: bytes) -> list[bytes]:
        """The replies to a packet."""
        ...


class Terminal:
    """Serves a bus on a pseudo-terminal under a name that stays the same.

    Both ends are held open here and the driver's end is raw from the beginning; otherwise what the driver writes would
    come back to it, and a second driver would find the port hung up. What a driver does not read is dropped as soon
    as the terminal's buffer is full.

    Args:
        bus: answers.
        link: the port's name: a symbolic link to the terminal.
        wire_time: let replies take as long as they would on the wire, instead of none.

    Attributes:
        dropped, corrupted, late: packets that met that fault.
        lost: bytes that nobody read.
    """

    def __init__(self, bus: Bus, link: Path, wire_time: bool = False) -> None:
        self._bus = bus
        self._link = link
        self._wire_time = wire_time
        self._ends: tuple[int, int] | None = None
        self._late: list[tuple[float, int, bytes]] = []
        self._count = 0
        self.dropped = self.corrupted = self.late = self.lost = 0
        self.trouble(Faults())
        self.plug()

    def trouble(self, faults: Faults) -> None:
        """What happens to packets from now on."""
        self._faults = faults
        self._rng = np.random.default_rng(faults.seed)

    @property
    def descriptor(self) -> int | None:
        """To wait for bytes on; None while unplugged."""
        return self._ends[0] if self._ends else None

    @property
    def due(self) -> float | None:
        """When the next late reply is to be sent, on the clock given to `serve`."""
        return self._late[0][0] if self._late else None

    def plug(self) -> None:
        """Put the cable in: the port is there."""
        if self._ends is None:
            ours, theirs = os.openpty()
            tty.setraw(theirs)
            os.set_blocking(ours, False)
            self._ends = ours, theirs
            fresh = self._link.with_name(f".{self._link.name}.new")
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(os.ttyname(theirs))
            fresh.replace(self._link)

    def unplug(self) -> None:
        """Pull the cable out: the port hangs up and is gone."""
        if self._ends is not None:
            self._link.unlink(missing_ok=True)
            for end in self._ends:
                os.close(end)
            self._ends = None
            self._late.clear()

    def serve(self, now: float) -> None:
        """Answer what has come, and send what is due at `now` (seconds of a steady clock)."""
        if self._ends is None:
            return
        data = self._read()
        if data:
            self._bus.baud = _SPEEDS.get(termios.tcgetattr(self._ends[1])[5])
        for packet in self._bus.packets(data):
            heard = self._through(packet)
            if heard:
                for reply in self._bus.answer(heard):
                    self._reply(reply, now, len(packet))
        while self._late and self._late[0][0] <= now:
            self._write(heapq.heappop(self._late)[2])

    def _reply(self, reply: bytes, now: float, asked: int) -> None:
        sent = self._through(reply)
        if not sent:
            return
        wait = 0.0
        if self._rng.random() < self._faults.late:
            wait, self.late = self._faults.late_ms / 1000, self.late + 1
        if self._wire_time and self._bus.baud:
            # A reply cannot start before the one in front of it has ended.
            free = max(self._late)[0] if self._late else now + asked * _BITS / self._bus.baud
            wait += max(free - now, 0.0) + len(sent) * _BITS / self._bus.baud
        if wait or self._late:
            self._count += 1
            heapq.heappush(self._late, (now + wait, self._count, sent))
        else:
            self._write(sent)

    def _through(self, packet: bytes) -> bytes:
        """The packet as it comes out of a bad cable; empty where it is lost."""
        faults = self._faults
        if not faults.drop and not faults.corrupt:
            return packet
        lost, changed = self._rng.random(2) < [faults.drop, faults.corrupt]
        if lost:
            self.dropped += 1
            return b""
        if changed:
            self.corrupted += 1
            damaged = bytearray(packet)
            damaged[int(self._rng.integers(len(packet)))] ^= int(self._rng.integers(1, 256))
            return bytes(damaged)
        return packet

    def _read(self) -> bytes:
        assert self._ends is not None
        try:
            return os.read(self._ends[0], 4096)
        except BlockingIOError:
            return b""

    def _write(self, data: bytes) -> None:
        assert self._ends is not None
        try:
            written = os.write(self._ends[0], data)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EIO):
                raise
            written = 0
        self.lost += len(data) - written
