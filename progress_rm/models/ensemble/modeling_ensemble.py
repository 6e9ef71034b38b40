"""`ensemble`: several models, from different seeds or of different families and encoders, answer together.

Deep ensembles (Lakshminarayanan et al., arXiv 1612.01474): the mean of what the members say is better than a member,
and where they disagree, as in scenes that training never showed, nobody should be sure.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import draccus
import numpy as np
import torch
from lerobot.configs.rewards import RewardModelConfig
from numpy.typing import NDArray
from torch import Tensor, nn

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.encoders.base import Encoder
from progress_rm.models.base import ProgressEstimate, ProgressRewardModel, ProgressStream, ProgressTrack
from progress_rm.models.calibration import logit
from progress_rm.models.ensemble.configuration_ensemble import EnsembleConfig
from progress_rm.models.ensemble.encoders import SideBySide
from progress_rm.models.ensemble.familiarity import Familiarity, Features
from progress_rm.recoloured import stream_in_known_colours


class EnsembleRewardModel(ProgressRewardModel):
    """Members that are asked together.

    Args:
        config: options; `members` must be filled.
        dataset_stats: unused.
        dataset_meta: unused.

    Raises:
        UserError: there are no members.
    """

    config_class = EnsembleConfig
    name = "ensemble"

    def __init__(self, config: EnsembleConfig, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        super().__init__(config)
        if not config.members:
            raise UserError(
                "an ensemble has no members yet; train it with 'progress-rm train --model.type=FAMILY --ensemble=N'"
            )
        from progress_rm.models.registry import make_model

        members = []
        for encoded in config.members:
            shared = {name: getattr(config, name) for name in ("device", "text_encoder", "text_near")}
            options = draccus.decode(RewardModelConfig, {**encoded, **shared})
            members.append(make_model(options))
        self.members = nn.ModuleList(members)
        self.familiarity = nn.ModuleList(
            Familiarity(
                0 if (encoder := one.encoder()) is None else encoder.dim, getattr(one.config, "views", ())
            )
            for one in members
        )

    @classmethod
    def of(cls, members: Sequence[ProgressRewardModel]) -> EnsembleRewardModel:
        """An ensemble of trained models that know the same tasks; families, encoders and views may differ."""
        first, configs = members[0].config, [member.config for member in members]
        config = EnsembleConfig(
            device=first.device,
            tasks=copy.deepcopy(first.tasks),
            label_scheme=first.label_scheme,
            fps=first.fps,
            text_encoder=first.text_encoder,
            text_near=first.text_near,
            members=[draccus.encode(one, RewardModelConfig) for one in configs],
            views=sorted({view for one in configs for view in getattr(one, "views", ())}),
            exchange_colours=any(getattr(one, "exchange_colours", False) for one in configs),
            state_dim=max(getattr(one, "state_dim", 0) for one in configs),
            image_size=max(
                (one.image_size for one in configs if hasattr(one, "image_size")),
                default=EnsembleConfig.image_size,
            ),
        )
        ensemble = cls(config)
        for mine, trained in zip(ensemble.members, members, strict=True):
            mine.load_state_dict(trained.state_dict())
        return ensemble

    def encoder(self) -> Encoder | None:
        """The members' encoders side by side; None if no member looks at an image."""
        return self._encoders if self._encoders.dim else None

    @cached_property
    def _encoders(self) -> SideBySide:
        """Made when the members' weights are there, of which the encoders' keys are hashes."""
        return SideBySide([member.encoder() for member in self.members])  # type: ignore[operator]

    @property
    def is_trainable(self) -> bool:
        """Its members are, one by one; `progress-rm train --ensemble=N` does it."""
        return False

    def learn_statistics(self, data: TrainingData) -> None:
        """Nothing beyond what the members learned."""

    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """It is not trained as a whole, so nothing is drawn."""
        return {}

    def calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """On held-out episodes, learn what the members usually see, then fit the success probability by logistic
        regression, and the deviation's size."""
        config = self.config
        config.success_scale, config.success_offset, config.success_levels = 1.0, 0.0, []
        config.uncertainty_scale = 1.0
        for i, familiar in enumerate(self.familiarity):
            cast(Familiarity, familiar).learn([self._encoders.seen_by(i, one).features for one in validation])
        tracks = [self.track(episode) for episode in validation]
        labels = [episode.labels for episode in validation if episode.labels is not None]
        error = np.concatenate([t.progress - one.progress for t, one in zip(tracks, labels, strict=True)])
        stated = np.concatenate([track.uncertainty for track in tracks])
        config.uncertainty_scale = float(np.sqrt(np.mean(error**2) / max(np.mean(stated**2), 1e-9)))
        beliefs = logit(np.concatenate([track.success for track in tracks]))
        lag = max(float(cast(Any, member).config.settling_s) for member in self.members)
        config.fit_success(beliefs, validation, lag)

    def track(self, episode: EpisodeFeatures) -> ProgressTrack:
        """The causal answer for every frame of an episode."""
        seen = [self._encoders.seen_by(i, episode) for i in range(len(self.members))]
        tracks = [member.track(one) for member, one in zip(self.members, seen, strict=True)]  # type: ignore[operator]
        return self._together(self.task_of(episode), tracks, [one.features for one in seen])

    def stream(self, task: str | None = None) -> ProgressStream:
        """Start a live query for the task with this instruction (the only task, if None and there is one)."""
        exchange = self.config.exchange_for(task)
        known = task if exchange is None else exchange.instruction
        streams = [member.stream(known) for member in self.members]  # type: ignore[operator]
        stream = EnsembleStream(self, self.config.find_task(known), streams)
        return stream_in_known_colours(stream, exchange)

    @torch.no_grad()
    def compute_reward(self, batch: dict[str, Tensor]) -> Tensor:
        """Mean progress of the members for each window of a batch: float32 [B], in [0, 1]. LeRobot's interface."""
        rewards = [member.compute_reward(batch) for member in self.members]  # type: ignore[operator]
        return torch.stack(rewards).mean(0)

    def _together(
        self, task: int, tracks: Sequence[ProgressTrack], seen: Sequence[Features]
    ) -> ProgressTrack:
        """The mixture of the members' answers: its mean, and a deviation of theirs and of their disagreement.

        Each counts as what it saw is familiar to it; `seen` has their features.
        """
        config = self.config
        weights = np.stack(
            [
                cast(Familiarity, familiar).weight(features, len(tracks[0]))
                for familiar, features in zip(self.familiarity, seen, strict=True)
            ]
        )
        weights /= weights.sum(0)
        progress, own, stages = (
            np.stack([np.asarray(getattr(track, name), np.float64) for track in tracks])
            for name in ("progress", "uncertainty", "stage_probs")
        )
        # The mean of probabilities, not of log odds: a member that is sure of what it has never seen counts as one.
        belief = logit((weights * [track.success for track in tracks]).sum(0))
        mean = (weights * progress).sum(0)
        variance = (weights * (own**2 + (progress - mean) ** 2)).sum(0)
        return ProgressTrack(
            stages=tracks[0].stages,
            progress=mean.astype(np.float32),
            stage_probs=(weights[:, :, None] * stages).sum(0).astype(np.float32),
            uncertainty=np.clip(config.uncertainty_scale * np.sqrt(variance), 0, 1).astype(np.float32),
            success=config.success(task, belief).astype(np.float32),
        )


class EnsembleStream:
    """A live query of every member."""

    def __init__(self, model: EnsembleRewardModel, task: int, streams: Sequence[ProgressStream]) -> None:
        self._model, self._task, self._streams = model, task, streams

    def step(
        self,
        frames: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.float32] | None = None,
        timestamp: float | None = None,
    ) -> ProgressEstimate:
        """Advance by one tick; see `ProgressStream.step`."""
        moment = self._model._encoders.moment(frames)
        answers = [_one_frame(stream.step(moment, state, timestamp)) for stream in self._streams]
        views = [getattr(member.config, "views", ()) for member in self._model.members]
        seen = [self._model._encoders.seen_in(i, moment, known) for i, known in enumerate(views)]
        return self._model._together(self._task, answers, seen)[0]


def _one_frame(answer: ProgressEstimate) -> ProgressTrack:
    return ProgressTrack(
        stages=list(answer.stage_probs),
        progress=np.array([answer.progress], np.float32),
        stage_probs=np.array([list(answer.stage_probs.values())], np.float32),
        uncertainty=np.array([answer.uncertainty], np.float32),
        success=np.array([answer.success], np.float32),
    )
