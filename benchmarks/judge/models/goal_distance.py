"""Progress as nearness to the goal in feature space: the way of XIRL and VIP, written by us."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from judge.adapter import Budget, Material, PerTask, Raw, labels_of
from progress_rm.data import EpisodeFeatures

BATCH = 64
_KNOTS = 64
"""Points that the map from distance to progress is kept at."""


class GoalDistanceModel(nn.Module):
    """‖e(frame) − goal‖ as a share of the first frame's, mapped to progress by a monotone curve."""

    def __init__(self, views: Sequence[str], dim: int, embedding: str) -> None:
        super().__init__()
        self.views = list(views)
        width = dim * len(self.views)
        self.mean: Tensor
        self.scale: Tensor
        self.goal: Tensor
        self.curve: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        out = 64 if embedding == "vip" else width
        self.register_buffer("goal", torch.zeros(out))
        self.register_buffer("curve", torch.zeros(2, _KNOTS))
        self.embed: nn.Module = nn.Identity()
        if embedding == "vip":
            self.embed = nn.Sequential(nn.Linear(width, 128), nn.GELU(), nn.Linear(128, 64))

    def forward(self, features: Tensor) -> Tensor:
        """[N, width] → [N, out]."""
        out: Tensor = self.embed(((features - self.mean) / self.scale).clamp(-8, 8))
        return out

    @torch.no_grad()
    def distance(self, features: Tensor) -> NDArray[np.float64]:
        """[T]: 1 at the first frame, 0 at the goal."""
        away = (self(features) - self.goal).norm(dim=1)
        return np.asarray((away / away[0].clamp(min=1e-6)).double().numpy())

    def rows(self, episode: EpisodeFeatures) -> Tensor:
        """Features of all views side by side, float [T, width]."""
        joined = np.concatenate([episode.features[view] for view in self.views], axis=1)
        return torch.from_numpy(joined.astype(np.float32))


class GoalDistance(PerTask[GoalDistanceModel]):
    """The goal is the mean of the last frames of the successful demonstrations, of all views."""

    name = "goal_distance"
    about = (
        "Distance to the mean goal frame of the successes, relative to the first frame's, in the shared features "
        "(XIRL's reward) or in an embedding trained on them with VIP's objective, one a task; chosen on validation, "
        "as is the learning rate. Written by us. A monotone curve fitted to the annotations turns distance into "
        "progress, which neither method has."
    )
    axes: Mapping[str, Any] = {
        "embedding": ["shared", "vip"],
        "views": ["all", "front", "top", "wrist"],
        "learning_rate": [1e-3, 1e-4],
    }

    def fit_task(
        self, material: Material, options: Mapping[str, Any], budget: Budget, seed: int, folder: Path
    ) -> GoalDistanceModel:
        """Embed, take the goal, fit the curve."""
        views = list(material.views) if options["views"] == "all" else [options["views"]]
        views = [view for view in views if view in material.views] or list(material.views)
        model = GoalDistanceModel(views, material.encoder.dim, options["embedding"])
        weights = folder / "model.safetensors"
        if not weights.exists():
            folder.mkdir(parents=True, exist_ok=True)
            torch.manual_seed(seed)
            rows = [model.rows(e) for e in material.training]
            everything = torch.cat(rows)
            model.mean.copy_(everything.mean(0))
            model.scale.copy_(everything.std(0).clamp(min=1e-3 + 0.05 * float(everything.std())))
            good = [r for r, e in zip(rows, material.training, strict=True) if labels_of(e).done.any()]
            if options["embedding"] == "vip":
                train_vip(model, good, options["learning_rate"], budget.samples, seed)
            with torch.no_grad():
                model.goal.copy_(torch.cat([model(r[-3:]) for r in good]).mean(0))
            near = np.concatenate([-model.distance(r) for r in rows])
            curve = monotone(near, np.concatenate([labels_of(e).progress for e in material.training]))
            model.curve.copy_(torch.from_numpy(curve))
            save_file(model.state_dict(), weights.with_suffix(".part"))
            weights.with_suffix(".part").replace(weights)
        model.load_state_dict(load_file(weights))
        return model.eval()

    def ask_model(self, model: GoalDistanceModel, episode: EpisodeFeatures) -> Raw:
        """Distance, through the curve; success is as likely as the goal is near."""
        distance = model.distance(model.rows(episode))
        at, value = model.curve.double().numpy()
        return Raw(np.interp(-distance, at, value), np.exp(-2 * distance))


def train_vip(
    model: GoalDistanceModel, videos: Sequence[Tensor], learning_rate: float, samples: int, seed: int
) -> None:
    """VIP's objective (arXiv 2210.00030, algorithm 1) with V(o; g) = −‖e(o) − e(g)‖ and γ = 0.98.

    (1 − γ) E[−V(o_0; g)] + log E[exp(−r − γ V(o_{k+1}; g) + V(o_k; g))] over sub-videos o_0 … g, where r = −1 for
    every step short of the goal.
    """
    gamma, rng = 0.98, np.random.default_rng(seed)
    steps = max(1, samples // BATCH)
    optimizer = torch.optim.AdamW(model.embed.parameters(), lr=learning_rate, weight_decay=0.01)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * 0.5 * (1 + np.cos(np.pi * step / steps))
        picked: list[list[Tensor]] = [[], [], [], []]
        for which in rng.integers(len(videos), size=BATCH):
            video = videos[which]
            first, last = np.sort(rng.choice(len(video), 2, replace=False))
            now = int(rng.integers(first, last))
            for place, frame in zip(picked, (first, now, now + 1, last), strict=True):
                place.append(video[frame])
        start, here, then, goal = (model(torch.stack(rows)) for rows in picked)

        def value(frame: Tensor, goal: Tensor = goal) -> Tensor:
            return -(frame - goal).norm(dim=1)

        surprise = 1 - gamma * value(then) + value(here)
        loss = (1 - gamma) * -value(start).mean() + surprise.logsumexp(0) - np.log(BATCH)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.embed.parameters(), 1.0)
        optimizer.step()


def monotone(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float32]:
    """The increasing curve nearest to y(x), by pooling adjacent violators: [2, knots], evenly in x's ranks."""
    order = np.argsort(x, kind="stable")
    values: list[float] = []
    weights: list[int] = []
    for v in y[order]:
        values.append(float(v))
        weights.append(1)
        while len(values) > 1 and values[-2] >= values[-1]:
            total = weights[-2] + weights[-1]
            values[-2] = (values[-2] * weights[-2] + values[-1] * weights[-1]) / total
            weights[-2] = total
            values.pop()
            weights.pop()
    fitted = np.repeat(values, weights)
    places = np.linspace(0, len(fitted) - 1, _KNOTS).round().astype(int)
    return np.stack([np.asarray(x)[order][places], fitted[places]]).astype(np.float32)
