"""The picture of `shaping_theory.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def draw_trap(path: Path, chances: NDArray[np.float64], gains: Mapping[str, Sequence[float]]) -> None:
    """The semantic trap as a picture.

    Args:
        path: where to.
        chances: [N] probabilities that letting go succeeds.
        gains: how much more it then pays than holding on, [N] by way of shaping.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.axhspan(-40, 0, color="#fbe3df", zorder=0)
    styles = {"policy_invariant": "--", "sparse": "-", "difference": "-", "additive": "-"}
    colours = {
        "sparse": "#888888",
        "policy_invariant": "#1b7f3b",
        "difference": "#d98c00",
        "additive": "#c22f2f",
    }
    for mode, gain in gains.items():
        axes.plot(chances, gain, styles[mode], color=colours[mode], label=mode.replace("_", "-"), lw=2)
    axes.text(0.98, -5, "trapped: holding the cube over the bin pays more", ha="right", color="#a33")
    axes.set(xlabel="probability that letting go succeeds", ylabel="return of letting go − of holding on")
    axes.set_yscale("symlog", linthresh=1)
    axes.set(
        xlim=(0, 1), ylim=(-40, 2), yticks=[-30, -10, -1, 0, 1], yticklabels=["−30", "−10", "−1", "0", "1"]
    )
    axes.legend(frameon=False, loc="center right", ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
