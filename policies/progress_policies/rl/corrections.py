"""From a demonstration to many: what its demonstrator would have done, had the hand been a little elsewhere.

A demonstration says nothing about the places beside it, where a clone soon finds itself (Ross et al. 2011). In a state
of numbers such places can be made up: the hand, with what it holds, is moved, tilted and turned, or the bins stand
elsewhere, and the action leads back to the demonstrated way as well as on along it. Only what the hand does to what it
acts on counts, so the copies hold wherever that lies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from progress_envs.carry import held
from progress_envs.env import DELTA
from progress_policies.rl.episodes import Episode
from progress_policies.rl.world import Decisions, Shift, StateNumbers

COPIES = 32
"""Moments made up beside each demonstrated one."""
HAND, PITCH, YAW, BINS = 0.03, 8.0, 10.0, 0.08
"""Standard deviations at the most: metres, percent, degrees, metres."""
FAST = 0.3
"""Length of an action's first three entries from which on a hand counts as fast."""
FIT = 0.3
"""Least share of the deviations while something is held that goes into a hole, however slow the hand is."""
ORIGINALS = 4
"""How often the demonstration itself counts."""


def with_corrections(
    world: Decisions, episodes: Sequence[Episode], seeds: Sequence[int], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Observations without Φ [N, D] and actions [N, A]: the demonstrations, and what would have led back to them.

    The scenes are lived again with the actions that were taken. Where the policy does not see numbers that can be
    shifted, these are the demonstrations alone.

    Args:
        world: an env like the one that the demonstrations were given in.
        episodes: the demonstrations.
        seeds: their scenes.
        seed: of what is made up.
    """
    seen = [episode.columns["seen"] for episode in episodes]
    actions = [episode.columns["action"] for episode in episodes]
    if not isinstance(world.numbers, StateNumbers):
        return np.concatenate(seen), np.concatenate(actions)
    rng = np.random.default_rng(seed)
    # What +1 of an action's first five entries amounts to over a decision.
    reach = np.array(DELTA) * world.repeat / world.scene.fps
    places, corrected = [], []
    for episode, scene in zip(episodes, seeds, strict=True):
        world.reset(seed=scene)
        for action in episode.columns["action"]:
            now = {
                "agent_pos": world.scene.world.joints().astype(np.float32),
                "environment_state": world.scene.environment_state(),
            }
            # Where a hand is slow, it must be where it is: jaws close on nothing two centimetres away.
            loose = min(1.0, float(np.linalg.norm(action[:3])) / FAST)
            if world.numbers.holes and any(held(world.scene.world, t) for t in world.scene.world.things):
                loose = max(loose, FIT)
            for _ in range(COPIES):
                size = loose * rng.random()
                shift = Shift(
                    size * HAND * rng.normal(size=3),
                    size * PITCH * rng.normal(),
                    size * YAW * rng.normal(),
                    BINS * rng.normal(size=2),
                    rng.uniform(-45, 45) if world.numbers.holes else 0.0,
                )
                back = np.array([*shift.hand, shift.pitch, shift.yaw]) / reach
                places.append(world.numbers(now, shift))
                corrected.append(np.clip(action - np.append(back, 0.0), -1, 1))
            world.step(action)
    return (
        np.concatenate([*seen * ORIGINALS, np.array(places, np.float32)]),
        np.concatenate([*actions * ORIGINALS, np.array(corrected, np.float32)]),
    )
