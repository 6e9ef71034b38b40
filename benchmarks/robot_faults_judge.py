"""Judges of the fault campaign: they know the simulator's record and the files, and nothing that the loop says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_envs.arm import HIGH, JOINTS, LOW

REACTION_MS = 200.0
STILL = 5.0
"""Degrees (or hundredths of the gripper's opening) a second below which a joint stands still."""

BEYOND = 1.0
"""How far a joint may be pressed into its mechanical stop, which is soft in the simulator, in degrees."""

_OVER = 5
"""Rows over which speed is measured: 25 ms."""

_FOR = 20
"""Rows for which a joint must stand still: 100 ms."""


@dataclass(frozen=True)
class Judgement:
    """What the record shows.

    Attributes:
        reaction_ms: from the moment at which the fault was noticed until the arm held or was let go; None if never.
        complaints: what was not safe.
        moved: whether a joint turned by more than 10 degrees for the policy before the fault was noticed.
    """

    reaction_ms: float | None
    complaints: list[str]
    moved: bool = True


def judge_motion(
    trace: NDArray[np.float64], noticed: float, reachable: bool = True, since: float | None = None
) -> Judgement:
    """What a record says of a run.

    Args:
        trace: [N, 13] time, six positions, six times whether the servo pulls; every 5 ms.
        noticed: when the fault was noticed, in the record's time.
        reachable: whether the motors can be told to let go.
        since: when the policy was first obeyed; None if never.
    """
    times, joints, torque = trace[:, 0], trace[:, 1:7], trace[:, 7:] > 0.5
    complaints = []
    beyond = np.maximum(LOW - joints, joints - HIGH).max(axis=0)
    for k in np.flatnonzero(beyond > BEYOND):
        complaints.append(f"{JOINTS[k]} was {beyond[k]:.1f} beyond its limit")
    if not torque.any():
        complaints.append("the motors were never on, so nothing was tested")
    if torque[-1].any() and reachable:
        complaints.append("the motors are still on")
    reaction = reaction_ms(times, joints, torque, noticed)
    if reaction is None or reaction > REACTION_MS:
        complaints.append(f"reaction {'never' if reaction is None else f'{reaction:.0f} ms'}")
    driven = joints[(times >= (np.inf if since is None else since)) & (times < noticed)]
    moved = len(driven) > 0 and bool(np.ptp(driven, axis=0).max() > 10)
    return Judgement(reaction, complaints, moved)


def reaction_ms(
    times: NDArray[np.float64], joints: NDArray[np.float64], torque: NDArray[np.bool_], noticed: float
) -> float | None:
    """Milliseconds from `noticed` until every joint stands still for a while, or has no torque."""
    speed = np.zeros_like(joints)
    steps = np.maximum(times[_OVER:] - times[:-_OVER], 1e-6)[:, None]
    speed[:-_OVER] = np.abs(joints[_OVER:] - joints[:-_OVER]) / steps
    quiet = ((speed < STILL) | ~torque).all(axis=1)
    first = int(np.searchsorted(times, noticed))
    # Nothing is known of what comes after the record.
    for row in range(first, len(times) - _FOR - _OVER + 1):
        stretch = slice(row, row + _FOR)
        if quiet[stretch].all():
            return max(0.0, 1000 * float(times[row] - noticed))
    return None


def read_episodes(root: Path) -> tuple[int, list[str]]:
    """How many episodes of a dataset can be read to the last frame, and what is wrong with others."""
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.scores import DEFAULT_NAME, read_scores

    try:
        dataset = EpisodeDataset(root)
        scores = read_scores(root / DEFAULT_NAME, dataset)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the episodes are lost
        return 0, [f"{type(error).__name__}: {error}"]
    complaints = []
    good = 0
    for episode in range(dataset.num_episodes):
        problem = _problem(dataset, episode)
        if problem is None and episode not in scores.episodes:
            problem = "has no scores"
        if problem is None:
            good += 1
        else:
            complaints.append(f"episode {episode}: {problem}")
    return good, complaints


def _problem(dataset: Any, episode: int) -> str | None:
    try:
        length = dataset.length(episode)
        for column in ("observation.state", "action"):
            if not np.isfinite(dataset.column(column, episode)).all():
                return f"{column} is not finite"
        for view in dataset.views:
            frames = sum(1 for _ in dataset.frames(episode, view))
            if frames != length:
                return f"{view} has {frames} frames of {length}"
    except Exception as error:  # noqa: BLE001 -- whatever it is, the episode is lost
        return f"{type(error).__name__}: {error}"
    return None
