"""What `multiview_sarm` is trained to say."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from progress_rm.models.multiview_sarm.network import Evidence


def losses(
    evidence: Evidence, batch: dict[str, Tensor], stages_of_task: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropies of stage, position in the stage, done and match, each over the frames where it is known.

    `stages_of_task` is bool [tasks, K]: which of all stages are a task's.
    """
    theirs = stages_of_task[batch["instruction"]]
    stage_logits = evidence.stage.masked_fill(~theirs, float("-inf"))
    match, stage = batch["match"], batch["stage"]
    known = match & (stage >= 0)
    zero = 0 * (evidence.stage.sum() + evidence.within.sum() + evidence.done.sum())
    stage_loss = F.cross_entropy(stage_logits[known], stage[known]) if known.any() else zero
    placed = known & ~batch["within"].isnan()
    if placed.any():
        logits = evidence.within[placed, stage[placed]]
        within_loss = (
            -(soft_bins(batch["within"][placed], logits.shape[-1]) * logits.log_softmax(-1)).sum(-1).mean()
        )
    else:
        within_loss = zero
    done_loss = (
        F.binary_cross_entropy_with_logits(evidence.done[match], batch["done"][match].float())
        if match.any()
        else zero
    )
    match_loss = F.binary_cross_entropy_with_logits(evidence.match, match.float())
    parts = {"stage": stage_loss, "within": within_loss, "done": done_loss, "match": match_loss}
    accuracy = (stage_logits[known].argmax(-1) == stage[known]).float().mean() if known.any() else zero
    return sum(parts.values(), zero), {
        **{k: v.item() for k, v in parts.items()},
        "stage_accuracy": accuracy.item(),
    }


def soft_bins(position: Tensor, bins: int) -> Tensor:
    """A position in [0, 1] as weights on the two nearest of `bins` centres: [N] → [N, bins]."""
    x = (position * bins - 0.5).clamp(0, bins - 1)
    low = x.floor().long().clamp(max=bins - 2)
    share = (x - low)[:, None]
    return F.one_hot(low, bins) * (1 - share) + F.one_hot(low + 1, bins) * share
