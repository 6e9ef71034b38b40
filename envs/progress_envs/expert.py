"""Scripted experts: they look at the simulator's state, plan waypoints, and re-plan when something went wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_envs import arm, carry, grasp
from progress_envs.arm import Pose
from progress_envs.env import ProgressEnv
from progress_envs.hand import GiveUp, Hand
from progress_envs.styles import QUALITIES, Style, sample_style, with_style

Floats = NDArray[np.float64]

HOVER = 0.075
"""Metres above a thing where the hand stops before it goes down."""


class Expert(Hand):
    """A policy for one env: `reset()`, then `act()` for every step until `done` or the episode is over.

    Attributes:
        done: the expert has nothing more to do (a failing one stops early).
        pose: the tool pose it commands.
        style: its manner in this episode.
        jobs_done: how many of the task's jobs it has finished; tasks that have jobs count them here.
    """

    def __init__(
        self, env: ProgressEnv, quality: str, seed: int, style: Mapping[str, object] | None = None
    ) -> None:
        if quality not in QUALITIES:
            raise UserError(f"quality '{quality}' is unknown; choose one of {', '.join(QUALITIES)}")
        self.env = env
        self.world = env.world
        self.quality = quality
        self.seed = seed
        self._changes = dict(style or {})
        self.reset()

    def reset(self) -> None:
        """Begin where the env is now: in an episode just reset, or in the middle of one."""
        self.rng = np.random.default_rng([self.seed, QUALITIES.index(self.quality)])
        task = self.env.task
        drawn = sample_style(self.quality, self.rng, task.jobs, task.fail_modes)
        self.style: Style = with_style(drawn, self._changes)
        self.done = False
        self.pose = arm.forward(self.env.target)
        self.jobs_done = 0
        self._failures = 0
        self._mishaps = self.style.mishaps
        self._plan = self._run()

    @property
    def success(self) -> bool:
        """The task is done."""
        return self.env.status.success

    def act(self) -> NDArray[np.float32]:
        """float32 [6], the action for the state the env is in now."""
        if next(self._plan, self) is self:
            self.done = True
        return self._action()

    def bring(self, thing: str, container: str, last: bool = True) -> Iterator[None]:
        """Pick the thing up and put it into the container; returns early when it slips, so call it until it is done.

        Args:
            last: the task ends with it, so that it cannot be undone afterwards.
        """
        yield from self.bring_to(
            thing,
            over=lambda until: self.move_over(thing, container, until),
            lower=lambda: self.lower(thing, container),
            placed=lambda: carry.depth_inside(self.world, thing, container) > 0,
            last=last,
        )

    def bring_to(
        self,
        thing: str,
        over: Callable[[float], Iterator[None]],
        lower: Callable[[], Iterator[None]],
        placed: Callable[[], bool],
        last: bool = True,
    ) -> Iterator[None]:
        """Pick the thing up and put it somewhere, with all the mishaps of the demonstrator's style.

        Args:
            over: carries the held thing above its place, or that fraction of the way.
            lower: brings it down there.
            placed: whether it is there.
            last: the task ends with it, so that it cannot be undone afterwards.
        """
        style = self.style
        if self.doomed("miss"):
            for _ in range(int(self.rng.integers(1, 4))):
                yield from self.pick(thing, miss=True)
            self.give_up()
        yield from self.pick(thing, miss=self.happens(style.miss))
        if not carry.held(self.world, thing):
            self._failures += 1
            return
        self._failures = 0
        if self.happens(style.detour):
            yield from self.detour()
        doomed = self.doomed("drop")
        drop = doomed or self.happens(style.drop)
        yield from over(self.rng.uniform(0.1, 0.5) if drop else 1.0)
        if drop:
            yield from self.let_go(thing)
            if doomed:
                self.give_up()
            return
        if not carry.held(self.world, thing):
            return
        yield from lower()
        if self.happens(style.undo):
            yield from self.take_back(thing)
            return
        yield from self.let_go(thing)
        if placed():
            self.jobs_done += 1
            if not last and self.happens(style.undo):
                yield from self.pick(thing)
                if carry.held(self.world, thing):
                    self.jobs_done -= 1
                    yield from self.take_back(thing)

    def bring_nearly(self, thing: str, container: str) -> Iterator[None]:
        """Make the thing look brought: lay it down just beside the container, or hold it above."""
        while not carry.held(self.world, thing):
            yield from self.pick(thing)
        if self.rng.random() < 0.4:
            yield from self.move_over(thing, container)
            yield from self.wait(self.rng.uniform(0.8, 2.0))
            return
        beside = grasp.spot_beside(self.world, thing, container)
        offset = self.world.position(thing) - self.world.tool()
        yield from self.move(
            replace(self.pose, x=beside[0] - offset[0], y=beside[1] - offset[1]), wander=True
        )
        yield from self.put_down(thing)

    def doomed(self, mode: str) -> bool:
        """Whether a failing demonstrator ends its work here, in this way (of `Task.fail_modes`)."""
        at = self.style.fail_job
        return at is not None and self.jobs_done >= at and self.style.fail_mode == mode

    # -- skills ---------------------------------------------------------------------------------------------------

    def pick(self, thing: str, miss: bool = False) -> Iterator[None]:
        """Open, hover, go down, close, lift."""
        yaw = grasp.grasp_yaw(self.world, thing, self.pose, self._failures, self.rng)
        spare = grasp.spare_opening(self.world, thing, self._failures)
        goal, width = grasp.grasp_pose(self.world, thing, yaw, spare)
        # Beside a tall thing the hand must be clear of its top before it moves across.
        low = max(0.08, 2 * grasp.half_height(self.world, thing) + 0.03)
        if self.pose.z < low:
            yield from self.move(replace(self.pose, z=low + 0.01))
        yield from self.move(replace(goal, z=goal.z + HOVER), wander=True)
        goal, width = grasp.grasp_pose(self.world, thing, yaw, spare)
        if miss:
            goal = self._beside(goal, thing)
        yield from self.move(goal, slow=0.75)
        yield from self.grip(max(width - 0.008, 0.0), 0.5)
        yield from self.move(replace(self.pose, z=grasp.carry_height(self.world, thing)), slow=0.9)

    def move_over(self, thing: str, container: str, until: float = 1.0) -> Iterator[None]:
        """Carry the thing over its place in the container, or `until` that fraction of the way."""
        yaw = grasp.bin_yaw(self.world, container, self.pose)
        place = grasp.slot(self.world, thing, container, yaw, self.rng)
        offset = grasp.offset_after_turn(self.world, thing, yaw - self.pose.yaw)
        goal = replace(self.pose, x=place[0] - offset[0], y=place[1] - offset[1], yaw=yaw)
        goal = replace(goal, z=max(goal.z, grasp.carry_height(self.world, thing)))
        yield from self.move(goal, until=until, wander=True)

    def lower(self, thing: str, container: str) -> Iterator[None]:
        """Lower the held thing into the container it is above."""
        drop = self.world.position(thing)[2] - grasp.half_height(self.world, thing) - 0.008
        yield from self.move(replace(self.pose, z=self.pose.z - drop), slow=0.8)

    def let_go(self, thing: str) -> Iterator[None]:
        """Open and rise clear."""
        width = self.world.opening()
        yield from self.grip(width + 0.013, 0.25)
        yield from self.move(replace(self.pose, z=self.pose.z + 0.065))
        for _ in range(4):
            # The arm lags behind what it was told; what comes next depends on the hand being clear.
            if np.linalg.norm(self.world.tool() - self.world.position(thing)) > carry.AWAY:
                break
            yield from self.tick()

    def take_back(self, thing: str) -> Iterator[None]:
        """Bring a held thing from the bin back onto the table."""
        yield from self.move(replace(self.pose, z=grasp.carry_height(self.world, thing)))
        spot = grasp.free_spot(self.world, thing, self.rng)
        offset = self.world.position(thing) - self.world.tool()
        yield from self.move(replace(self.pose, x=spot[0] - offset[0], y=spot[1] - offset[1]), wander=True)
        yield from self.put_down(thing)

    def take(self, thing: str) -> Iterator[None]:
        """Pick a thing up, in another way than the last time if that failed."""
        yield from self.pick(thing)
        self._failures = 0 if carry.held(self.world, thing) else self._failures + 1

    def clear_away(self, thing: str) -> Iterator[None]:
        """Take a thing that is in the way and lay it down elsewhere; returns early when it slips."""
        yield from self.take(thing)
        if carry.held(self.world, thing):
            yield from self.take_back(thing)

    def put_down(self, thing: str, above: float = 0.004) -> Iterator[None]:
        """Lower the held thing to `above` metres over the table, open and rise clear."""
        drop = self.world.position(thing)[2] - grasp.half_height(self.world, thing) - above
        yield from self.move(replace(self.pose, z=self.pose.z - drop))
        yield from self.let_go(thing)

    def detour(self) -> Iterator[None]:
        """Wander off with whatever is in the hand."""
        angle, reach = math.radians(self.rng.uniform(-35, 35)), self.rng.uniform(0.14, 0.22)
        goal = replace(self.pose, x=reach * math.cos(angle), y=reach * math.sin(angle), z=self.pose.z + 0.01)
        yield from self.move(goal)
        yield from self.wait(self.rng.uniform(0.1, 0.6))

    def _run(self) -> Iterator[None]:
        try:
            task = self.env.task
            yield from task.fool(self) if self.style.fooling else task.plan(self)
        except GiveUp:
            still = replace(self.style, stop_at=None)
            self.style = still
            yield from self.wait(self.rng.uniform(0.0, still.linger))

    def _beside(self, goal: Pose, thing: str) -> Pose:
        """A grasp that misses: too high, or next to the thing."""
        if self.rng.random() < 0.5:
            height = grasp.half_height(self.world, thing) + self.rng.uniform(0.018, 0.03)
            return replace(goal, z=goal.z + height)
        away = self.world.things[thing].radius + self.rng.uniform(0.014, 0.02)
        x, y, _ = goal.position + grasp.jaw_axis(goal.yaw - 90) * away * self.rng.choice([-1.0, 1.0])
        return replace(goal, x=float(x), y=float(y))


def make_expert(
    env: object, quality: str = "expert", seed: int = 0, style: Mapping[str, object] | None = None
) -> Expert:
    """An expert for a (possibly wrapped) env; make it, or `reset()` it, after `env.reset`.

    Args:
        env: made by `gymnasium.make("progress/…")`.
        quality: "expert", "hesitant" (slow, pauses), "clumsy" (misses, drops, detours, undoes, recovers) or "failing"
            (ends unfinished), "fooling" (looks done, is not), "varied" (anything between and beyond).
        seed: decides every choice it makes.
        style: fields of `Style` to set, whatever the quality says.

    Raises:
        UserError: there is no such quality or field.
    """
    return Expert(env.unwrapped, quality, seed, style)  # type: ignore[attr-defined]
