"""The picture of `dopamine_rl.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOOKS = {
    "true_progress": ("true progress", "#333333", "--"),
    "shaped": ("shaped, learned progress", "#1b7f3b", "-"),
    "shaped_gamma": ("the same without the shorter horizon", "#7fbf7b", "-"),
    "sparse": ("sparse", "#2166ac", "-"),
    "random_potential": ("shaped, random potential", "#999999", ":"),
    "difference": ("difference of progress", "#e08214", "-"),
    "additive": ("progress added", "#b2182b", "-"),
}


def draw(path: Path, tasks: Mapping[str, Mapping[str, Any]]) -> None:
    """Success against rollouts, interquartile mean and 95 % interval of the seeds, a panel for each task.

    Args:
        path: where to.
        tasks: what `summarise` says of each.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(tasks) + 2.6, 3.6), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, (task, found) in zip(panels, tasks.items(), strict=True):
        for reward, (label, colour, style) in LOOKS.items():
            if reward in found["curves"]:
                stops, mean, low, high = zip(*found["curves"][reward], strict=True)
                axes.fill_between(stops, low, high, color=colour, alpha=0.12, lw=0)
                axes.plot(stops, mean, style, color=colour, label=label)
        axes.set(ylim=(0, 1), xlabel="rollouts", title=task)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("success in 100 new scenes")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
