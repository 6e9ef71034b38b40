"""A mixture of experts with several gates: the experts are shared, the gates belong to groups of primitives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Mixture:
    """What the experts say of B rows, and how the gates chose.

    Attributes:
        output: [B, out].
        weights: [B, E], how much each expert was listened to; sums to one.
        balance: E·Σ_e f_e·P_e, with f_e the share of the choices that fell on expert e and P_e its mean probability
            (Switch Transformers, arXiv 2101.03961, eq. 4); 1 where all are used alike, E where one is.
        entropy: mean entropy of a gate's distribution over the experts, as a share of the largest possible, in [0, 1].
    """

    output: Tensor
    weights: Tensor
    balance: Tensor
    entropy: Tensor


class MultiGateExperts(nn.Module):
    """Experts of three layers each, chosen by top-k gates of which each row weighs several.

    Every gate gives its probabilities over the experts, keeps the `top_k` largest and makes them sum to one; a row's
    weights are the mean of the gates', weighted by how probable their groups are (MMoE, Ma et al. 2018, with the sparse
    gates of Shazeer et al., arXiv 1701.06538). All experts are computed: they are small, and few rows share a choice.

    Args:
        inputs, width, outputs: lengths of a row, of an expert's hidden layers, and of its answer.
        experts, gates, top_k: how many; 1 ≤ top_k ≤ experts.
        dropout: in the hidden layers.
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, *, experts: int, gates: int, top_k: int, dropout: float
    ) -> None:
        super().__init__()
        if not 1 <= top_k <= experts:
            raise ValueError(f"top_k is {top_k}; it must lie between 1 and the number of experts, {experts}")
        self.experts, self.gates, self.top_k, self.dropout = experts, gates, top_k, dropout
        self.gate = nn.Linear(inputs, gates * experts)
        sizes = [(inputs, width), (width, width), (width, outputs)]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(experts, a, b).uniform_(-1, 1) / math.sqrt(a)) for a, b in sizes
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(experts, 1, b)) for _, b in sizes)

    def forward(self, rows: Tensor, groups: Tensor) -> Mixture:
        """Ask the experts.

        Args:
            rows: float [B, inputs].
            groups: float [B, gates], how much each gate counts; sums to one.
        """
        probabilities = self.gate(rows).unflatten(1, (self.gates, self.experts)).softmax(-1)
        values, chosen = probabilities.topk(self.top_k, dim=-1)
        kept = torch.zeros_like(probabilities).scatter(-1, chosen, values / values.sum(-1, keepdim=True))
        weights = (groups[..., None] * kept).sum(1)
        answers = rows.expand(self.experts, -1, -1)
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            answers = torch.baddbmm(bias, answers, weight)
            if layer + 1 < len(self.weights):
                answers = F.dropout(F.gelu(answers), self.dropout, self.training)
        output = torch.einsum("be,ebo->bo", weights, answers)
        used = (groups[..., None] * (kept > 0)).sum(1).mean(0) / self.top_k
        mean = (groups[..., None] * probabilities).sum(1).mean(0)
        entropy = -(probabilities * probabilities.clamp(min=1e-9).log()).sum(-1)
        return Mixture(
            output=output,
            weights=weights,
            balance=self.experts * (used.detach() * mean).sum(),
            entropy=(groups * entropy).sum(1).mean() / math.log(max(self.experts, 2)),
        )
