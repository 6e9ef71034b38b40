"""`progress-rm score`: write progress for every frame of a dataset."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from progress_datasets.errors import UserError
from progress_datasets.options import DatasetsOptions
from progress_rm.cache import cache_folder

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.models.base import ProgressRewardModel, ProgressTrack


@dataclass
class ModelOptions:
    """Which trained model."""

    path: str = ""
    """Output folder of `progress-rm train`, a folder with a saved model, or a Hub repository id."""
    device: str = ""
    """Where to run; by default a GPU if there is one."""
    options: list[str] = field(default_factory=list)
    """Options of the model to answer with instead of those it was trained with, as [name=value,…]."""


@dataclass
class Config:
    """Write progress for every frame of a dataset, as the parquet file that LeRobot's RA-BC reads."""

    dataset: DatasetsOptions = field(default_factory=DatasetsOptions)
    """What to score; no annotations are needed."""
    model: ModelOptions = field(default_factory=ModelOptions)
    """The trained reward model."""
    output: str = ""
    """The parquet file; by default `sarm_progress.parquet` in the dataset's folder. Only for a single dataset."""
    cache_dir: str = ""
    """Where extracted features are kept; by default the user's cache folder."""


def run(config: Config) -> list[Path]:
    """Score the datasets; returns the files written.

    Raises:
        UserError: there is no model or dataset, or a file exists already.
    """
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.models.registry import load_model
    from progress_rm.scores import DEFAULT_NAME

    if not config.model.path:
        raise UserError("--model.path is missing; give the output folder of 'progress-rm train'")
    roots = config.dataset.roots()
    if config.output and len(roots) > 1:
        raise UserError(
            "--output names one file but there are several datasets; leave it out or score them one by one"
        )
    outputs = [Path(config.output) if config.output else Path(root) / DEFAULT_NAME for root in roots]
    for output in outputs:
        if output.exists():
            raise UserError(f"{output} exists; give another --output or delete it")
    datasets = [EpisodeDataset(root) for root in roots]
    model = load_model(config.model.path, config.model.device or None, config.model.options)
    cache = cache_folder(config.cache_dir)
    written = []
    for dataset, output in zip(datasets, outputs, strict=True):
        written.append(score_dataset(model, dataset, output, model_path=config.model.path, cache=cache))
        print(json.dumps({"scores": str(output), "episodes": dataset.num_episodes}))
    return written


def score_dataset(
    model: ProgressRewardModel,
    dataset: EpisodeDataset,
    output: Path,
    *,
    model_path: str = "",
    cache: Path | None = None,
    backwards: bool = False,
) -> Path:
    """Score every frame of a dataset.

    Each episode's scores are kept beside `output` as soon as they are there, so a killed run goes on where it stopped;
    the file itself appears whole, at the end.

    Args:
        model: a trained model.
        dataset: what to score.
        output: the parquet file to write.
        model_path: noted in the file's metadata.
        cache: folder of the feature cache; by default the user's.
        backwards: play every episode backwards; row t then holds the answer to the t-th frame from the end, so these
            are no scores to train on.

    Raises:
        UserError: `output` exists, or an instruction of the dataset is none of the model's.
    """
    from progress_rm.data import FeatureCache, load_episodes
    from progress_rm.recoloured import as_known
    from progress_rm.scores import ScoredTask, write_scores

    features = FeatureCache(cache or cache_folder(), model.encoder())
    shards = output.with_name(f"{output.name}.{_identity(model, dataset)}.partial")
    shards.mkdir(parents=True, exist_ok=True)
    known = as_known(dataset, model.config.exchange_for)
    specs = model.config.tasks
    tasks, tracks = {}, {}
    waiting = [e for e in range(dataset.num_episodes) if not (shards / f"{e:06d}.npz").exists()]
    views = getattr(model.config, "views", ())
    features.read(known, waiting, views)
    for episode in tqdm(
        range(dataset.num_episodes), desc="score backwards" if backwards else "score", unit="episode"
    ):
        instruction = dataset.task(episode)
        spec = specs[model.config.find_task(instruction)]
        tasks[instruction] = ScoredTask(tuple(spec.stages), tuple(spec.priors), spec.length_s or None)
        shard = shards / f"{episode:06d}.npz"
        if not shard.exists():
            [loaded] = load_episodes(known, features, episodes=[episode], views=views)
            _save(model.track(loaded.backwards() if backwards else loaded), shard)
        tracks[episode] = _load(shard, spec.stages)
    write_scores(
        output,
        dataset,
        tracks,
        reward_model_path=model_path,
        tasks=tasks,
        label_scheme=model.config.label_scheme,
    )
    shutil.rmtree(shards)
    return output


def _identity(model: ProgressRewardModel, dataset: EpisodeDataset) -> str:
    """Changes with model and data, so that shards of another run are never taken for these."""
    import hashlib

    import draccus

    digest = hashlib.sha256(dataset.fingerprint.encode())
    digest.update(json.dumps(draccus.encode(model.config), sort_keys=True).encode())
    for tensor in model.state_dict().values():
        digest.update(tensor.detach().cpu().double().sum().numpy().tobytes())
    return digest.hexdigest()[:12]


def _save(track: ProgressTrack, shard: Path) -> None:
    part = shard.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(
            file,
            progress=track.progress,
            stage_probs=track.stage_probs,
            uncertainty=track.uncertainty,
            success=track.success,
        )
    part.replace(shard)


def _load(shard: Path, stages: list[str]) -> ProgressTrack:
    from progress_rm.models.base import ProgressTrack

    with np.load(shard, allow_pickle=False) as arrays:
        return ProgressTrack(
            stages, arrays["progress"], arrays["stage_probs"], arrays["uncertainty"], arrays["success"]
        )
