"""What `sarm2` is trained to say."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from progress_rm.models.multiview_sarm.losses import soft_bins
from progress_rm.models.sarm2.configuration_sarm2 import Sarm2Config
from progress_rm.models.sarm2.network import Sarm2Evidence
from progress_rm.models.sarm2.primitives import PRIMITIVES

_NULL = PRIMITIVES.index("null")


def losses(
    evidence: Sarm2Evidence, batch: dict[str, Tensor], allowed: Tensor, config: Sarm2Config
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropies of primitive, value, done and match, and what keeps the gates in order.

    Args:
        evidence: what the heads say of B windows.
        batch: stage int64 [B] (−1 unknown), within float [B] (how much of the *task* is done), done and match bool [B].
        allowed: float [K, P], see `network.allowed_of`.
        config: weights of the gates' losses.

    Returns:
        The sum, and each part; `stage_accuracy` is how often the most probable primitive is one of the stage's.
    """
    match = batch["match"]
    zero = 0 * (evidence.value.sum() + evidence.done.sum())
    value = evidence.value[match].log_softmax(-1)
    target = soft_bins(batch["within"][match], value.shape[-1])
    parts = {
        "value": -(target * value).sum(-1).mean() if match.any() else zero,
        "done": F.binary_cross_entropy_with_logits(evidence.done[match], batch["done"][match].float())
        if match.any()
        else zero,
        "match": F.binary_cross_entropy_with_logits(evidence.match, match.float()),
        "balance": config.balance_weight * evidence.mixture.balance,
        "entropy": config.entropy_weight * evidence.mixture.entropy,
    }
    accuracy = zero
    if evidence.primitive is not None:
        may_be = primitive_targets(batch["stage"], batch["done"], allowed)
        found = evidence.primitive.log_softmax(-1)
        parts["primitive"] = -found.masked_fill(~may_be, float("-inf")).logsumexp(-1).mean()
        accuracy = may_be.gather(1, found.argmax(-1, keepdim=True)).float().mean()
    return sum(parts.values(), zero), {
        **{k: v.item() for k, v in parts.items()},
        "stage_accuracy": accuracy.item(),
    }


def primitive_targets(stage: Tensor, done: Tensor, allowed: Tensor) -> Tensor:
    """Which primitives may be right: those of the stage; `null` where there is none, or the task is complete.

    A stage of several primitives says only that it is one of them; stages of other tasks that have one alone tell
    them apart. Returns bool [B, P].
    """
    null = torch.zeros_like(allowed[0])
    null[_NULL] = 1
    idle = (stage < 0) | done
    return torch.where(idle[:, None], null, allowed[stage.clamp(min=0)] * (1 - null)) > 0
