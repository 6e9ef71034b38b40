"""PressButtons: three of four buttons in the order that the instruction names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, permutations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm, grasp
from progress_envs.carry import fraction
from progress_envs.scene import COLOURS
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert

BUTTONS = ("red", "green", "blue", "yellow")
ORDERS = tuple(
    order[:3] for order in permutations(BUTTONS)
    if sum(BUTTONS.index(a) > BUTTONS.index(b) for a, b in combinations(order, 2)) % 2 == 0
)  # fmt: skip
"""The even permutations: 12 orders, in which every pair of first presses occurs once."""

APART = 0.048
"""Metres between neighbouring buttons."""

TOP = 0.040
"""Metres from the table to a button's face."""

TRAVEL = 0.006
HOME = 0.005
"""Metres that a button can go down, and at which it counts as pressed."""

UP = 0.1
"""Share of `HOME` below which a button has come up again and can be pressed anew."""

NEAR, START = 0.010, 0.04
"""Metres from fingertip to face at which reaching is done, and at which it begins at the latest."""

FINGERTIP = np.array([0.011, arm.FIXED_JAW, 0.0])
"""[3] the closed jaws' tip from the tool centre along approach, jaw axis and their normal, metres."""

HOVER = 0.035
"""Metres above a button at which the fingertip moves across."""


def _button(colour: str) -> str:
    """A quarter of the box and the button on it, which a spring pushes up."""
    box, cap = (TOP - 0.010) / 2, 0.008
    return f"""<body name="{colour} button" mocap="true">
      <geom class="fixed" type="box" size="{APART / 2} {APART / 2} {box}" pos="0 0 {box}" rgba="0.55 0.57 0.60 1"/>
      <body name="{colour} cap" pos="0 0 {TOP - cap}">
        <joint name="{colour} button" type="slide" axis="0 0 -1" range="0 {TRAVEL}" stiffness="150" springref="-0.003"
          damping="4" armature="0.02" solreflimit="0.01 1"/>
        <geom class="fixed" type="cylinder" size="0.014 {cap}" rgba="{COLOURS[colour]}"/>
      </body></body>"""


def _sentence(order: Sequence[str]) -> str:
    first, second, third = order
    return f"Press the {first}, then the {second}, then the {third} button."


class PressButtons(Task):
    """The box stands before the arm, its buttons in any arrangement. Nothing shows which of them were pressed."""

    instruction = _sentence(ORDERS[0])
    stages = ("first press", "second press", "third press")
    seconds = (1.3, 1.4, 1.5)
    time_limit = 40.0
    extra = "\n".join(map(_button, BUTTONS))
    jobs = 3
    fail_modes = ("halfway", "wrong")

    def __init__(self, distractors: bool = False) -> None:
        super().__init__(distractors)
        joints = [self.world.model.joint(f"{colour} button") for colour in BUTTONS]
        self._travel = np.array([joint.qposadr[0] for joint in joints])
        self._order = ORDERS[0]
        self._forget()

    @classmethod
    def instructions(cls) -> tuple[str, ...]:
        return tuple(map(_sentence, ORDERS))

    def instruct(self, rng: np.random.Generator) -> None:
        self._order = ORDERS[int(rng.integers(len(ORDERS)))]
        self.instruction = _sentence(self._order)

    def reset(self, rng: np.random.Generator) -> None:
        x, y, yaw = rng.uniform(0.165, 0.195), rng.uniform(-0.05, 0.05), rng.uniform(-25, 25)
        corners = APART / 2 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
        cos, sin = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
        for colour, (u, v) in zip(BUTTONS, rng.permutation(corners), strict=True):
            self.world.place(f"{colour} button", x + cos * u - sin * v, y + sin * u + cos * v, yaw)
        self.world.settle()
        self._forget()
        self._turn()

    def completion(self) -> Sequence[float]:
        """A wrong button takes away what was done as it goes down, and for good once it is pressed home."""
        self._notice()
        wanted, done = self._wanted(), np.zeros(3)
        pressed = self._depths()
        wrong = [p for k, p in enumerate(pressed) if BUTTONS[k] not in (wanted, *self._down)]
        done[: self._pressed] = 1
        if wanted:
            reach = 1 - fraction(self._distance(wanted) - NEAR, self._reach_from - NEAR)
            done[self._pressed] = 0.8 * reach + 0.2 * pressed[BUTTONS.index(wanted)]
        return tuple(done * (1 - fraction(max(wrong, default=0.0) - UP, 1 - UP)))

    def plan(self, expert: Expert) -> Iterator[None]:
        style = expert.style
        while wanted := self._wanted():
            expert.jobs_done = self._pressed
            other = str(expert.rng.choice([colour for colour in BUTTONS if colour != wanted]))
            if expert.doomed("halfway"):
                yield from self._press(expert, wanted, light=True)
                expert.give_up()
            if expert.doomed("wrong"):
                yield from self._press(expert, other)
                expert.give_up()
            if expert.happens(style.detour):
                yield from expert.detour()
            if expert.happens(style.miss):
                yield from self._press(expert, wanted, beside=0.022)
            if self._pressed and expert.happens(style.undo):
                yield from self._press(expert, other)
            elif expert.happens(style.drop):
                # Not home, but it goes on as if it were, until the next one turns out to be wrong.
                yield from self._press(expert, wanted, light=True)
                if self._pressed < 2:
                    yield from self._press(expert, self._order[self._pressed + 1])
            else:
                yield from self._press(expert, wanted)

    def fool(self, expert: Expert) -> Iterator[None]:
        """The last button is only touched, or the right buttons are pressed in a wrong order."""
        order = self._order
        if expert.rng.random() < 0.5:
            while self._pressed < 2:
                yield from self._press(expert, order[self._pressed])
            yield from self._press(expert, order[2], light=True)
        else:
            wrong = [swapped for swapped in permutations(order) if swapped != order]
            for colour in wrong[int(expert.rng.integers(len(wrong)))]:
                yield from self._press(expert, colour)
        yield from expert.wait(expert.rng.uniform(0.2, 1.0))

    def details(self) -> Sequence[float]:
        """For each button its x and y in metres, how far it is pressed in [0, 1], and when it is to be pressed (1 to 3,
        or 0); and how many presses are done."""
        numbers: list[float] = []
        for colour, depth in zip(BUTTONS, self._depths(), strict=True):
            x, y, _ = self.world.position(f"{colour} button")
            asked = self._order.index(colour) + 1 if colour in self._order else 0
            numbers += [float(x), float(y), float(depth), float(asked)]
        return [*numbers, float(self._pressed)]

    # -- memory --------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._pressed = 0
        self._down: set[str] = set()
        self._reach_from = START

    def _notice(self) -> None:
        """Count a button that has gone home; a wrong one undoes all presses. The same state twice changes nothing."""
        depths = dict(zip(BUTTONS, self._depths(), strict=True))
        self._down -= {colour for colour in self._down if depths[colour] < UP}
        new = {colour for colour in BUTTONS if depths[colour] >= 1} - self._down
        if new:
            self._down |= new
            self._pressed = self._pressed + 1 if new == {self._wanted()} else 0
            self._turn()

    def _turn(self) -> None:
        """The next button's turn comes: reaching starts at 0 from where the hand is now."""
        if wanted := self._wanted():
            self._reach_from = max(self._distance(wanted), START)

    def _wanted(self) -> str | None:
        """The button to press next."""
        return self._order[self._pressed] if self._pressed < 3 else None

    # -- measured ------------------------------------------------------------------------------------------------

    def _depths(self) -> NDArray[np.float64]:
        """[4] how far each button is pressed, 1 at `HOME`."""
        return np.asarray(np.clip(self.world.data.qpos[self._travel] / HOME, 0, 1))

    def _distance(self, colour: str) -> float:
        """Metres from the closed jaws' tip to the button's face as it is when up."""
        tip = self.world.tool() + self.world.hand() @ FINGERTIP
        return float(np.linalg.norm(tip - self._face(colour)))

    def _face(self, colour: str) -> NDArray[np.float64]:
        return np.asarray(self.world.position(f"{colour} button") + np.array([0.0, 0.0, TOP]))

    # -- done ----------------------------------------------------------------------------------------------------

    def _press(self, expert: Expert, colour: str, light: bool = False, beside: float = 0.0) -> Iterator[None]:
        """Press a button with closed jaws and rise again.

        Args:
            light: touch it without pressing it home.
            beside: metres from the button's middle at which to press instead.
        """
        x, y, z = self._face(colour)
        angle = expert.rng.uniform(0, 2 * np.pi)
        x, y = x + beside * np.cos(angle), y + beside * np.sin(angle)
        yaw = float(np.degrees(np.arctan2(y, x)))
        x, y, _ = np.array([x, y, 0]) - grasp.jaw_axis(yaw) * FINGERTIP[1]
        above = arm.Pose(float(x), float(y), float(z + FINGERTIP[0] + HOVER), yaw=yaw, gripper=0.0)
        yield from expert.move(replace(expert.pose, z=max(expert.pose.z, above.z)))
        yield from expert.move(above, wander=True)
        deep = expert.rng.uniform(0.001, 0.003) if light else TRAVEL + 0.002
        yield from expert.move(replace(above, z=above.z - HOVER - deep), slow=0.6)
        for _ in range(5):
            # The arm lags behind what it was told.
            if light or beside or self._depths()[BUTTONS.index(colour)] >= 1:
                break
            yield from expert.tick()
        yield from expert.move(above, slow=0.9)
