"""The network of `multiview_sarm`: a set of view tokens a frame, a transformer over the window, two heads."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Evidence:
    """What the heads say of B moments, over all K stages of all tasks.

    Attributes:
        stage: logits [B, K].
        within: logits [B, K, bins] of the position within each stage.
        done: logit [B] that the task is complete.
        match: logit [B] that the video shows the instructed task.
    """

    stage: Tensor
    within: Tensor
    done: Tensor
    match: Tensor


class MultiviewSarmNetwork(nn.Module):
    """Views → set attention → frame tokens → causal transformer → stage, within-stage, done and match heads.

    The views of a frame are a set: their tokens attend to one another and are pooled by learned queries, so any
    number of them, in any order, with some missing, is allowed.
    """

    def __init__(
        self,
        *,
        feature_dim: int,
        num_views: int,
        state_dim: int,
        instruction_dim: int,
        num_stages: int,
        slots: int,
        hidden: int,
        layers: int,
        heads: int,
        bins: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.num_stages, self.bins = num_stages, bins
        self.project = nn.Sequential(nn.Linear(feature_dim, hidden), nn.GELU(), nn.Dropout(dropout))
        self.view = nn.Embedding(num_views + 1, hidden)
        self.state = nn.Sequential(nn.Linear(max(state_dim, 1), hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.no_state = nn.Parameter(torch.zeros(hidden))
        self.among_views = _block(hidden, heads, dropout)
        self.queries = nn.Parameter(0.02 * torch.randn(2, hidden))
        self.pool = nn.MultiheadAttention(hidden, heads, dropout=dropout, batch_first=True)
        self.frame = nn.Linear(2 * hidden, hidden)
        self.slot = nn.Embedding(slots, hidden)
        self.instruction = nn.Linear(instruction_dim, hidden)
        self.over_time = nn.ModuleList(_block(hidden, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(hidden)
        self.heads = nn.Linear(hidden, num_stages * (1 + bins) + 2)

    def frames(
        self, features: Tensor, view_ids: Tensor, view_mask: Tensor, state: Tensor, state_mask: Tensor
    ) -> Tensor:
        """One token a frame, [N, hidden].

        Args:
            features: float [N, V, D], standardised.
            view_ids: int64 [V], index of each view's name among the known ones, or their number for an unknown one.
            view_mask: bool [N, V], True where the view is there.
            state: float [N, S], standardised; S may be 0.
            state_mask: bool [N], True where the state is there.
        """
        tokens = self.project(features) + self.view(view_ids)
        seen = self.state(state) if state.shape[-1] else self.no_state.expand(len(features), -1)
        seen = torch.where(state_mask[:, None], seen, self.no_state)
        tokens = torch.cat([tokens, seen[:, None]], dim=1)
        absent = F.pad(~view_mask, (0, 1))
        tokens = self.among_views(tokens, src_key_padding_mask=absent)
        queries = self.queries.expand(len(tokens), -1, -1)
        pooled, _ = self.pool(queries, tokens, tokens, key_padding_mask=absent, need_weights=False)
        token: Tensor = self.frame(pooled.flatten(1))
        return token

    def read(self, frames: Tensor, frame_mask: Tensor, slots: Tensor, instruction: Tensor) -> Evidence:
        """What the heads say of the last slot of each window.

        Args:
            frames: frame tokens [B, W, hidden].
            frame_mask: bool [B, W], True where the slot holds a frame.
            slots: int64 [W]; 0 is the episode's first frame, 1 … n the recent ones, oldest first.
            instruction: float [B, E].
        """
        sequence = torch.cat([self.instruction(instruction)[:, None], frames + self.slot(slots)], dim=1)
        padded = F.pad(~frame_mask, (1, 0))
        for block in self.over_time:
            sequence = block(sequence, src_key_padding_mask=padded)
        out = self.heads(self.norm(sequence[:, -1]))
        k = self.num_stages
        within = out[:, k : k + k * self.bins].unflatten(1, (k, self.bins))
        return Evidence(stage=out[:, :k], within=within, done=out[:, -2], match=out[:, -1])


def _block(hidden: int, heads: int, dropout: float) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        hidden, heads, 4 * hidden, dropout, activation="gelu", batch_first=True, norm_first=True
    )
