"""Calibration of success: from any evidence to a probability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from progress_rm.data import EpisodeFeatures

Array = NDArray[np.float64]


def logit(p: ArrayLike) -> Array:
    """Log odds of probabilities, which are kept one millionth away from 0 and 1."""
    p = np.clip(np.asarray(p, dtype=np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p) - np.log1p(-p))


def settled(done: NDArray[np.bool_], timestamps: Array, seconds: float) -> NDArray[np.bool_]:
    """Frames [T] to calibrate an average over so many seconds on: without those where it cannot have noticed yet.

    These are the first `seconds` in which the task is complete; the last frame stays.
    """
    kept = np.ones(len(done), dtype=np.bool_)
    if done.any():
        kept[done] = timestamps[done] >= timestamps[done.argmax()] + seconds
        kept[-1] = True
    return kept


def fit_success(
    said: Array, validation: Sequence[EpisodeFeatures], seconds: float = 0.0
) -> tuple[float, float]:
    """`fit_logistic` on labelled episodes; (1, 0) where only complete or only unfinished frames are among them.

    It is fitted where an episode could be taken for a success: on frames that are complete, on unfinished ones of the
    last stage (the furthest that an instruction's episodes reach), and on every last frame. Those of earlier stages
    are easily told, and by their number would draw the line far below what successes say.

    Args:
        said: what speaks for success, of all their frames one after the other, any real numbers.
        validation: the episodes.
        seconds: over which `said` is an average.
    """
    labelled = [
        (episode.task, episode.labels, episode.timestamps)
        for episode in validation
        if episode.labels is not None
    ]
    last: dict[str, int] = {}
    for task, labels, _ in labelled:
        last[task] = max(last.get(task, 0), int(labels.stage.max()))
    asked = []
    for task, labels, timestamps in labelled:
        kept = settled(labels.done, timestamps, seconds) & (labels.stage == last[task])
        kept[-1] = True
        asked.append(kept)
    kept, done = np.concatenate(asked), np.concatenate([labels.done for _, labels, _ in labelled])
    x, y = said[kept], done[kept]
    return fit_logistic(x, y) if y.any() and not y.all() else (1.0, 0.0)


def fit_logistic(x: Array, y: NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and offset of P(y | x) = σ(scale·x + offset), by maximum likelihood with Platt's (1999) smoothed targets.

    Both kinds count as much together: what is asked in the end is whether an episode succeeded, which is about as
    common as failure, while one frame in twenty shows a task that is complete.

    Args:
        x: [N], any real numbers.
        y: bool [N], both values present.

    Returns:
        scale (positive: more evidence never means less success) and offset.
    """
    import torch

    positives, negatives = int(y.sum()), int((~y).sum())
    target = torch.from_numpy(np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2)))
    share = torch.from_numpy(np.where(y, 0.5 / positives, 0.5 / negatives))
    value = torch.from_numpy(np.asarray(x, dtype=np.float64))
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logit = weights[0].exp() * value + weights[1]
        misfit = torch.nn.functional.binary_cross_entropy_with_logits(logit, target, share, reduction="sum")
        loss = misfit + 1e-4 * weights[0] ** 2
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    log_scale, offset = weights.detach().tolist()
    return float(np.exp(log_scale)), float(offset)
