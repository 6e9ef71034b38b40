"""A Gaussian for each step, over the features that tell the steps apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHARPNESS = 16.0
"""The log likelihood of a moment is the mean over its features, times this: features of one picture go together."""
FLOOR = 0.3
"""Least standard deviation, as a share of the feature's own over all moments."""
RIDGE = 10.0
"""Strength of the ridge that keeps the regression of the position from following noise."""


class StepGaussians(nn.Module):
    """Of one task: which of F features matter, what they are in each of K steps, and where in the step they say we are.

    After Sermanet et al. 2016 (arXiv 1612.06699), section 2.2: for each step the features are kept whose means within
    and without the step differ most for their spread, |μ⁺ − μ⁻| / (σ⁺ + σ⁻), and they are independent Gaussians. So
    that steps can be compared, each is asked about the features of all. The position within a step is a ridge
    regression on the same features. Everything is counted: there are no gradients.
    """

    chosen: Tensor
    mean: Tensor
    std: Tensor
    slope: Tensor
    offset: Tensor
    spread: Tensor

    def __init__(self, steps: int, features: int) -> None:
        super().__init__()
        self.register_buffer("chosen", torch.zeros(features, dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(steps, features))
        self.register_buffer("std", torch.ones(steps, features))
        self.register_buffer("slope", torch.zeros(steps, features))
        self.register_buffer("offset", torch.full((steps,), 0.5))
        self.register_buffer("spread", torch.full((steps,), 0.3))

    def fit(self, rows: Tensor, there: Tensor, step: Tensor, within: Tensor, selected: int) -> None:
        """Count.

        Args:
            rows: float [N, F], standardised features of moments.
            there: bool [N, F], which of them were seen.
            step: int [N], in [0, K).
            within: float [N], position in the step, in [0, 1].
            selected: features to choose for each step.
        """
        everywhere = _spread(rows, there)[1]
        for k in range(len(self.mean)):
            inside = there & (step == k)[:, None]
            mean, std = _spread(rows, inside)
            other_mean, other_std = _spread(rows, there & (step != k)[:, None])
            known = inside.any(0) & (everywhere > 1e-6)
            apart = (mean - other_mean).abs() / (std + other_std + 0.1 * everywhere + 1e-6)
            best = torch.where(known, apart, -1.0).topk(min(selected, len(apart))).indices
            self.chosen[best[known[best]]] = True
            self.mean[k] = mean
            self.std[k] = torch.maximum(std, FLOOR * everywhere + 1e-3)
        for k in range(len(self.mean)):
            self._fit_position(k, rows[step == k] * there[step == k], within[step == k])

    def _fit_position(self, k: int, rows: Tensor, within: Tensor) -> None:
        x = ((rows - self.mean[k]) / self.std[k])[:, self.chosen].clamp(-4, 4).double()
        y = within.double()
        centred = x - x.mean(0)
        # In the dual, as there are fewer moments than features.
        gram = (
            centred @ centred.T
            + RIDGE * torch.eye(len(x), dtype=torch.float64, device=x.device) * len(x) / 10
        )
        slope = centred.T @ torch.linalg.solve(gram, y - y.mean())
        self.slope[k] = 0.0
        self.slope[k, self.chosen] = slope.float()
        self.offset[k] = float(y.mean() - x.mean(0) @ slope)
        self.spread[k] = float((x @ slope + self.offset[k].double() - y).std(unbiased=False)) + 0.05

    def forward(self, rows: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Evidence of N moments.

        Args:
            rows: float [N, F].
            there: bool [N, F]; what is not there says nothing.

        Returns:
            log probabilities of the steps [N, K], each as frequent as the others; positions [N, K], in [0, 1]; and
            their standard deviations [N, K].
        """
        asked = (there & self.chosen)[:, None]
        gap = (rows[:, None] - self.mean) / self.std
        # One feature that was never seen like this may not outvote all others.
        likelihood = -0.5 * gap.clamp(-4, 4) ** 2 - self.std.log()
        count = asked.sum(-1).clamp(min=1)
        log_probs = (SHARPNESS * (likelihood * asked).sum(-1) / count).log_softmax(-1)
        within = (gap.clamp(-4, 4) * asked * self.slope).sum(-1) + self.offset
        return log_probs, within.clamp(0, 1), self.spread.expand(len(rows), -1)


def _spread(rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column where the mask is set; 0 and 0 where it never is."""
    count = mask.sum(0).clamp(min=1)
    mean = (rows * mask).sum(0) / count
    return mean, (((rows - mean) ** 2 * mask).sum(0) / count).sqrt()
