"""From hops to what is reported: reconstruction, stages, uncertainty and the calibrated probability of success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_rm.models.base import ProgressTrack
from progress_rm.models.grm.configuration_grm import ESTIMATES
from progress_rm.models.grm.reconstruct import (
    START,
    Hop,
    Reconstruction,
    earlier_moments,
    reconstruct,
)
from progress_rm.models.ticks import new_share

if TYPE_CHECKING:
    from progress_rm.models.grm.configuration_grm import GrmConfig
    from progress_rm.stage_filter import StageEstimate

Array = NDArray[np.float64]

PROGRESS_SAYS = 5.0
"""By how much full progress speaks for success, as a logit. After one demonstration progress ranks the ends of episodes
better than the network's own word on success does, and both together do best; between 5 and 40 it hardly matters."""


@dataclass(frozen=True)
class HopEvidence:
    """What the network says of T moments; each [T, 3]: incremental, forward, backward.

    Attributes:
        mean: of the hop, in [−1, 1].
        std: of the hop.
        done: logit that the task is complete.
    """

    mean: Array
    std: Array
    done: Array

    @classmethod
    def read(cls, logits: Tensor, done: Tensor, values: Tensor) -> HopEvidence:
        """From logits [3T, bins] and [3T], moment after moment."""
        probs = logits.double().softmax(-1)
        mean = probs @ values.double()
        square = probs @ values.double() ** 2
        std = (square - mean**2).clamp(min=0).sqrt()
        return cls(*(x.double().reshape(-1, 3).cpu().numpy() for x in (mean, std, done)))

    @classmethod
    def concatenate(cls, parts: Sequence[HopEvidence]) -> HopEvidence:
        """Join along time."""
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("mean", "std", "done")))

    def step(
        self, t: int, earlier: Reconstruction, last: Reconstruction = START, share: float = 1.0
    ) -> Reconstruction:
        """Progress at moment t, from that at the moment where its incremental hop starts, and one frame ago."""
        incremental, forward, backward = (
            Hop(float(m), float(s)) for m, s in zip(self.mean[t], self.std[t], strict=True)
        )
        # The anchored queries; a hop from a moment ago is not asked whether the task is complete.
        done = float(np.clip(self.done[t, 1:].mean(), -14, 14))
        return reconstruct(earlier, incremental, forward, backward, done, last, share)


def reconstruct_all(config: GrmConfig, evidence: HopEvidence, timestamps: Array) -> list[Reconstruction]:
    """Every frame of an episode."""
    found: list[Reconstruction] = []
    for t, before in enumerate(earlier_moments(timestamps, config.hop_s)):
        earlier = found[before] if before < t else START
        if t:
            share = new_share(float(timestamps[t] - timestamps[t - 1]), config.smooth_s)
            found.append(evidence.step(t, earlier, found[-1], share))
        else:
            found.append(evidence.step(t, earlier))
    return found


Near = Sequence["StageEstimate | None"]
"""What the demonstrations' nearest moments say of each of T moments; None where they say nothing."""


def answer(
    config: GrmConfig, task: int, rows: Sequence[Reconstruction], near: Near, estimate: str = ""
) -> ProgressTrack:
    """What is reported of T moments; `estimate` is by default the config's."""
    progress, variance = blended(config, rows, near, estimate or config.estimate)
    deviation = config.uncertainty_scale * np.sqrt(variance)
    spec = config.tasks[task]
    return ProgressTrack(
        stages=spec.stages,
        progress=progress.astype(np.float32),
        stage_probs=stages_of(progress, deviation, spec.priors).astype(np.float32),
        uncertainty=np.clip(deviation, 0, 1).astype(np.float32),
        success=config.success(task, belief(config, rows, near)).astype(np.float32),
    )


def blended(
    config: GrmConfig, rows: Sequence[Reconstruction], near: Near, estimate: str
) -> tuple[Array, Array]:
    """Progress and its variance, each [T]: the mixture of what hops and, as far as they agree, exemplars say."""
    progress = np.array([row.progress[estimate] for row in rows])
    variance = np.array([row.variance[estimate] for row in rows])
    theirs = np.array(
        [mine if one is None else one.progress for mine, one in zip(progress, near, strict=True)]
    )
    spread = np.array([0.0 if one is None else one.std for one in near])
    apart = (theirs - progress) ** 2
    share = config.exemplar_share * np.exp(-config.exemplar_sharpness * apart)
    share[[one is None for one in near]] = 0.0
    variance = (1 - share) * variance + share * spread**2 + share * (1 - share) * apart
    return (1 - share) * progress + share * theirs, variance


def belief(config: GrmConfig, rows: Sequence[Reconstruction], near: Near) -> Array:
    """How much speaks for the task being complete: a logit, [T]; what the network says of it, and progress."""
    progress, _ = blended(config, rows, near, "smoothed")
    return np.array([row.done for row in rows]) + PROGRESS_SAYS * progress


def stages_of(progress: Array, deviation: Array, priors: Sequence[float]) -> Array:
    """Probability of each stage [T, K]: that progress, normally distributed, lies within the stage's share."""
    edges = np.cumsum(priors)[:-1]
    width = np.maximum(deviation, 0.01)[:, None] * np.sqrt(2)
    z = torch.from_numpy((edges[None] - progress[:, None]) / width)
    below = (0.5 * (1 + torch.erf(z))).numpy()
    ends = np.pad(below, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    probs = np.maximum(np.diff(ends, axis=1), 0)
    return np.asarray(probs / probs.sum(1, keepdims=True))


def mean_square(rows: Sequence[Sequence[Reconstruction]], truth: Sequence[Array]) -> dict[str, float]:
    """Error of every perspective and fusion, each episode alike."""
    return {
        name: float(
            np.mean(
                [
                    np.mean((np.array([r.progress[name] for r in episode]) - true) ** 2)
                    for episode, true in zip(rows, truth, strict=True)
                ]
            )
        )
        for name in ESTIMATES
    }
