"""The network of `grm`: the same view of four moments makes a token, a set of such tokens makes a hop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROLES = ("first", "goal", "before", "after")
"""What a moment is to a query, in this order."""


@dataclass
class Moments:
    """N moments as the network sees them; the V views come first, then the state.

    Attributes:
        tokens: [N, V+1, 4, hidden], one for each role that the moment may have.
        present: bool [N, V+1].
    """

    tokens: Tensor
    present: Tensor

    def pick(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Queries from moments: index int64 [Q, 4] → tokens [Q, V+1, 4, hidden] and present bool [Q, V+1, 4]."""
        tokens = torch.stack([self.tokens[index[:, r], :, r] for r in range(len(ROLES))], dim=2)
        return tokens, self.present[index].movedim(1, 2)


class HopNetwork(nn.Module):
    """What was done between two moments, from any number of views in any order.

    A view's token joins what it shows at the episode's first frame, at the goal, before and after; a role that is
    missing is replaced by what was learnt for "missing". Views, state and instruction then attend to one another, and a
    learned token reads off the distribution over hops, and whether the task is complete after.
    """

    hop_values: Tensor

    def __init__(
        self,
        *,
        feature_dim: int,
        num_views: int,
        state_dim: int,
        instruction_dim: int,
        hidden: int,
        layers: int,
        heads: int,
        bins: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.image = nn.Sequential(nn.Linear(feature_dim, hidden), nn.GELU(), nn.Dropout(dropout))
        self.image_roles = nn.Linear(hidden, len(ROLES) * hidden)
        self.state = nn.Sequential(nn.Linear(max(state_dim, 1), hidden), nn.GELU())
        self.state_roles = nn.Linear(hidden, len(ROLES) * hidden)
        self.missing = nn.Parameter(0.02 * torch.randn(2, len(ROLES), hidden))
        self.name = nn.Embedding(num_views + 2, hidden)
        self.join = nn.Sequential(nn.LayerNorm(hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.instruction = nn.Linear(instruction_dim, hidden)
        self.no_instruction = nn.Parameter(torch.zeros(hidden))
        self.reader = nn.Parameter(0.02 * torch.randn(hidden))
        self.among = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden, heads, 4 * hidden, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden)
        self.heads = nn.Linear(hidden, bins + 1)
        self.register_buffer("hop_values", torch.linspace(-1, 1, bins))

    def moments(self, features: Tensor, view_mask: Tensor, state: Tensor, state_mask: Tensor) -> Moments:
        """See N moments.

        Args:
            features: float [N, V, D], standardised.
            view_mask: bool [N, V], True where the view is there.
            state: float [N, S], standardised; S may be 0.
            state_mask: bool [N], True where the state is there.
        """
        shape = (*view_mask.shape, len(ROLES), self.hidden)
        images = self.image_roles(self.image(features)).reshape(shape)
        states = state if state.shape[-1] else state.new_zeros(len(state), 1)
        bodies = self.state_roles(self.state(states)).reshape(len(state), 1, len(ROLES), self.hidden)
        return Moments(torch.cat([images, bodies], dim=1), torch.cat([view_mask, state_mask[:, None]], dim=1))

    def compare(
        self, tokens: Tensor, present: Tensor, names: Tensor, instruction: Tensor, instructed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The hop from before to after.

        Args:
            tokens: [Q, V+1, 4, hidden], of `Moments.pick`.
            present: bool [Q, V+1, 4]; a view that is not there after is not looked at.
            names: int64 [Q, V], index of each view's name among the known ones, or their number for an unknown one.
            instruction: float [Q, E].
            instructed: bool [Q], False where the instruction is hidden.

        Returns:
            Logits over `hop_values` [Q, bins], and the logit [Q] that the task is complete after.
        """
        views = names.shape[1]
        kind = torch.zeros(views + 1, dtype=torch.long, device=tokens.device)
        kind[-1] = 1
        known = torch.where(present[..., None], tokens, self.missing[kind].to(tokens.dtype))
        last = torch.full_like(names[:, :1], self.name.num_embeddings - 1)
        seen = self.join(known.sum(2) + self.name(torch.cat([names, last], dim=1)))
        words = torch.where(instructed[:, None], self.instruction(instruction), self.no_instruction)
        sequence = torch.cat([self.reader.expand(len(seen), 1, -1), words[:, None], seen], dim=1)
        absent = F.pad(~present[..., ROLES.index("after")], (2, 0))
        for block in self.among:
            sequence = block(sequence, src_key_padding_mask=absent)
        out = self.heads(self.norm(sequence[:, 0]))
        return out[:, :-1], out[:, -1]
