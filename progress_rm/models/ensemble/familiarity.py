"""How familiar what a member sees is to it, so that one that has never seen the like says little.

Where light, colours or cameras are new, some features stay what they were and others become something else, and the
model that reads those is as sure as ever. How far features are from those of held-out episodes tells which; it needs
no answer to compare with. The distance is Mahalanobis' with a diagonal covariance (after arXiv 1807.03888).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from progress_rm.models.features import FARTHEST, usable_scale

Features = Mapping[str, NDArray[np.float16]]
"""By view, [T, D]."""

Array = NDArray[np.float64]


class Familiarity(nn.Module):
    """What one member usually sees; everything is familiar until `learn` was called.

    Args:
        dim: length of its encoder's features; 0 where it looks at no image.
        views: those it knows.
    """

    def __init__(self, dim: int, views: Sequence[str]) -> None:
        super().__init__()
        self._views = list(views)
        self.mean: Tensor
        self.scale: Tensor
        self.usual: Tensor
        self.register_buffer("mean", torch.zeros(len(views), dim))
        self.register_buffer("scale", torch.ones(len(views), dim))
        self.register_buffer("usual", torch.tensor(torch.inf))

    def learn(self, episodes: Sequence[Features]) -> None:
        """Take what is usual from held-out episodes, at least two: each is as far from the others as a new one is."""
        moments = [[_Moments.of(e[v]) if v in e else None for v in self._views] for e in episodes]
        every = [reduce(add, filter(None, column), _Moments()) for column in zip(*moments, strict=True)]
        distances = []
        for features, mine in zip(episodes, moments, strict=True):
            others = [a - b if b else a for a, b in zip(every, mine, strict=True)]
            self._describe(others)
            known = [view for view, seen in zip(self._views, others, strict=True) if seen.count]
            distances.append(self._distance({view: features[view] for view in known if view in features}))
        self._describe(every)
        if len(episodes) > 1 and any(len(far) for far in distances):
            self.usual.fill_(max(1.0, float(np.quantile(np.concatenate(distances), 0.95))))

    def _describe(self, moments: Sequence[_Moments]) -> None:
        """Mean and deviation of every feature of the views that were seen."""
        for row, seen in enumerate(moments):
            if seen.count:
                mean = seen.total / seen.count
                variance = np.maximum(seen.squares / seen.count - mean**2, 0)
                scale = usable_scale(np.sqrt(variance), float(np.sqrt(variance.mean() + mean.var())))
                self.mean[row] = torch.from_numpy(mean).to(self.mean)
                self.scale[row] = torch.from_numpy(scale).to(self.scale)

    def weight(self, features: Features, count: int) -> NDArray[np.float64]:
        """What the member's answers to `count` frames count, [count], in (0, 1].

        1 where frames are as near as 95 % of the held-out ones, 1/r² where they are r times as far, squared.
        """
        far = self._distance(features)
        if not len(far) or torch.isinf(self.usual):
            return np.ones(count)
        return np.asarray(np.maximum(far / float(self.usual), 1.0) ** -2)

    def _distance(self, features: Features) -> NDArray[np.float64]:
        """Mean squared deviation of the features, [T]; empty where there are none of the views it knows."""
        found = []
        for row, view in enumerate(self._views):
            if view in features:
                values = torch.from_numpy(features[view].astype(np.float32)).to(self.mean)
                gap = ((values - self.mean[row]) / self.scale[row]).clamp(-FARTHEST, FARTHEST)
                found.append(gap.square().mean(1).double().cpu().numpy())
        return np.mean(found, axis=0) if found else np.zeros(0)


@dataclass(frozen=True)
class _Moments:
    """Number, sum and sum of squares of features, [D]."""

    count: int = 0
    total: Array = field(default_factory=lambda: np.zeros(1))
    squares: Array = field(default_factory=lambda: np.zeros(1))

    @classmethod
    def of(cls, rows: NDArray[np.float16]) -> _Moments:
        values = rows.astype(np.float64)
        return cls(len(values), values.sum(0), (values**2).sum(0))

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def __sub__(self, other: _Moments) -> _Moments:
        return _Moments(self.count - other.count, self.total - other.total, self.squares - other.squares)
