"""Exemplar head: a vote of nearest neighbours among the demonstrations' frames, view by view and block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn


class StageEvidence(NamedTuple):
    """What one frame says: log probabilities of the stage [B, K], and given each stage the position in it [B, K]."""

    stage_log_probs: Tensor
    tau: Tensor
    tau_std: Tensor


@dataclass(frozen=True)
class ExemplarConfig:
    """How the neighbours are found and how the experts are pooled.

    Attributes:
        components: principal components kept of each block.
        whitening: exponent, 0 for plain PCA, 1 for unit variance.
        temperature: width of the kernel, as a share of the median squared distance in the memory.
        floor: uniform share of each expert's vote, so that no expert has a veto.
        power: exponent of the product of the experts' votes; 0 for 1/√(number of experts).
        memory: most frames kept; the rest is thinned evenly.
    """

    components: int = 48
    whitening: float = 0.5
    temperature: float = 0.05
    floor: float = 0.1
    power: float = 0.0
    memory: int = 6000


class ExemplarHead(nn.Module):
    """Soft nearest neighbours: one expert for each view and each block of the feature vector.

    An expert sees one block of one view (edges of the left wrist camera, say), compares it by PCA distance with the
    same block of the remembered frames, and votes with their stages. The votes are multiplied. Seen together, a moved
    object spoils every comparison; apart, it spoils a few of the experts. Everything is a buffer, so it is saved with
    the model.

    Input [B, V, D] holds features of one moment; `present` [B, V] says which views there are.
    """

    mean: Tensor
    projection: Tensor
    memory: Tensor
    scale: Tensor
    known: Tensor
    votes: Tensor
    tau: Tensor

    def __init__(
        self,
        num_stages: int,
        views: int,
        blocks: Sequence[int],
        rows: int,
        config: ExemplarConfig | None = None,
    ) -> None:
        """An empty head, ready for `load_state_dict`; `fit` makes a useful one.

        Args:
            num_stages: K.
            views: V.
            blocks: widths of the consecutive blocks of a feature vector; they sum to D.
            rows: frames in the memory.
            config: see `ExemplarConfig`.
        """
        super().__init__()
        self.config = config or ExemplarConfig()
        self.num_stages, self.views, self.blocks, self.rows = num_stages, views, tuple(blocks), rows
        width = min(self.config.components, max(self.blocks))
        experts, widest = views * len(self.blocks), max(self.blocks)
        self.register_buffer("mean", torch.zeros(experts, widest))
        self.register_buffer("projection", torch.zeros(experts, widest, width))
        self.register_buffer("memory", torch.zeros(experts, rows, width, dtype=torch.float16))
        self.register_buffer("scale", torch.ones(experts))
        self.register_buffer("known", torch.zeros(experts, rows, dtype=torch.bool))
        self.register_buffer("votes", torch.zeros(rows, num_stages))
        self.register_buffer("tau", torch.zeros(rows))
        self._ready: tuple[Tensor, Tensor, Tensor] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    @classmethod
    def fit(
        cls,
        features: Tensor,
        stages: Tensor,
        tau: Tensor,
        num_stages: int,
        blocks: Sequence[int] | None = None,
        present: Tensor | None = None,
        config: ExemplarConfig | None = None,
    ) -> ExemplarHead:
        """Remember frames.

        Args:
            features: float [N, V, D], of the demonstrations and of their augmented copies.
            stages: int [N] in [0, K).
            tau: float [N] in [0, 1].
            num_stages: K.
            blocks: widths of the encoder's blocks (`encoder.blocks`); one block where it has none.
            present: bool [N, V], all by default.
            config: see `ExemplarConfig`.
        """
        config = config or ExemplarConfig()
        keep = torch.linspace(0, len(features) - 1, min(len(features), config.memory)).round().long()
        features, stages, tau = features[keep].float(), stages[keep].long(), tau[keep].float()
        seen = torch.ones(features.shape[:2], dtype=torch.bool) if present is None else present[keep]
        head = cls(num_stages, features.shape[1], blocks or [features.shape[2]], len(features), config)
        one_hot = torch.nn.functional.one_hot(stages, num_stages).float()
        count = one_hot.sum(0)
        # Each stage weighs the same, however long it is: durations are the filter's business.
        head.votes.copy_(one_hot * (count.mean() / count.clamp(min=1)))
        head.tau.copy_(tau)
        for expert, (view, start, stop) in enumerate(head._experts()):
            head._remember(expert, features[:, view, start:stop], seen[:, view])
        return head

    def _experts(self) -> list[tuple[int, int, int]]:
        """(view, first column, last column) of each expert."""
        starts = [sum(self.blocks[:i]) for i in range(len(self.blocks) + 1)]
        return [(view, a, b) for view in range(self.views) for a, b in pairwise(starts)]

    def _remember(self, expert: int, block: Tensor, seen: Tensor) -> None:
        self.known[expert] = seen
        if int(seen.sum()) < 2:
            self.known[expert] = False
            return
        rows = block[seen]
        mean = rows.mean(0)
        sample = (rows - mean)[:: max(1, len(rows) // 1500)]
        variances, axes = torch.linalg.eigh(sample.double().T @ sample.double() / len(sample))
        width = min(self.memory.shape[-1], len(variances))
        spread = variances.flip(0)[:width].clamp(min=0).sqrt()
        spread = spread.clamp(min=max(float(spread[0]) * 0.01, 1e-6))
        projection = (axes.flip(1)[:, :width] / spread**self.config.whitening).float()
        self.mean[expert, : block.shape[1]] = mean
        self.projection[expert, : block.shape[1], :width] = projection
        self.memory[expert, :, :width] = ((block - mean) @ projection).half()
        some = self.memory[expert][seen].float()
        distances = torch.cdist(some[:: max(1, len(some) // 300)], some[:: max(1, len(some) // 1000)]) ** 2
        self.scale[expert] = distances.median().clamp(min=1e-6)

    def forward(self, features: Tensor, present: Tensor | None = None) -> StageEvidence:
        """Evidence of each moment by itself.

        Args:
            features: [B, V, D] in the training's order of views.
            present: bool [B, V], all by default; a view that is not there has no vote.
        """
        batch = features.shape[0]
        seen = features.new_ones((batch, self.views), dtype=torch.bool) if present is None else present
        _, _, ballots = self._remembered()
        votes, taus, squares, weights = [], [], [], []
        for expert, (view, start, stop) in enumerate(self._experts()):
            if not bool(self.known[expert].any()):
                continue
            near = self._nearness(expert, features[:, view, start:stop].float())
            counts = near @ ballots
            chosen, mean, square = (counts / counts[:, : self.num_stages].sum(1, keepdim=True)).chunk(3, 1)
            votes.append((1 - self.config.floor) * chosen + self.config.floor / self.num_stages)
            taus.append(mean)
            squares.append(square)
            weights.append(seen[:, view].to(near.dtype))
        weight = torch.stack(weights, 1)[..., None]
        count = weight.sum(1)
        share = torch.stack(votes, 1)
        power = self.config.power or count.clamp(min=1).rsqrt()
        log_probs = ((weight * share.log()).sum(1) * power).log_softmax(-1)
        mass = (weight * (share - self.config.floor / self.num_stages)).sum(1) / (
            1 - self.config.floor
        ) + 1e-6
        mean = ((weight * torch.stack(taus, 1)).sum(1) + 0.5e-6) / mass
        square = ((weight * torch.stack(squares, 1)).sum(1) + 1e-6 / 3) / mass
        return StageEvidence(log_probs, mean.clamp(0, 1), (square - mean**2).clamp(min=1e-6).sqrt())

    def _remembered(self) -> tuple[Tensor, Tensor, Tensor]:
        """What every query needs of the memory, made once: float32, its rows' squared lengths, infinite where a row is
        not known, and the rows' votes for the stages, times 1, τ and τ²."""
        if self._ready is None or self._ready[0].device != self.memory.device:
            memory = self.memory.float()
            squares = (memory**2).sum(2).masked_fill(~self.known, torch.inf)
            ballots = torch.cat([self.votes * self.tau[:, None] ** power for power in range(3)], 1)
            self._ready = memory, squares, ballots
        return self._ready

    def _nearness(self, expert: int, block: Tensor) -> Tensor:
        """[B, rows] kernel values, the nearest row's being 1."""
        query = (block - self.mean[expert, : block.shape[1]]) @ self.projection[expert, : block.shape[1]]
        memory, squares, _ = self._remembered()
        distance = (query**2).sum(1, keepdim=True) + squares[expert][None] - 2 * query @ memory[expert].T
        distance = distance - distance.amin(1, keepdim=True)
        return torch.exp(-distance / (self.config.temperature * self.scale[expert]))


def _forget(head: ExemplarHead, _: object) -> None:
    head._ready = None
