"""From hops to progress: three perspectives, and three ways to fuse them (Robo-Dopamine, arXiv 2512.23703).

Forward: from the first frame, where progress is 0. Backward: from the goal, where it is 1. Incremental: from a moment
`hop_s` ago, adding hop to hop. The first two do not drift, the last does not care how far the anchors are. Everything
is done a moment at a time, so that a live stream and a whole episode give the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from progress_rm.models.grm.configuration_grm import ESTIMATES
from progress_rm.models.grm.hops import advance

SHARPNESS = 20.0
"""How fast trust falls when forward and backward disagree: w = exp(−20 Δ²)."""

_EPS = 1e-6


@dataclass(frozen=True)
class Hop:
    """A distribution over hops, by its mean in [−1, 1] and standard deviation."""

    mean: float
    std: float


@dataclass(frozen=True)
class Reconstruction:
    """Progress at one moment, from every perspective and by every fusion.

    Attributes:
        progress: by name (`ESTIMATES`), in [0, 1].
        variance: of the same.
        done: how much speaks for the task being complete: a logit, averaged like the smoothed mean.
    """

    progress: Mapping[str, float]
    variance: Mapping[str, float]
    done: float = 0.0


START = Reconstruction(dict.fromkeys(ESTIMATES, 0.0), dict.fromkeys(ESTIMATES, 0.0))
"""Before the first frame nothing is done."""


def reconstruct(
    earlier: Reconstruction,
    incremental: Hop,
    forward: Hop,
    backward: Hop,
    done: float = 0.0,
    last: Reconstruction = START,
    share: float = 1.0,
) -> Reconstruction:
    """One moment.

    Incremental Φ_I = Φ_I' + ΔΦ with ΔΦ = (1−Φ_I')H if H ≥ 0 else Φ_I'H; forward Φ_F = H(first, now); backward
    Φ_B = 1 + H(goal, now); mean = (Φ_I + Φ_F + Φ_B)/3. Consistency: with Φ̄ = (Φ_F + Φ_B)/2,
    Δ = |Φ_B − Φ_F|/(Φ̄ + ε) and w = exp(−20Δ²), Φ* = Φ*' + (w/2)(Φ̄ − Φ*' + ΔΦ). All clipped to [0, 1]. Smoothed, not
    in the paper: the mean, averaged exponentially over the frames before; what is asked of one picture has noise that
    the next one does not share.

    A fusion's variance is that of the mixture of the three: how unsure each is, and how far they are from it.

    Args:
        earlier: the reconstruction at the moment that the incremental hop starts from.
        incremental: the hop from that moment to now.
        forward: the hop from the first frame to now.
        backward: the hop from the goal to now.
        done: how much this moment speaks for the task being complete: a logit.
        last: the reconstruction one frame ago.
        share: how much of an average is new; see `new_share`.
    """
    before = earlier.progress["incremental"]
    values = {
        "incremental": _advanced(before, incremental.mean),
        "forward": float(np.clip(forward.mean, 0, 1)),
        "backward": float(np.clip(1 + backward.mean, 0, 1)),
    }
    values["mean"] = sum(values.values()) / 3
    values["smoothed"] = last.progress["smoothed"] + share * (values["mean"] - last.progress["smoothed"])
    smooth = earlier.progress["consistency"]
    middle = (values["forward"] + values["backward"]) / 2
    trust = float(np.exp(-SHARPNESS * ((values["backward"] - values["forward"]) / (middle + _EPS)) ** 2))
    step = _advanced(smooth, incremental.mean) - smooth
    values["consistency"] = float(np.clip(smooth + trust / 2 * (middle - smooth + step), 0, 1))

    kept = 1 - abs(incremental.mean)
    reach = 1 - before if incremental.mean >= 0 else before
    spread = {
        "incremental": kept**2 * earlier.variance["incremental"] + (reach * incremental.std) ** 2,
        "forward": forward.std**2,
        "backward": backward.std**2,
    }
    within = sum(spread.values()) / 3
    for fusion in ESTIMATES[3:]:
        apart = [(values[name] - values[fusion]) ** 2 for name in ("incremental", "forward", "backward")]
        spread[fusion] = within + sum(apart) / 3
    return Reconstruction(values, spread, last.done + share * (done - last.done))


def earlier_moments(timestamps: NDArray[np.float64], hop_s: float) -> NDArray[np.int64]:
    """For each frame, the last one at least `hop_s` before it (half a frame period less), or the first: int64 [T]."""
    period = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else hop_s
    slack = min(period / 2, hop_s / 2)
    found = np.searchsorted(timestamps, timestamps - hop_s + slack - 1e-4, side="right") - 1
    return np.asarray(np.clip(found, 0, np.arange(len(timestamps))), dtype=np.int64)


def _advanced(progress: float, hop: float) -> float:
    return float(advance(np.float64(progress), np.float64(hop)))  # type: ignore[arg-type]
