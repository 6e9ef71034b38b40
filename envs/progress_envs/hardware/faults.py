"""What can be wrong with the simulated robot, for tests of whoever drives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from progress_datasets.errors import UserError
from progress_envs.arm import JOINTS
from progress_envs.scene import VIEWS

CAMERA_FAULTS = ("frozen", "stalled", "black", "resized")
"""The same picture again and again, no pictures any more, black ones, and pictures of another size."""


@dataclass(frozen=True)
class Faults:
    """Everything that is wrong at a time; `Faults()` is a sound robot.

    Attributes:
        drop: the probability that a packet, either way, is lost.
        corrupt: the probability that one byte of it is changed.
        late: the probability that a reply comes late.
        late_ms: by how many milliseconds it is late.
        seed: decides which packets.
        unplugged: the USB cable is out: the port hangs up and is gone.
        cameras: what is wrong with each view, of `CAMERA_FAULTS`.
        silent: joints whose servos neither hear nor answer.
        jammed: joints that something blocks.
        temperatures: degrees Celsius at which joints' servos are kept.
        voltage: volts of the supply; None: what it should be.

    Raises:
        UserError: there is no such joint, view or camera fault, or a probability is none.
    """

    drop: float = 0.0
    corrupt: float = 0.0
    late: float = 0.0
    late_ms: float = 30.0
    seed: int = 0
    unplugged: bool = False
    cameras: Mapping[str, str] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    jammed: tuple[str, ...] = ()
    temperatures: Mapping[str, float] = field(default_factory=dict)
    voltage: float | None = None

    def __post_init__(self) -> None:
        for name in ("drop", "corrupt", "late"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"fault {name}={getattr(self, name)}: give a probability, 0 to 1")
        for joint in [*self.silent, *self.jammed, *self.temperatures]:
            _known("joint", joint, JOINTS)
        for view, fault in self.cameras.items():
            _known("view", view, VIEWS)
            _known("camera fault", fault, CAMERA_FAULTS)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Faults:
        """The reverse of `as_dict`.

        Raises:
            UserError: there is no such fault.
        """
        names = [one.name for one in fields(cls)]
        for name in values:
            _known("fault", name, names)
        lists = {name: tuple(values[name]) for name in ("silent", "jammed") if name in values}
        return cls(**{**values, **lists})


def _known(what: str, name: str, names: tuple[str, ...] | list[str]) -> None:
    if name not in names:
        raise UserError(f"{what} '{name}' is unknown; choose from {', '.join(names)}")
