"""What `grm` is trained to say."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def losses(
    logits: Tensor, done_logit: Tensor, batch: dict[str, Tensor], values: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Negative log likelihood of the hop, and cross entropy of "complete after".

    Args:
        logits: [Q, bins].
        done_logit: [Q].
        batch: low and high [Q], between which the hop lies, and done bool [Q].
        values: [bins], the hops that the bins stand for.
    """
    hop_loss = -allowed(batch["low"], batch["high"], logits.log_softmax(-1), values).mean()
    done_loss = F.binary_cross_entropy_with_logits(done_logit, batch["done"].float())
    mean = logits.softmax(-1) @ values
    missed = F.relu(batch["low"] - mean) + F.relu(mean - batch["high"])
    return hop_loss + done_loss, {
        "hop": hop_loss.item(),
        "done": done_loss.item(),
        "hop_error": missed.mean().item(),
    }


def allowed(low: Tensor, high: Tensor, log_probs: Tensor, values: Tensor) -> Tensor:
    """Log likelihood [Q] of hops of which is known that they lie between `low` and `high`.

    A hop known exactly is shared out between the two nearest bins, so that its mean is kept; of one known to lie in an
    interval, all bins between are as good (interval censoring).
    """
    exact = high - low < 1e-6
    point = (two_hot(low, len(values)) * log_probs).sum(-1)
    width = values[1] - values[0]
    inside = (values > low[:, None] - width) & (values < high[:, None] + width)
    interval = log_probs.masked_fill(~inside, float("-inf")).logsumexp(-1)
    return torch.where(exact, point, interval)


def two_hot(hops: Tensor, bins: int) -> Tensor:
    """Hops in [−1, 1] as weights on the two nearest of `bins` values, evenly from −1 to 1: [Q] → [Q, bins]."""
    x = ((hops + 1) / 2 * (bins - 1)).clamp(0, bins - 1)
    low = x.floor().long().clamp(max=bins - 2)
    share = (x - low)[:, None]
    return F.one_hot(low, bins) * (1 - share) + F.one_hot(low + 1, bins) * share
