"""Success rates of the sides of `rabc.py`, and how sure their differences are."""

from __future__ import annotations

from typing import Any

import numpy as np

from progress_rm.metrics.resample import wilson_interval


def compare(table: dict[str, list[list[int]]], other: str, replicates: int = 2000) -> dict[str, Any]:
    """How much every side's success rate is above that of `other`, with 95 % bootstrap intervals.

    The same episodes are drawn for both sides, and seeds of training as well; both are samples.

    Args:
        table: successes of each side, [seeds][episodes].
    """
    rng = np.random.default_rng(0)
    reference = np.array(table[other], dtype=np.float64)
    seeds, episodes = reference.shape
    drawn = [
        (rng.integers(seeds, size=seeds), rng.integers(episodes, size=episodes)) for _ in range(replicates)
    ]
    found = {}
    for side, successes in table.items():
        if side == other:
            continue
        difference = np.array(successes, dtype=np.float64) - reference
        means = [difference[np.ix_(s, e)].mean() for s, e in drawn]
        low, high = np.quantile(means, [0.025, 0.975])
        found[side] = {"difference": float(difference.mean()), "interval": [float(low), float(high)]}
    return found


def summarise(table: dict[str, list[list[int]]]) -> dict[str, Any]:
    """Rates with Wilson's intervals over all seeds, each seed's rate, and differences to plain BC and to the oracle."""
    sides = {}
    for side, successes in table.items():
        flat = [s for seed in successes for s in seed]
        sides[side] = {
            "success": float(np.mean(flat)),
            "interval": list(wilson_interval(sum(flat), len(flat))),
            "by_seed": [float(np.mean(seed)) for seed in successes],
        }
    above = {f"above_{other}": compare(table, other) for other in ("bc", "rabc_oracle") if other in table}
    return {"sides": sides, **above}
