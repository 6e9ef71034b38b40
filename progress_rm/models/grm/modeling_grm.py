"""`grm`: progress from hops between two moments, with the first frame and a goal (after Robo-Dopamine, 2512.23703)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.exemplars import ExemplarConfig
from progress_rm.models.base import ProgressTrack, TaskSpec
from progress_rm.models.features import in_passes
from progress_rm.models.grm.anchors import Memory
from progress_rm.models.grm.answers import (
    HopEvidence,
    Near,
    answer,
    belief,
    blended,
    mean_square,
    reconstruct_all,
)
from progress_rm.models.grm.comparer import HopComparer, Views
from progress_rm.models.grm.configuration_grm import ESTIMATES
from progress_rm.models.grm.losses import losses
from progress_rm.models.grm.network import Moments
from progress_rm.models.grm.reconstruct import Reconstruction, earlier_moments
from progress_rm.models.grm.sampling import sample_frames, sample_hops
from progress_rm.recoloured import recoloured, stream_in_known_colours


class GrmRewardModel(HopComparer):
    """A comparer of two moments; progress is put together from its answers.

    Args:
        config: options; `tasks` must be filled.
        dataset_stats: unused; statistics are taken from the training episodes.
        dataset_meta: unused; `lerobot-train` does not draw pairs of moments, `progress-rm train` does.

    Raises:
        UserError: there are no tasks.
    """

    def learn_statistics(self, data: TrainingData) -> None:
        """See `FeatureModel.learn_statistics`; where there are features, also goals and frames to rehearse."""
        super().learn_statistics(data)
        if data.episodes[0].features:
            self.remember(data, range(len(data.tasks)))
        if self.config.exemplars > 0 and not self.encoder_is_trained:
            self.neighbours.learn(data, self.config.exemplars)

    def remember(self, data: TrainingData, tasks: Sequence[int], before: Memory | None = None) -> None:
        """Learn the goals of these tasks and keep some of their frames, besides those kept before."""
        self.goals.learn(data, self.config.views, tasks)
        if self.config.replay:
            device = self.feature_mean.device
            dim = int(self._encoder.dim)
            self.memory = Memory.of(data, self.config, tasks, dim, before).to(device)
            self.config.replay_rows = len(self.memory.facts)

    def extended(self, tasks: Sequence[TaskSpec], data: TrainingData) -> GrmRewardModel:
        """A copy with the same weights that has the new tasks' goals; see `ProgressRewardModel.extended`."""
        config = copy.deepcopy(self.config)
        known = len(config.tasks)
        config.tasks = [*config.tasks, *tasks]
        bigger = GrmRewardModel(config)
        shared = {
            k: v for k, v in self.state_dict().items() if k.split(".")[0] not in ("goals", "instructions")
        }
        bigger.load_state_dict(shared, strict=False)
        bigger.goals.extend(self.goals)
        bigger.to(self.feature_mean.device)
        bigger.remember(data, range(known, len(config.tasks)), before=self.memory)
        return bigger

    def keep_exemplars(self, data: TrainingData) -> None:
        """Their nearest moments have a say in progress; see `ProgressRewardModel.keep_exemplars`."""
        self.neighbours.learn(data, ExemplarConfig.memory)

    def rehearsal(self) -> list[EpisodeFeatures]:
        """The frames that were remembered of every task."""
        return self.memory.episodes(self.config)

    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """About `size` hops of all tasks."""
        return sample_hops(self.config, data, rng, size)

    def sample_frames(
        self, data: TrainingData, frames: Any, rng: np.random.Generator, size: int
    ) -> dict[str, Any]:
        """Hops among `size` frames with their pixels, to train the encoder on."""
        return sample_frames(self.config, data, frames, rng, size)

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Loss of a batch from `sample`.

        Returns:
            The summed losses of the hop and of "complete", and each of them.
        """
        device = self.feature_mean.device
        batch = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
        if "index" not in batch:
            raise UserError("grm learns from pairs of moments; train it with 'progress-rm train'")
        mask = batch["view_mask"]
        features = batch["features"] if "features" in batch else self._encode(batch["frames"], mask)
        ids = torch.arange(mask.shape[1], device=device)
        features = self._standardise(features, ids) * mask[..., None]
        state = self._standardise_state(batch["state"]) * batch["state_mask"][:, None]
        features, mask, state, state_mask = _with_goals(features, mask, state, batch)
        if self.training:
            features = features + self.config.feature_noise * torch.randn_like(features)
        moments = self.network.moments(features, mask, state, state_mask)
        tokens, present = moments.pick(batch["index"])
        names = ids.expand(len(tokens), -1)
        instructed = torch.full((len(tokens),), bool(self.config.use_instruction), device=device)
        if self.training:
            present, names, instructed = self._hidden(present, names, instructed, batch["index"])
        logits, done = self.network.compare(
            tokens, present, names, self.instructed(batch["instruction"]), instructed
        )
        return losses(logits, done, batch, self.network.hop_values)

    def _hidden(
        self, present: Tensor, names: Tensor, instructed: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Drop views, names of views, state, first frame, goal and instruction, each query for itself."""
        config, count, views = self.config, *names.shape

        def keep(probability: float, *shape: int) -> Tensor:
            return torch.rand(*shape, device=names.device) >= probability

        seen = keep(config.view_dropout, count, views)
        lost = ~(seen & present[:, :views, 3]).any(1, keepdim=True)
        body = keep(config.state_dropout, count, 1)
        present = present & torch.cat([seen | lost, body], dim=1)[..., None]
        roles = torch.ones(count, 1, 4, dtype=torch.bool, device=names.device)
        for role in (0, 1):
            roles[:, 0, role] = keep(config.context_dropout, count)
        # A hop from the goal, where the goal is not known: what is left to do, by the instruction alone.
        roles[:, 0, 2] = roles[:, 0, 1] | (index[:, 1] != index[:, 2])
        names = torch.where(keep(config.view_dropout / 2, count, views), names, views)
        return present & roles, names, instructed & keep(config.context_dropout, count)

    def track(self, episode: EpisodeFeatures) -> ProgressTrack:
        """The causal answer for every frame of an episode, by the config's `estimate`."""
        return answer(self.config, *self._read(episode))

    def perspectives(self, episode: EpisodeFeatures) -> dict[str, ProgressTrack]:
        """The answer of every perspective and fusion, by name (`ESTIMATES`)."""
        read = self._read(episode)
        return {name: answer(self.config, *read, name) for name in ESTIMATES}

    def _read(self, episode: EpisodeFeatures) -> tuple[int, list[Reconstruction], Near]:
        """The task of an episode, and of every frame what hops and the nearest moments say."""
        task = self.task_of(episode)
        rows = reconstruct_all(self.config, self.evidence(episode, task), episode.timestamps)
        near = self.neighbours.start(task).follow(episode.features, episode.timestamps)
        return task, rows, near

    @torch.no_grad()
    def evidence(self, episode: EpisodeFeatures, task: int) -> HopEvidence:
        """What the network says of every frame of an episode: three hops each."""
        self.eval()
        views = self.usable_views(episode.features)
        last = len(episode) - 1
        moments = self.moments({v: episode.features[v] for v in views}, views, episode.state)
        if self.config.goal == "hindsight":
            goal = Moments(moments.tokens[last:], moments.present[last:])
        else:
            goal = self.goal_moment(task, views)
        earlier = earlier_moments(episode.timestamps, self.config.hop_s)
        words = self.words(task, episode.task)
        parts = []
        for chunk in in_passes(len(episode)):
            rows = np.unique(np.concatenate([[0], earlier[chunk], chunk]))
            place = {int(row): i for i, row in enumerate(rows)}
            some = Moments(
                torch.cat([moments.tokens[rows], goal.tokens]),
                torch.cat([moments.present[rows], goal.present]),
            )
            triples = [(0, place[int(b)], place[int(t)]) for t, b in zip(chunk, earlier[chunk], strict=True)]
            parts.append(self.ask(some, triples, views, words))
        return HopEvidence.concatenate(parts)

    def calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """Fit stated deviations and the success probability, and note the error of every perspective and fusion."""
        config = self.config
        config.uncertainty_scale = 1.0
        _, rows, near = zip(*(self._read(episode) for episode in validation), strict=True)
        labels = [e.labels for e in validation if e.labels is not None]
        truth = [np.asarray(one.progress, np.float64) for one in labels]
        config.validation_mse = mean_square(rows, truth)
        flat = [*chain(*rows)], [*chain(*near)]
        progress, variance = blended(config, *flat, config.estimate)
        error, stated = progress - np.concatenate(truth), float(np.mean(variance))
        config.uncertainty_scale = float(np.sqrt(np.mean(error**2) / max(stated, 1e-9)))
        said = belief(config, *flat)
        config.fit_success(said, validation, config.settling_s)

    def stream(self, task: str | None = None, goal: Views | None = None) -> Any:
        """Start a live query for the task with this instruction (the only task, if None and there is one).

        Args:
            task: the instruction.
            goal: pictures of the goal by view, RGB uint8 [H, W, 3]; by default the config's `goal`.
        """
        from progress_rm.models.grm.stream import GrmStream

        index, exchange = self.config.find_task(task), self.config.exchange_for(task)
        shown = None if goal is None else recoloured(goal, exchange)
        return stream_in_known_colours(GrmStream(self, index, self.words(index, task), shown), exchange)

    @torch.no_grad()
    def compute_reward(self, batch: dict[str, Any]) -> Tensor:
        """Progress for each row of a LeRobot batch, float32 [B] in [0, 1]: the mean of forward and backward hop.

        `observation.images.*` are float [B, C, H, W] of now, or [B, W, C, H, W] from the episode's first frame to now;
        without the first frame only the goal is compared with.
        """
        from progress_rm.models.grm.lerobot_batches import anchored_progress

        self.eval()
        return anchored_progress(self, batch)


def _with_goals(
    features: Tensor, mask: Tensor, state: Tensor, batch: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Append goals, each the mean of what some rows show; moments are zero where they show nothing."""
    chosen, there = batch["goals"], batch["goal_mask"]
    views = (mask[chosen] & there[..., None]).float()
    bodies = (batch["state_mask"][chosen] & there).float()
    goal = (features[chosen] * views[..., None]).sum(1) / views.sum(1).clamp(min=1)[..., None]
    pose = (state[chosen] * bodies[..., None]).sum(1) / bodies.sum(1).clamp(min=1)[..., None]
    return (
        torch.cat([features, goal]),
        torch.cat([mask, views.any(1)]),
        torch.cat([state, pose]),
        torch.cat([batch["state_mask"], bodies.any(1)]),
    )
