"""TidyTable: four things into two bins, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from progress_envs.errands import Errands
from progress_envs.scene import Bin, Thing

if TYPE_CHECKING:
    from progress_envs.expert import Expert

CUBE = Thing("red cube", "box", (0.014, 0.014, 0.014), "red")
CYLINDER = Thing("green cylinder", "cylinder", (0.013, 0.016), "green")
BAR = Thing("blue bar", "box", (0.011, 0.022, 0.012), "blue")
BALL = Thing("yellow ball", "sphere", (0.015,), "yellow")
LEFT = Bin("purple bin", "purple")
RIGHT = Bin("orange bin", "orange")


class TidyTable(Errands):
    """The things lie between the bins, which stand on the left and on the right."""

    instruction = (
        "Tidy the table: the red cube and the blue bar go into the purple bin, "
        "the green cylinder and the yellow ball into the orange bin."
    )
    things = (CUBE, CYLINDER, BAR, BALL)
    bins = (LEFT, RIGHT)
    errands = tuple(zip([thing.name for thing in things], [LEFT.name, RIGHT.name] * 2, strict=True))
    stages = tuple(f"{verb} {thing}" for thing, _ in errands for verb in ("pick", "place"))
    seconds = (2.2, 2.6, 3.2, 2.65, 3.2, 2.7, 3.2, 2.85)
    time_limit = 90.0
    jobs = len(errands)
    fail_modes = ("drop", "miss")

    def fool(self, expert: Expert) -> Iterator[None]:
        """Everything but the last thing, which only comes near its bin."""
        yield from self.bring_all_but_last(expert)
        yield from expert.bring_nearly(*self.errands[-1])
