"""What `sarm2` sees in an episode of each task: primitives, experts and progress, as a picture.

    python benchmarks/sarm2_picture.py --model=MODEL --dataset DATASET … [--episode=0] --output=PICTURE.png

A column a dataset: pictures of the episode, the probability of each primitive over time, how much each expert is
listened to, and progress with its uncertainty beside the true progress, if that was recorded.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from progress_datasets.episodes import EpisodeDataset
from progress_rm.cache import cache_folder
from progress_rm.data import FeatureCache, load_episodes
from progress_rm.models.registry import load_model
from progress_rm.models.sarm2.primitives import PRIMITIVES

PICTURES = 5
"""Frames shown of an episode."""


def main(argv: Sequence[str] | None = None) -> Path:
    """Ask the model, draw, and return where."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="output folder of the training of a sarm2")
    parser.add_argument("--dataset", type=Path, nargs="+", required=True, help="a column each")
    parser.add_argument("--episode", type=int, default=0, help="which episode of each")
    parser.add_argument("--cache_dir", default="", help="where features are kept")
    parser.add_argument("--output", type=Path, required=True, help="the picture")
    options = parser.parse_args(argv)
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    model: Any = load_model(options.model)
    seen = [_ask(model, EpisodeDataset(root), options.episode, options.cache_dir) for root in options.dataset]
    shown = sorted({int(p) for _, told, *_ in seen for p in told.argmax(1)})
    figure, axes = plt.subplots(
        4, len(seen), figsize=(5 * len(seen), 7.5), squeeze=False, height_ratios=(1.1, 2.2, 1.4, 1.8)
    )
    for column, (title, told, asked, track, truth, pictures, seconds) in zip(axes.T, seen, strict=True):
        extent = (0, seconds[-1])
        column[0].imshow(pictures)
        column[0].axis("off")
        column[0].set_title(title, fontsize=9)
        column[1].imshow(
            told[:, shown].T, aspect="auto", cmap="Blues", vmin=0, vmax=1, extent=(*extent, len(shown), 0)
        )
        column[1].set_yticks(np.arange(len(shown)) + 0.5, [PRIMITIVES[p] for p in shown], fontsize=7)
        column[2].imshow(
            asked.T, aspect="auto", cmap="Oranges", vmin=0, vmax=1, extent=(*extent, asked.shape[1], 0)
        )
        column[2].set_yticks([])
        column[2].set_ylabel("experts", fontsize=8)
        low, high = track.progress - track.uncertainty, track.progress + track.uncertainty
        column[3].fill_between(seconds, low.clip(0), high.clip(None, 1), alpha=0.25)
        column[3].plot(seconds, track.progress, label="sarm2")
        if truth is not None:
            column[3].plot(seconds, truth, "k--", lw=1, label="truth")
        column[3].set(xlim=extent, ylim=(-0.03, 1.03), xlabel="seconds")
        column[3].grid(alpha=0.3)
    axes[3, 0].set_ylabel("progress", fontsize=8)
    axes[3, 0].legend(loc="upper left", fontsize=8)
    figure.tight_layout()
    figure.savefig(options.output, dpi=80)
    plt.close(figure)
    print(f"written to {options.output}")
    output: Path = options.output
    return output


def _ask(model: Any, dataset: EpisodeDataset, number: int, cache: str) -> tuple[Any, ...]:
    features = FeatureCache(cache_folder(cache), model.encoder())
    [episode] = load_episodes(dataset, features, episodes=[number], views=model.config.views)
    told, asked = model.primitives(episode)
    truth = np.asarray(dataset.column("progress", number)) if dataset.has_column("progress") else None
    frames = list(dataset.frames(number, dataset.views[0]))
    chosen = np.linspace(0, len(frames) - 1, PICTURES).round().astype(int)
    pictures = np.hstack([frames[i] for i in chosen])
    return episode.task, told, asked, model.track(episode), truth, pictures, episode.timestamps


if __name__ == "__main__":
    main()
