"""Two ways to let weights decide what a policy learns: by how often a frame is drawn, or by how much its loss counts.

Both have the same expected gradient, that of Σ wᵢ lᵢ / Σ wᵢ. Drawing needs nothing from the policy, so it works with
all of them, and spends no step on frames of weight 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from lerobot.datasets import EpisodeAwareSampler
from numpy.typing import NDArray
from torch import Tensor


class WeightedFrameSampler(EpisodeAwareSampler):
    """LeRobot's sampler, drawing each frame in proportion to its weight.

    An epoch has as many draws as before. They are resampled systematically: a frame that should come 2.3 times comes
    2 or 3 times, never 0 or 5. With equal weights every frame comes once, in the very order of LeRobot's own sampler.
    The order follows from (seed, epoch), so resuming goes on with the same frames.

    Args:
        weights: [N] of all frames of the dataset, by their index in it; at least 0, not all 0.
        arguments, options: as `EpisodeAwareSampler` takes them.

    Raises:
        ValueError: a weight is negative or not finite, or those of the frames in use are all 0.
    """

    def __init__(self, weights: NDArray[np.floating[Any]], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        lengths = np.diff(self._cum_lengths, prepend=0)
        within = np.arange(self._num_frames) - np.repeat(self._cum_lengths - lengths, lengths)
        used = np.asarray(weights, dtype=np.float64)[np.repeat(self._starts, lengths) + within]
        if not np.isfinite(used).all() or (used < 0).any() or not used.any():
            raise ValueError("weights must be finite, at least 0, and not all 0")
        self._cumulative = np.cumsum(used / used.mean())

    def _iter_epoch(self, epoch: int, start: int) -> Iterator[int]:
        generator = self._epoch_generator(epoch)
        order = torch.randperm(self._num_frames, generator=generator).numpy()
        offset = float(torch.rand((), generator=generator, dtype=torch.float64))
        drawn = resample(self._cumulative, offset)
        for k in range(start, self._num_frames):
            yield self._frame_index(int(drawn[order[k]]))


def resample(cumulative: NDArray[np.float64], offset: float) -> NDArray[np.int64]:
    """Systematic resampling: N draws from N items, int64 [N] in rising order; item i comes ⌊wᵢ⌋ or ⌈wᵢ⌉ times.

    Args:
        cumulative: [N] running sums of weights whose mean is 1.
        offset: in [0, 1), the only randomness; over it, item i comes wᵢ times on average.
    """
    points = (np.arange(len(cumulative)) + offset) * (cumulative[-1] / len(cumulative))
    places = np.searchsorted(cumulative, points, side="right")
    return np.asarray(np.minimum(places, len(cumulative) - 1), dtype=np.int64)


def has_sample_losses(policy: object) -> bool:
    """Whether the policy can say the loss of each sample: `forward(batch, reduction="none")`."""
    return "reduction" in inspect.signature(type(policy).forward).parameters  # type: ignore[attr-defined]


def weigh_losses(
    forward: Callable[..., tuple[Tensor, dict[str, Any] | None]], weights: NDArray[np.floating[Any]]
) -> Callable[..., tuple[Tensor, dict[str, Any] | None]]:
    """A policy's `forward` whose loss is the mean of wᵢ lᵢ over the batch, weights scaled to mean 1 over all frames.

    LeRobot divides by the weights of the batch instead. That gives a frame more say in a batch of bad ones, so its
    expectation depends on the batch size.

    Args:
        forward: takes `reduction="none"` and then answers losses [B].
        weights: [N] of all frames, by their index in the dataset, which the batch names under "index".
    """
    scaled = torch.from_numpy(np.asarray(weights / np.mean(weights), dtype=np.float32))

    def weighted(batch: dict[str, Any], **options: Any) -> tuple[Tensor, dict[str, Any] | None]:
        losses, info = forward(batch, reduction="none", **options)
        chosen = scaled[batch["index"].cpu()].to(losses.device)
        return (losses * chosen).mean(), info

    return weighted
