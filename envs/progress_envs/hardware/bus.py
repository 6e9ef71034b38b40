"""Servos on one wire: bytes in, bytes out. How packets look is the business of each family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from progress_envs.hardware.servo import Servo


class ServoBus[S: Servo](ABC):
    """The servos on one wire.

    Attributes:
        baud: bits a second of whoever speaks; servos set to another rate hear noise. None: nobody minds.
    """

    def __init__(self, servos: Sequence[S]) -> None:
        self.servos = list(servos)
        self.baud: int | None = None
        self._heard = b""

    def feed(self, data: bytes) -> bytes:
        """What the servos say to `data`, which may hold parts of packets."""
        return b"".join(reply for packet in self.packets(data) for reply in self.answer(packet))

    @abstractmethod
    def packets(self, data: bytes) -> list[bytes]:
        """The whole packets among what was heard; the beginning of another is kept for the next call."""

    @abstractmethod
    def answer(self, packet: bytes) -> list[bytes]:
        """The status packets that one packet calls forth."""

    @abstractmethod
    def rate(self, servo: S) -> int | None:
        """Bits a second to which a servo is set; None: to none that there is."""

    def present(self) -> dict[int, S]:
        """Those who hear, by their numbers."""
        return {servo.identity: servo for servo in self.servos if self._hears(servo)}

    def _hears(self, servo: S) -> bool:
        return not servo.silent and (self.baud is None or self.rate(servo) == self.baud)
