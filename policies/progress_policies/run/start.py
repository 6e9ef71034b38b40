"""An arm goes to where attempts begin, as its demonstrations did."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from progress_datasets.errors import UserError
from progress_policies.run.faults import Fault
from progress_policies.run.safety import Joints, Limits, outside_workspace

_SPEED = 45.0
"""How fast the arm goes there, in degrees or hundredths a second: whoever stands by can see what it is up to."""

_NEAR = 5.0
"""How far a joint may be from its start, as gravity pulls on it, in degrees or hundredths."""

_STILL = 5.0
"""Below this speed an arm has arrived, in degrees or hundredths a second."""

_PATIENCE_S = 5.0
"""How much longer the way may take than it should."""


class Start:
    """Where attempts begin, and the way there.

    Args:
        joints: degrees or hundredths by the motor's name, `{shoulder_pan: 0}`; the others stay where they are.
        limits: of the robot.
        fps: ticks a second.

    Raises:
        UserError: a joint is unknown, or may not be there.
    """

    def __init__(self, joints: Mapping[str, float], limits: Limits, fps: float) -> None:
        for joint, value in joints.items():
            name = f"{joint}.pos"
            if name not in limits.names:
                known = ", ".join(n.removesuffix(".pos") for n in limits.names if n.endswith(".pos"))
                raise UserError(f"--start: the robot has no '{joint}'; it has {known}")
            low, high = (float(end[limits.names.index(name)]) for end in (limits.low, limits.high))
            if not low <= value <= high:
                raise UserError(
                    f"--start: {joint} may not be at {value:g}; its limits are {low:.1f} and {high:.1f}"
                )
        self._set = {limits.names.index(f"{joint}.pos"): float(value) for joint, value in joints.items()}
        whole = np.array([self._set.get(k, np.nan) for k in range(len(limits.names))])
        outside = outside_workspace(limits, whole) if np.isfinite(whole).all() else None
        if outside is not None:
            raise UserError(f"--start: the arm may not be there: {outside}")
        self._names = limits.names
        self._step = _SPEED / fps

    def __bool__(self) -> bool:
        return bool(self._set)

    def begin(self, last: Joints, now: float) -> None:
        """Set out.

        Args:
            last: [n] the goal at present.
            now: seconds.
        """
        self._end, self._goal = last.copy(), last.copy()
        self._end[list(self._set)] = list(self._set.values())
        self._until = now + float(np.abs(self._end - last).max()) / _SPEED + _PATIENCE_S

    def go(self) -> Joints:
        """[n] the next goal."""
        self._goal = self._goal + np.clip(self._end - self._goal, -self._step, self._step)
        return self._goal

    def there(self, present: Joints, speed: Joints) -> bool:
        """Whether an arm whose joints [n] are there, and that fast, has arrived."""
        chosen = list(self._set)
        near = np.abs(self._end - present)[chosen].max() <= _NEAR and np.allclose(self._goal, self._end)
        return bool(near and np.abs(speed)[chosen].max() < _STILL)

    def late(self, present: Joints, now: float) -> Fault | None:
        """What is wrong with an arm that should be there."""
        if now < self._until:
            return None
        worst = max(self._set, key=lambda k: abs(self._end[k] - present[k]))
        name = self._names[worst].removesuffix(".pos")
        return Fault("not_at_start", f"{name} is at {present[worst]:.1f}, not at {self._end[worst]:.1f}")
