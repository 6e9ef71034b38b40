"""LeRobot's SARM, unmodified: its processor, its networks, its loss, its optimiser and schedule."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.rewards.sarm.configuration_sarm import SARMConfig
from lerobot.rewards.sarm.modeling_sarm import SARMRewardModel
from lerobot.rewards.sarm.processor_sarm import make_sarm_pre_post_processors
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from judge.adapter import Budget, Material, PerTask, Raw, labels_of, mean_error, tuned
from judge.models.sarm_shared_features import IMAGE, STATE, Annotations, Frames, instead_of_clip
from progress_rm.data import EpisodeFeatures
from progress_rm.encoders.base import Encoder
from progress_rm.encoders.text import DIM as TEXT_DIM
from progress_rm.trainer import precision

BATCH = 64
"""LeRobot's default."""


@dataclass(frozen=True)
class SarmModel:
    """A trained SARM of one task, and how it is asked.

    Attributes:
        network: LeRobot's model.
        views: whose features it reads, side by side.
        encoder: for the features of a black picture.
        stats: mean and standard deviation of the state, as LeRobot's dataset has them.
        reading: "as_shipped" (frame t in the middle of a window that reaches ±4 gaps), or without the future: "hold"
            (the same, frames after t replaced by frame t) or "last" (the window ends at t, its last answer is taken).
    """

    network: SARMRewardModel
    views: list[str]
    encoder: Encoder
    stats: dict[str, dict[str, torch.Tensor]]
    reading: str = "as_shipped"


class LerobotSarm(PerTask[SarmModel]):
    """As its own script scores a dataset: the window reaches four frame gaps into the future."""

    name = "lerobot_sarm"
    about = (
        "LeRobot 0.6's SARM, installed by pip, its code unmodified, one a task; CLIP replaced by the shared features "
        "through its processor. Learning rate, frame gap, camera (or all side by side), size and whether it sees "
        "failed demonstrations are tuned on three tasks' validation episodes, checkpoints chosen on each task's. Asked "
        "as its scoring script asks: the window reaches 4 frame gaps into the FUTURE."
    )
    tuned_on = 3
    # The frame gap is in seconds, as every recording has its own rate.
    axes: Mapping[str, Any] = {
        "gap_s": [1.0, 0.5],
        "learning_rate": [5e-4, 1.5e-4, 5e-5],
        "views": ["all", "front", "top", "wrist"],
        "episodes": ["all", "successful"],
        "size": [[128, 2, 4], [256, 4, 8]],
    }

    @property
    def folder_name(self) -> str:
        """One training, tuned once, for both ways of asking."""
        return "lerobot_sarm"

    def fit_task(
        self, material: Material, options: Mapping[str, Any], budget: Budget, seed: int, folder: Path
    ) -> SarmModel:
        """Train by its own `forward` on batches from its own processor."""
        views = list(material.views) if options["views"] == "all" else [options["views"]]
        views = [view for view in views if view in material.views] or list(material.views)
        [task] = material.kinds.values()
        training = material.training
        if options["episodes"] == "successful":
            training = [e for e in training if labels_of(e).done.any()]
        frames = Frames.of(training, views, material.encoder)
        segments = [e.source[0].segments(e.source[1]) for e in training]
        meta = Annotations(frames, segments, task.stages, task.priors, folder)
        config = make_config(options, frames.features.shape[1], int(frames.state.shape[1]), material.fps)
        stats = {STATE: {"mean": frames.state.mean(0), "std": frames.state.std(0)}}
        torch.manual_seed(seed)
        network = SARMRewardModel(config, dataset_stats=stats, dataset_meta=meta)
        model = SarmModel(network, views, material.encoder, stats)
        weights = folder / "model.safetensors"
        if not weights.exists():
            self._train(model, frames, meta, material, budget, seed, weights)
        network.load_state_dict(load_file(weights))
        network.eval()
        return model

    def _train(
        self,
        model: SarmModel,
        frames: Frames,
        meta: Annotations,
        material: Material,
        budget: Budget,
        seed: int,
        weights: Path,
    ) -> None:
        """As `lerobot-train` does; the checkpoint with the least validation error, asked as shipped, is kept."""
        import faker

        network, config = model.network, model.network.config
        random.seed(seed)
        faker.Faker.seed(seed)
        with instead_of_clip(frames.features):
            processor, _ = make_sarm_pre_post_processors(config, model.stats, meta)
        steps = max(1, budget.samples // BATCH)
        rate = config.learning_rate
        optimizer = replace(config.get_optimizer_preset(), lr=rate).build(network.get_optim_params())
        schedule = replace(config.get_scheduler_preset(), peak_lr=rate, decay_lr=rate / 10)
        scheduler = schedule.build(optimizer, steps)
        sampler, best = Sampler(frames, config.drop_n_last_frames, seed), float("inf")
        for step in range(1, steps + 1):
            network.train()
            batch = processor(sampler.draw(config.observation_delta_indices))
            with torch.autocast("cpu", torch.bfloat16, enabled=precision("auto") == "bf16"):
                loss, _ = network.forward(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.get_optimizer_preset().grad_clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
            if step % max(1, steps // budget.checks) == 0 or step == steps:
                answers = [self.ask_model(model, e).progress for e in material.validation]
                error = mean_error(answers, material.validation)
                if error < best or not weights.exists():
                    best = error
                    save_file(network.state_dict(), weights.with_suffix(".best"))
        weights.with_suffix(".best").replace(weights)

    @torch.no_grad()
    def ask_model(self, model: SarmModel, episode: EpisodeFeatures) -> Raw:
        """Every frame asked for, in one batch instead of one by one; success is as likely as progress is high."""
        network, config = model.network, model.network.config
        network.eval()
        frames = Frames.of([episode], model.views, model.encoder)
        with instead_of_clip(frames.features):
            processor, _ = make_sarm_pre_post_processors(config, model.stats, None)
        for step in processor.steps:
            if hasattr(step, "eval"):
                step.eval()
        wanted, slot = windows_of(len(episode), config, model.reading)
        progress, stages = [], []
        for rows in np.array_split(np.arange(len(episode)), max(1, len(episode) // 128)):
            batch = frames.windows(np.zeros(len(rows), np.int64), wanted[rows])
            batch |= {"index": torch.from_numpy(rows), "task": [episode.task] * len(rows)}
            seen = processor(batch)
            reward, probs = network.calculate_rewards(
                seen["text_features"],
                seen["video_features"],
                seen["state_features"],
                lengths=seen["lengths"],
                return_all_frames=True,
                return_stages=True,
                head_mode="dense",
            )
            progress.append(reward[:, slot])
            stages.append(probs[:, slot])
        answer = np.concatenate(progress)
        return Raw(answer, answer, np.concatenate(stages))


class LerobotSarmCausal(LerobotSarm):
    """The same trained networks, asked without the future."""

    name = "lerobot_sarm_causal"
    about = (
        "The same trained networks asked so that nothing after t is seen: either frames after t are replaced by frame "
        "t, or the window ends at t and its last answer is taken, whichever validates better over all tasks."
    )

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Load what is trained, or train it; then choose how to ask."""
        super().fit(material, budget, seed, folder, choices)

        def asked(reading: str) -> dict[str, SarmModel]:
            return {kind: replace(model, reading=reading) for kind, model in self._models.items()}

        def error(options: Mapping[str, Any]) -> float:
            models = asked(options["reading"])
            return float(
                np.mean([self.error(models[kind], material.of_kind(kind).validation) for kind in models])
            )

        axes = {"reading": ["last", "hold"]}
        self._models = asked(
            tuned(axes, error if budget.trial else None, choices / "reading.json")["reading"]
        )


def windows_of(length: int, config: SARMConfig, reading: str) -> tuple[NDArray[np.int64], int]:
    """Frames [T, 13] of the window for each frame, and the slot that answers for it."""
    now = np.arange(length)[:, None]
    deltas = np.array(config.observation_delta_indices)
    middle = config.n_obs_steps // 2
    if reading == "last":
        return now - middle * config.frame_gap + deltas, config.n_obs_steps
    wanted = now + deltas
    return (np.minimum(wanted, now) if reading == "hold" else wanted), middle


def make_config(options: Mapping[str, Any], features: int, state: int, fps: float) -> SARMConfig:
    """SARM's options: its own defaults but for size, learning rate, and the frame gap in frames."""
    hidden, layers, heads = options["size"]
    config = SARMConfig(
        annotation_mode="dense_only",
        frame_gap=max(1, round(options["gap_s"] * fps)),
        image_dim=features,
        text_dim=TEXT_DIM,
        hidden_dim=hidden,
        num_layers=layers,
        num_heads=heads,
        max_state_dim=max(32, state),
        clip_batch_size=1 << 20,
        image_key=IMAGE,
        device="cpu",
    )
    config.learning_rate = options["learning_rate"]
    return config


class Sampler:
    """Batches of one instruction each, as SARM reads one task string a batch; frames alike."""

    def __init__(self, frames: Frames, drop_last: int, seed: int) -> None:
        self._frames, self._rng = frames, np.random.default_rng(seed)
        self._groups = []
        for task in dict.fromkeys(frames.tasks):
            mine = [i for i, other in enumerate(frames.tasks) if other == task]
            places = [
                (episode, frame)
                for episode in mine
                for frame in range(
                    frames.starts[episode], max(frames.starts[episode] + 1, frames.ends[episode] - drop_last)
                )
            ]
            self._groups.append((task, np.array(places, np.int64)))
        self._share = np.array([len(places) for _, places in self._groups], np.float64)

    def draw(self, deltas: list[int]) -> dict[str, Any]:
        """One batch, as LeRobot's data loader gives it."""
        which = int(self._rng.choice(len(self._groups), p=self._share / self._share.sum()))
        task, places = self._groups[which]
        picked = places[self._rng.integers(len(places), size=BATCH)]
        batch = self._frames.windows(picked[:, 0], picked[:, 1:] + np.array(deltas))
        return batch | {"index": torch.from_numpy(picked[:, 1].copy()), "task": [task] * BATCH}
