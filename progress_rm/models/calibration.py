"""Calibration of success: from any evidence to a probability."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from progress_rm.models.base import ViewModelConfig
from progress_rm.models.wordings import stage_offsets

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class SuccessFit:
    """P(success) = σ(scale·(said − level of the kind of task) + offset).

    Attributes:
        scale: positive.
        offset: log odds where what is said stands at the level.
        levels: by kind of task, how much more its successes say than others'; kinds that are missing have 0.
    """

    scale: float = 1.0
    offset: float = 0.0
    levels: Mapping[Hashable, float] = field(default_factory=dict)

    def probability(self, said: Array, kind: Hashable) -> Array:
        """Of what speaks for success in a task of that kind, any shape."""
        log_odds = self.scale * (said - self.levels.get(kind, 0.0)) + self.offset
        return np.asarray(1 / (1 + np.exp(-log_odds)))


def fit_success(
    said: Array, validation: Sequence[EpisodeFeatures], kinds: Sequence[Hashable], seconds: float = 0.0
) -> SuccessFit:
    """Levels, then `fit_logistic` of what is above them; nothing where only complete or only unfinished frames are.

    It is fitted where an episode could be taken for a success: on frames that are complete, on unfinished ones of the
    last stage (the furthest that episodes of the kind reach), and on every last frame. Those of earlier stages are
    easily told, and by their number would draw the line far below what successes say.

    Args:
        said: what speaks for success, of all frames one after the other, any real numbers.
        validation: the labelled episodes.
        kinds: of task that they show, one an episode.
        seconds: over which `said` is an average.
    """
    labels = [episode.labels for episode in validation if episode.labels is not None]
    values = np.split(said, np.cumsum([len(one.done) for one in labels])[:-1])
    last: dict[Hashable, int] = {}
    for kind, one in zip(kinds, labels, strict=True):
        last[kind] = max(last.get(kind, 0), int(one.stage.max()))
    asked, successes = [], dict[Hashable, list[float]]()
    for kind, episode, one, heard in zip(kinds, validation, labels, values, strict=True):
        kept = settled(one.done, episode.timestamps, seconds) & (one.stage == last[kind])
        kept[-1] = True
        asked.append(kept)
        if (kept & one.done).any():
            successes.setdefault(kind, []).append(float(heard[kept & one.done].mean()))
    levels = random_levels(successes)
    above = [heard - levels.get(kind, 0.0) for kind, heard in zip(kinds, values, strict=True)]
    x = np.concatenate([heard[kept] for heard, kept in zip(above, asked, strict=True)])
    y = np.concatenate([one.done[kept] for one, kept in zip(labels, asked, strict=True)])
    return SuccessFit(*fit_logistic(x, y), levels) if y.any() and not y.all() else SuccessFit()


def random_levels(values: Mapping[Hashable, Sequence[float]]) -> dict[Hashable, float]:
    """How far each group lies from the mean of all, drawn towards it as far as chance can have brought it there.

    A random-effects model, its two variances by the moments of the one-way analysis of variance (Searle, Casella and
    McCulloch 1992, ch. 3), and its best linear prediction: n·between / (n·between + within) of the distance.

    Args:
        values: by group, any numbers, at least one.

    Returns:
        by group; none where no group has two values, or there is only one: then the two variances cannot be told apart.
    """
    groups = {key: np.asarray(found, np.float64) for key, found in values.items()}
    counts = np.array([len(found) for found in groups.values()])
    free = int(counts.sum()) - len(groups)
    if len(groups) < 2 or free < 1:
        return {}
    means = np.array([found.mean() for found in groups.values()])
    everything = np.concatenate([*groups.values()]).mean()
    within = sum(float(((found - found.mean()) ** 2).sum()) for found in groups.values()) / free
    size = (counts.sum() - (counts**2).sum() / counts.sum()) / (len(groups) - 1)
    spread = float((counts * (means - everything) ** 2).sum()) / (len(groups) - 1)
    between = max(0.0, (spread - within) / size)
    if between == 0:
        return {}
    drawn = counts * between / (counts * between + within) * (means - everything)
    return dict(zip(groups, drawn.tolist(), strict=True))


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


@dataclass
class CalibratedConfig(ViewModelConfig):
    """Options of families whose probability of success is calibrated."""

    success_scale: float = 1.0
    """Slope of the calibrated success probability; fitted on the validation episodes."""
    success_offset: float = 0.0
    """Offset of the calibrated success probability; fitted on the validation episodes."""
    success_levels: list[float] = field(default_factory=list)
    """By task, how much more speaks for its successes than for others'; fitted on the validation episodes, 0 for tasks
    that are added later."""

    def success(self, task: int, said: Array) -> Array:
        """Calibrated probability of what speaks for success in a task, [T]."""
        levels: dict[Hashable, float] = dict(enumerate(self.success_levels))
        return SuccessFit(self.success_scale, self.success_offset, levels).probability(said, task)

    def fit_success(self, said: Array, validation: Sequence[EpisodeFeatures], seconds: float = 0.0) -> None:
        """Calibrate; see `fit_success`. Wordings of one task, which share their stages, are of one kind."""
        kinds = stage_offsets(self.tasks)
        shown = [kinds[self.find_task(episode.task)] for episode in validation]
        found = fit_success(said, validation, shown, seconds)
        self.success_scale, self.success_offset = found.scale, found.offset
        self.success_levels = [found.levels.get(kind, 0.0) for kind in kinds]
