"""The picture of `rabc.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LABELS = {
    "bc": "plain BC",
    "rabc_clock": "RA-BC, clock",
    "bc_success_only": "BC, successes only",
    "rabc_lerobot_sarm_own": "LeRobot's SARM and rule",
    "rabc_own": "multiview_sarm, LeRobot's rule",
    "rabc_lerobot_sarm": "RA-BC, LeRobot's SARM",
    "rabc": "RA-BC, multiview_sarm",
    "rabc_oracle": "RA-BC, true progress",
}


def draw(path: Path, tasks: Mapping[str, Mapping[str, Any]]) -> None:
    """Success rates of every side with 95 % intervals and one dot a seed, a panel for each task.

    Args:
        path: where to.
        tasks: what `summarise` says of each.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.6 * len(tasks)), layout="constrained")
    panels = figure.subplots(len(tasks), squeeze=False)[:, 0]
    for axes, (task, found) in zip(panels, tasks.items(), strict=True):
        sides = [side for side in LABELS if side in found["sides"]]
        for row, side in enumerate(reversed(sides)):
            numbers = found["sides"][side]
            rate, (low, high) = numbers["success"], numbers["interval"]
            colour = "#1b7f3b" if side == "rabc" else "#b8b8b8"
            axes.barh(row, rate, color=colour, height=0.7)
            axes.errorbar(rate, row, xerr=[[rate - low], [high - rate]], color="#333333", capsize=3)
            axes.plot(numbers["by_seed"], [row] * len(numbers["by_seed"]), ".", color="#333333", ms=5)
        axes.set_yticks(range(len(sides)), [LABELS[side] for side in reversed(sides)])
        axes.set(xlim=(0, 1), xlabel=f"{task}: share of episodes that succeed")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
