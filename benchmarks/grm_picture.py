"""One held-out episode from three perspectives, and the two fusions: the picture of `docs/grm.md`.

python benchmarks/grm_picture.py --model=MODEL --dataset=HELD_OUT [--episode=0] [--output=docs/assets/grm.png]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from progress_datasets.episodes import EpisodeDataset
from progress_rm.cache import cache_folder
from progress_rm.cases import TRUE_PROGRESS
from progress_rm.data import FeatureCache, load_episodes
from progress_rm.models.grm.configuration_grm import ESTIMATES
from progress_rm.models.grm.modeling_grm import GrmRewardModel
from progress_rm.models.registry import load_model


def main(argv: Sequence[str] | None = None) -> Path:
    """Ask the model and draw; returns the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a trained grm")
    parser.add_argument("--dataset", required=True, type=Path, help="a dataset with true progress")
    parser.add_argument("--episode", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "docs/assets/grm.png")
    parser.add_argument("--cache_dir", default="", help="where extracted features are kept")
    options = parser.parse_args(argv)
    model = load_model(options.model)
    assert isinstance(model, GrmRewardModel), f"{options.model} is no grm"
    dataset = EpisodeDataset(options.dataset)
    cache = FeatureCache(cache_folder(options.cache_dir), model.encoder())
    [episode] = load_episodes(dataset, cache, episodes=[options.episode], views=model.config.views)
    draw(model, episode, dataset.column(TRUE_PROGRESS, options.episode).reshape(-1), options.output)
    return Path(options.output)


def draw(model: GrmRewardModel, episode: object, truth: np.ndarray, output: Path) -> None:
    """Perspectives above, fusions below with one standard deviation; the truth in black."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    tracks = model.perspectives(episode)  # type: ignore[arg-type]
    seconds = np.arange(len(truth)) / model.config.fps
    figure, axes = plt.subplots(2, 1, figsize=(8, 4.6), sharex=True)
    for axis, names in zip(axes, (ESTIMATES[:3], ESTIMATES[3:]), strict=True):
        for name in names:
            track = tracks[name]
            [line] = axis.plot(seconds, track.progress, label=name)
            if name in ESTIMATES[3:]:
                low, high = track.progress - track.uncertainty, track.progress + track.uncertainty
                axis.fill_between(
                    seconds, np.clip(low, 0, 1), np.clip(high, 0, 1), color=line.get_color(), alpha=0.15
                )
        axis.plot(seconds, truth, color="black", ls="--", lw=1.3, label="truth")
        axis.set(ylim=(-0.03, 1.03), ylabel="progress")
        axis.legend(loc="lower right", fontsize=8)
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("seconds")
    figure.tight_layout()
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    main()
