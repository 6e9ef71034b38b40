"""The formula of shaping, and the three ways to get it wrong that are kept for comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from progress_datasets.errors import UserError

MODES = ("policy_invariant", "sparse", "difference", "additive")
"""What a reward is made of: r + γΦ′ − Φ; r alone; r + Φ′ − Φ; r + Φ′. Only the first two leave the optimum alone."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shaping:
    """How progress enters the reward (Ng, Harada & Russell 1999; terminal states: Grześ 2017).

    >>> shaping = Shaping(gamma=0.9)
    >>> float(shaping.reward(0.0, before=0.2, after=0.5, terminated=False).round(3))
    0.25
    >>> float(shaping.reward(1.0, before=0.5, after=1.0, terminated=True))
    0.5

    Attributes:
        gamma: the learner's own discount for one step, in (0, 1]. It has no default: with another one than the
            learner's, the best policy changes.
        mode: one of `MODES`.
        scale: Φ is this many times the progress; one number for the whole training, never a running one.
        shift: added to progress before scaling, the same everywhere (Müller & Kudenko 2025); Φ ≔ 0 at terminal states
            stays, so −1 makes every step before success cost a little and the end free.
        caution: Φ uses progress − caution · uncertainty, a lower confidence bound.

    Raises:
        UserError: a number is out of range, or there is no such mode.
    """

    gamma: float
    mode: str = "policy_invariant"
    scale: float = 1.0
    shift: float = 0.0
    caution: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise UserError(f"gamma={self.gamma}: give the learner's own discount, above 0 and at most 1")
        if self.mode not in MODES:
            raise UserError(f"mode='{self.mode}' is unknown; choose one of {', '.join(MODES)}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise UserError(f"scale={self.scale}: give a positive number")
        if not math.isfinite(self.shift):
            raise UserError(f"shift={self.shift}: give a finite number")
        if not (math.isfinite(self.caution) and self.caution >= 0):
            raise UserError(f"caution={self.caution}: give 0 or more standard deviations")

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and greatest potential."""
        return self.scale * self.shift, self.scale * (1 + self.shift)

    def potential(self, progress: ArrayLike, uncertainty: ArrayLike = 0.0) -> Floats:
        """Φ of any shape: the bound on progress clamped to [0, 1], shifted, scaled.

        Raises:
            ValueError: progress or uncertainty is not finite; nothing is made up for what is missing.
        """
        bound = np.asarray(progress, np.float64) - self.caution * np.asarray(uncertainty, np.float64)
        if not np.isfinite(bound).all():
            raise ValueError(f"progress {progress!r} or its uncertainty {uncertainty!r} is not finite")
        return np.asarray(self.scale * (np.clip(bound, 0, 1) + self.shift))

    def extra(
        self, before: ArrayLike, after: ArrayLike, terminated: ArrayLike, steps: ArrayLike = 1
    ) -> Floats:
        """F, what is added to the task's reward; all arguments broadcast.

        Args:
            before: Φ where the step, or the chunk of steps, began.
            after: Φ where it ended; of the final observation where an episode was cut short, and never that of the
                next episode's first.
            terminated: whether the task ended there, in success or failure; a time limit does not count.
            steps: k, how many steps the chunk lasted; the reward that F is added to is Σ γⁱ rᵢ over them.
        """
        now, then = np.asarray(before, np.float64), np.asarray(after, np.float64)
        if self.mode == "sparse":
            return np.zeros(np.broadcast_shapes(now.shape, then.shape))
        if self.mode == "difference":
            return np.asarray(then - now)
        if self.mode == "additive":
            return np.asarray(then + 0 * now)
        return np.asarray(np.power(self.gamma, steps) * np.where(terminated, 0.0, then) - now)

    def reward(
        self,
        reward: ArrayLike,
        before: ArrayLike,
        after: ArrayLike,
        terminated: ArrayLike,
        steps: ArrayLike = 1,
    ) -> Floats:
        """r + F, never clamped; see `extra`."""
        return np.asarray(np.asarray(reward, np.float64) + self.extra(before, after, terminated, steps))


def bootstrap_discount(gamma: float, start: float, done: float) -> float:
    """The discount of what the critic expects after a step: `start` at first, γ from `done` = 1 on.

    Heuristic-guided RL (Cheng et al. 2021, eq. 2) learns r + (1 − λ)γΦ′ with discount λγ. Less Φ, its value function is
    that of the shaped reward r + γΦ′ − Φ with the same shorter discount: so shaping keeps γ and only bootstrapping is
    shortened. While it is, Φ stands in for what comes later and the best policy may differ; at γ it is the true one.

    Args:
        gamma: the learner's discount.
        start: the discount to begin with, in [0, γ].
        done: share of the annealing that is over; beyond 1 is 1.

    Raises:
        UserError: `start` is not in [0, γ].
    """
    if not 0 <= start <= gamma:
        raise UserError(f"the bootstrap discount {start} must be between 0 and gamma={gamma}")
    return gamma if done >= 1 else start + (gamma - start) * max(done, 0.0)
