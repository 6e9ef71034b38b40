"""The network of `sarm2`: which primitive is going on, and how much of the task is done, from a window of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from progress_rm.models.base import TaskSpec
from progress_rm.models.multiview_sarm.network import Evidence, MultiviewSarmNetwork
from progress_rm.models.sarm2.moe import Mixture, MultiGateExperts
from progress_rm.models.sarm2.primitives import GROUP_OF, GROUPS, PRIMITIVES


@dataclass
class Sarm2Evidence(Evidence):
    """What the heads say of B moments; stages and positions in them follow from value and primitives.

    Attributes:
        value: logits [B, C] of how much of the task is done, in C equal parts.
        primitive: logits [B, P], or None where the primitive is not told.
        mixture: how the experts were mixed.
    """

    value: Tensor
    primitive: Tensor | None
    mixture: Mixture


class Sarm2Network(MultiviewSarmNetwork):
    """Views → frame tokens, as `multiview_sarm`; then a primitive estimator, and a value head of gated experts.

    The estimator does not read the instruction: what a primitive looks like does not depend on the task. The value
    trunk reads window, instruction and the expected embedding of the primitive.

    Args:
        tasks: the tasks, whose stages are intervals of progress by their priors.
        stage_primitives: the primitives of every stage of all tasks.
        value_bins: C, parts of the value's distribution.
        use_estimator, multi_gate: see `Sarm2Config`.
        estimator_layers: layers of the estimator's transformer.
        experts, expert_width, top_k: see `MultiGateExperts`.
        trunk: what `MultiviewSarmNetwork` asks for beside the number of stages.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        stage_primitives: Sequence[Sequence[str]],
        *,
        value_bins: int,
        use_estimator: bool,
        multi_gate: bool,
        estimator_layers: int,
        experts: int,
        expert_width: int,
        top_k: int,
        **trunk: Any,
    ) -> None:
        super().__init__(num_stages=len(stage_primitives), **trunk)
        hidden, dropout = int(trunk["hidden"]), float(trunk["dropout"])
        self.use_estimator, self.multi_gate = use_estimator, multi_gate and use_estimator
        self.heads = nn.Linear(hidden, 2)
        self.value = MultiGateExperts(
            hidden,
            expert_width,
            value_bins,
            experts=experts,
            gates=len(GROUPS) if self.multi_gate else 1,
            top_k=top_k,
            dropout=dropout,
        )
        if use_estimator:
            self.estimator = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    hidden, trunk["heads"], 4 * hidden, dropout, "gelu", batch_first=True, norm_first=True
                )
                for _ in range(estimator_layers)
            )
            self.estimator_norm = nn.LayerNorm(hidden)
            self.primitive = nn.Linear(hidden, len(PRIMITIVES))
            self.embed = nn.Embedding(len(PRIMITIVES), hidden)
        self.shares: Tensor
        self.allowed: Tensor
        self.group: Tensor
        self.register_buffer("shares", shares_of(tasks, self.bins, value_bins))
        self.register_buffer("allowed", allowed_of(stage_primitives))
        self.register_buffer("group", F.one_hot(torch.tensor(GROUP_OF), len(GROUPS)).float())

    def read(self, frames: Tensor, frame_mask: Tensor, slots: Tensor, instruction: Tensor) -> Sarm2Evidence:
        """What the heads say of the last slot of each window; see `MultiviewSarmNetwork.read`."""
        window = frames + self.slot(slots)
        logits = self._estimate(window, frame_mask) if self.use_estimator else None
        tokens, padded = [self.instruction(instruction)[:, None]], F.pad(~frame_mask, (1, 0))
        groups = window.new_ones(len(window), 1)
        if logits is not None:
            # The value does not teach the estimator: what is going on is told by its own labels alone.
            belief = logits.detach().softmax(-1)
            tokens, padded = [(belief @ self.embed.weight)[:, None], *tokens], F.pad(padded, (1, 0))
            groups = belief @ self.group if self.multi_gate else groups
        sequence = torch.cat([*tokens, window], dim=1)
        for block in self.over_time:
            sequence = block(sequence, src_key_padding_mask=padded)
        summary = self.norm(sequence[:, -1])
        done, match = self.heads(summary).unbind(-1)
        mixture = self.value(summary, groups)
        stage, within = self._stages(mixture.output, logits)
        return Sarm2Evidence(stage, within, done, match, mixture.output, logits, mixture)

    def _estimate(self, window: Tensor, frame_mask: Tensor) -> Tensor:
        for block in self.estimator:
            window = block(window, src_key_padding_mask=~frame_mask)
        logits: Tensor = self.primitive(self.estimator_norm(window[:, -1]))
        return logits

    def _stages(self, value: Tensor, primitive: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits [B, K] of the stages and [B, K, bins] of the positions in them.

        A stage is as probable as the value lies in its interval and as its primitives, or none, are going on.
        """
        within = torch.einsum("bc,kjc->bkj", value.softmax(-1), self.shares) + 1e-6
        stage = within.sum(-1).log()
        if primitive is not None:
            stage = stage + (primitive.softmax(-1) @ self.allowed.T + 1e-3).log()
        return stage, within.log()


def shares_of(tasks: Sequence[TaskSpec], bins: int, value_bins: int) -> Tensor:
    """What share of each part of the value lies in each part of each stage: float [K, bins, C], 1 summed over a task.

    Stage k of a task is the interval [P_{k−1}, P_k] of progress, cut into `bins` equal parts.
    """
    cuts = torch.arange(value_bins + 1, dtype=torch.float64) / value_bins
    parts = []
    for task in tasks:
        ends = torch.tensor([0.0, *task.priors], dtype=torch.float64).cumsum(0)
        ends = ends / ends[-1]
        step = torch.arange(bins + 1, dtype=torch.float64) / bins
        edges = ends[:-1, None] + (ends[1:] - ends[:-1])[:, None] * step
        low = torch.maximum(edges[:, :-1, None], cuts[:-1])
        high = torch.minimum(edges[:, 1:, None], cuts[1:])
        parts.append((high - low).clamp(min=0) * value_bins)
    return torch.cat(parts).float()


def allowed_of(stage_primitives: Sequence[Sequence[str]]) -> Tensor:
    """Which primitives may be going on in each stage, `null` (a pause) among them: float [K, P] of zeros and ones."""
    allowed = torch.zeros(len(stage_primitives), len(PRIMITIVES))
    allowed[:, PRIMITIVES.index("null")] = 1
    for row, names in zip(allowed, stage_primitives, strict=True):
        row[[PRIMITIVES.index(name) for name in names]] = 1
    return allowed
