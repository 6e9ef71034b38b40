"""What a task is: a scene, stages, and how much of each stage is done in a given state of the world."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from progress_datasets.errors import UserError
from progress_envs.names import modules
from progress_envs.scene import Bin, Thing, World

if TYPE_CHECKING:
    from progress_envs.expert import Expert


@dataclass(frozen=True)
class Status:
    """Where the task stands. `stage` is an index into the task's stages, `progress` in [0, 1], 1 only at success."""

    stage: int
    progress: float
    success: bool


class Task(ABC):
    """One task. A subclass in `progress_envs/tasks/<name>.py` is all that a new task takes; its id follows from the
    file's name (`pick_place.py` holds `class PickPlace` and becomes `progress/PickPlace-v0`).

    Attributes:
        instruction: what to do, in words.
        stages: names in canonical order.
        seconds: how long an expert takes for each stage, on average; a stage's weight is its share of their sum.
        time_limit: seconds after which an episode is truncated.
        things, bins: what stands on the table.
        extra: further MJCF for the worldbody.
        sections: further MJCF beside the worldbody (equality, tendon, contact, …).
        jobs: how many like pieces of work the task consists of; a failing demonstrator fails at one of them.
        fail_modes: mishaps of `Expert.doomed` with which `plan` can end the work on a job.
    """

    instruction: str
    stages: ClassVar[tuple[str, ...]]
    seconds: ClassVar[tuple[float, ...]]
    time_limit: ClassVar[float]
    things: ClassVar[tuple[Thing, ...]] = ()
    bins: ClassVar[tuple[Bin, ...]] = ()
    extra: ClassVar[str] = ""
    sections: ClassVar[str] = ""
    jobs: ClassVar[int] = 1
    fail_modes: ClassVar[tuple[str, ...]] = ()

    def __init__(self, distractors: bool = False) -> None:
        self.world = World(self.things, self.bins, self.extra, self.sections, distractors)

    @classmethod
    def instructions(cls) -> tuple[str, ...]:
        """Everything the task may ask for; `instruction` is what it asks for in this episode."""
        return (cls.instruction,)

    def instruct(self, rng: np.random.Generator) -> None:  # noqa: B027 -- most tasks ask for one thing only
        """Choose this episode's `instruction`; comes before `reset`."""

    @property
    def weights(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """float64 [K], each stage's share of the task, summing to one."""
        seconds = np.array(self.seconds)
        return np.asarray(seconds / seconds.sum())

    @abstractmethod
    def reset(self, rng: np.random.Generator) -> None:
        """Place things and bins at random and forget the last episode. The arm stands at its start already."""

    @abstractmethod
    def completion(self) -> Sequence[float]:
        """How much of each stage is done in the world's present state: K numbers in [0, 1], continuous in the state.

        A stage whose forerunners are undone must tend to 0, so that nothing counts before its time. All ones is
        success.
        """

    @abstractmethod
    def plan(self, expert: Expert) -> Iterator[None]:
        """How the expert does it: a generator that moves `expert` and yields once for every control step."""

    def fool(self, expert: Expert) -> Iterator[None]:
        """How the work is made to look done while it is not. Here: all but the last moment of it."""
        expert.stop_at(0.97)
        yield from self.plan(expert)

    def details(self) -> Sequence[float]:
        """What a policy that sees no pictures must know beside the poses of things and bins, always as many numbers,
        also before the first `reset`: how far a drawer is open, which button comes next."""
        return ()

    def status(self) -> Status:
        """Stage, true progress and success now: the stage is the first that is not complete."""
        done = [float(part) for part in self.completion()]
        stage = next((k for k, part in enumerate(done) if part < 1), None)
        if stage is None:
            return Status(len(done) - 1, 1.0, True)
        progress = math.sumprod(self.seconds, done) / sum(self.seconds)
        return Status(stage, min(progress, 1 - 1e-6), False)


def load_task(name: str) -> type[Task]:
    """The class of the task `name`, e.g. "PickPlace".

    Raises:
        UserError: there is no such task.
    """
    known = modules()
    if name not in known:
        raise UserError(f"there is no task '{name}'; choose one of {', '.join(known)}")
    found: type[Task] = getattr(import_module(known[name]), name)
    return found
