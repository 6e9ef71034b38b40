"""Every metric of every predictor on every group of episodes, measured once: a group is a row of weights."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from progress_rm.cases import CAUSAL, HINDSIGHT, EpisodeCases
from progress_rm.metrics import METRICS, bootstrap_weights, interval
from progress_rm.metrics.arrays import number
from progress_rm.metrics.resample import REPLICATES

PREDICTORS = ("model", HINDSIGHT, CAUSAL)


def measure_groups[Name: Hashable](
    episodes: Sequence[EpisodeCases],
    groups: Mapping[Name, Sequence[int]],
    with_intervals: Collection[Name] = (),
    replicates: int = REPLICATES,
    seed: int = 0,
) -> dict[Name, dict[str, Any]]:
    """Measure groups of episodes.

    Args:
        episodes: N episodes.
        groups: places in `episodes` of the members, by name.
        with_intervals: names of the groups whose metrics get bootstrap intervals.
        replicates: how many resamples of the episodes.
        seed: of the resampling; the same resamples serve every metric and every predictor.

    Returns:
        Per group "episodes", "frames", metrics by key for every predictor that answered all of the group's episodes,
        and, if asked, "intervals": the same with [low, high] instead of the number. None where not defined.
    """
    masks = np.array([np.isin(np.arange(len(episodes)), members) for members in groups.values()])
    draws = bootstrap_weights([e.model.task for e in episodes], replicates, seed)
    result: dict[Name, dict[str, Any]] = {
        name: {"episodes": len(members), "frames": sum(len(episodes[i].model.progress) for i in members)}
        for name, members in groups.items()
    }
    for name in with_intervals:
        result[name]["intervals"] = {}
    for predictor in PREDICTORS:
        answers = [e.predictor(predictor) for e in episodes]
        answered = np.array([case is not None for case in answers])
        cases = [case for case in answers if case is not None]
        if not cases:
            continue
        weights = masks[:, answered].astype(np.float64)
        values = {metric.key: metric.compute(cases, weights) for metric in METRICS}
        for row, (name, members) in enumerate(groups.items()):
            if not answered[list(members)].all():
                continue
            result[name][predictor] = {key: number(column[row]) for key, column in values.items()}
            if name in with_intervals:
                theirs = [case for i in members if (case := answers[i]) is not None]
                result[name]["intervals"][predictor] = {
                    metric.key: interval(metric.compute(theirs, draws[:, list(members)]))
                    for metric in METRICS
                }
    return result
