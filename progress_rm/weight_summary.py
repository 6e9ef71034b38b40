"""What RA-BC weights amount to, in numbers: for the report and for `progress-rm bc` to print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from progress_rm.weights import Weights

BINS = 10

PLAIN = 0.05
"""Share of samples that weights must move for RA-BC to be more than plain BC in another name."""


def summarise_weights(weights: Weights, qualities: Sequence[str] | None = None) -> dict[str, Any]:
    """Numbers that say whom and how much the weights favour.

    Args:
        weights: of a dataset.
        qualities: who demonstrated each episode, [E]; left out where unknown.

    Returns:
        `horizon`, `kappa`; `histogram`: frames by weight, ten bins over [0, 1]; `full`, `zero`: shares of frames with
        weight 1 and 0; `moved`: share of samples that are other frames than in plain BC (total variation distance of
        the two ways of sampling, [0, 1]); `per_quality`: `episodes`, and shares of all `frames` and of all `samples`,
        the latter under the weights, and the mean weight `kept`; `warnings`: in words.
    """
    values = weights.values.astype(np.float64)
    share = values / values.sum()
    moved = float(np.abs(share - 1 / len(values)).sum() / 2)
    return {
        "horizon": weights.horizon,
        "kappa": weights.kappa,
        "histogram": np.histogram(values, BINS, (0, 1))[0].tolist(),
        "full": float((values == 1).mean()),
        "zero": float((values == 0).mean()),
        "moved": moved,
        "per_quality": {} if qualities is None else _per_quality(weights, qualities),
        "warnings": _warnings(weights, moved),
    }


def format_weights(summary: dict[str, Any]) -> str:
    """The summary as lines of text."""
    lines = [
        f"weights: chunk of {summary['horizon']} frames, κ = {summary['kappa']:.4g}; {summary['full']:.0%} of frames "
        f"have full weight, {summary['zero']:.0%} none; {summary['moved']:.0%} of samples differ from plain BC"
    ]
    for quality, numbers in summary["per_quality"].items():
        lines.append(
            f"  {quality:<10} {numbers['episodes']:>4} episodes  {numbers['frames']:>4.0%} of frames"
            f"  {numbers['samples']:>4.0%} of samples  mean weight {numbers['kept']:.2f}"
        )
    return "\n".join([*lines, *(f"warning: {text}" for text in summary["warnings"])])


def _per_quality(weights: Weights, qualities: Sequence[str]) -> dict[str, dict[str, float]]:
    lengths = weights.ends - weights.starts
    kept = np.array([weights.of(episode).sum(dtype=np.float64) for episode in range(len(lengths))])
    found = {}
    for quality in sorted(set(qualities)):
        member = np.array([q == quality for q in qualities])
        found[quality] = {
            "episodes": int(member.sum()),
            "frames": float(lengths[member].sum() / lengths.sum()),
            "samples": float(kept[member].sum() / kept.sum()),
            "kept": float(kept[member].sum() / lengths[member].sum()),
        }
    return found


def _warnings(weights: Weights, moved: float) -> list[str]:
    if moved >= PLAIN:
        return []
    way = "nearly all frames lie above κ; raise it, for instance by kappa_quantile=0.5"
    if (weights.gains <= weights.kappa).mean() > 0.5:
        way = (
            "most frames lie below κ and get nearly the same soft weight; lower κ, or use kappa_quantile=0.5"
        )
    return [f"these weights make it plain BC: only {moved:.1%} of samples differ ({way})"]
