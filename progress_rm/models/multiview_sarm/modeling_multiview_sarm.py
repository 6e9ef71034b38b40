"""`multiview_sarm`: stage-aware progress from any number of views (after SARM, arXiv 2509.25358)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.encoders import make_encoder
from progress_rm.encoders.base import Encoder
from progress_rm.encoders.text import DIM as INSTRUCTION_DIM
from progress_rm.encoders.text import embed_instruction
from progress_rm.exemplars import ExemplarHead
from progress_rm.models.base import (
    ProgressEstimate,
    ProgressRewardModel,
    ProgressTrack,
    find_task,
    words_for,
)
from progress_rm.models.multiview_sarm.answers import Answers, StageEvidence
from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
from progress_rm.models.multiview_sarm.losses import losses
from progress_rm.models.multiview_sarm.masks import dropped_views, stages_of_task
from progress_rm.models.multiview_sarm.memory import ask_exemplars, fit_exemplars
from progress_rm.models.multiview_sarm.network import Evidence, MultiviewSarmNetwork
from progress_rm.models.multiview_sarm.sampling import sample_frames, sample_windows
from progress_rm.windows import WindowSampler

_CHUNK = 256
"""Frames or windows a pass when scoring."""


class MultiviewSarmRewardModel(ProgressRewardModel):
    """Stage head and within-stage head over a causal window of set-fused views, then the stage filter.

    Args:
        config: options; `tasks` must be filled unless `dataset_meta` is given.
        dataset_stats: unused; statistics are taken from the training episodes.
        dataset_meta: given by `lerobot-train`; tasks and labels are then read from that dataset.

    Raises:
        UserError: there are no tasks, or the options contradict the dataset.
    """

    config_class = MultiviewSarmConfig
    name = "multiview_sarm"

    def __init__(
        self, config: MultiviewSarmConfig, dataset_stats: Any = None, dataset_meta: Any = None
    ) -> None:
        super().__init__(config)
        self._lerobot = None
        if dataset_meta is not None:
            from progress_rm.models.multiview_sarm.lerobot_batches import LeRobotBatches

            self._lerobot = LeRobotBatches(config, dataset_meta)
        if not config.tasks:
            raise UserError(
                "multiview_sarm knows no task yet; train it with 'progress-rm train' or load a trained one"
            )
        self.windows = WindowSampler(config.window, config.spacing_s)
        self._encoder: Any = make_encoder(
            config.encoder, image_size=config.image_size, dim=config.encoder_dim
        )
        dim = int(self._encoder.dim)
        num_stages = stages_of_task(config.tasks).shape[1]
        self.network = MultiviewSarmNetwork(
            feature_dim=dim,
            num_views=len(config.views),
            state_dim=config.state_dim if config.use_state else 0,
            instruction_dim=INSTRUCTION_DIM,
            num_stages=num_stages,
            slots=config.window + 1,
            hidden=config.hidden,
            layers=config.layers,
            heads=config.heads,
            bins=config.bins,
            dropout=config.dropout,
        )
        views, state = len(config.views) + 1, config.state_dim if config.use_state else 0
        self.feature_mean: Tensor
        self.feature_scale: Tensor
        self.state_mean: Tensor
        self.state_scale: Tensor
        self.stages_of_task: Tensor
        self.instructions: Tensor
        self.register_buffer("feature_mean", torch.zeros(views, dim))
        self.register_buffer("feature_scale", torch.ones(views, dim))
        self.register_buffer("state_mean", torch.zeros(state))
        self.register_buffer("state_scale", torch.ones(state))
        self.register_buffer("stages_of_task", stages_of_task(config.tasks))
        self.register_buffer(
            "instructions",
            torch.from_numpy(np.stack([embed_instruction(t.instruction) for t in config.tasks])),
        )
        self.exemplars = nn.ModuleList(
            ExemplarHead(len(task.stages), len(config.views), self._blocks(), rows)
            for task, rows in zip(config.tasks, config.exemplar_rows, strict=False)
        )
        self.answers = Answers(config)

    # --- what the trainer asks for ------------------------------------------------------------------------------

    def encoder(self) -> Encoder | None:
        """The image encoder; `small_cnn` is a part of the model and trained with it."""
        encoder: Encoder = self._encoder
        return encoder

    def learn_statistics(self, data: TrainingData) -> None:
        """Standardisation of state and, for a frozen encoder, of features (per view)."""
        if not self.encoder_is_trained:
            known = self.config.views
            pooled: list[NDArray[np.float32]] = []
            for i, view in enumerate(known):
                found = [e.features[view] for e in data.episodes if view in e.features]
                pooled.append(np.concatenate(found).astype(np.float32))
                self._set_feature_statistics(i, pooled[-1])
            self._set_feature_statistics(len(known), np.concatenate(pooled))
        states = [e.state for e in data.episodes if e.state is not None]
        if self.state_mean.numel() and states:
            rows = np.concatenate(states)
            self.state_mean.copy_(torch.from_numpy(rows.mean(0)))
            self.state_scale.copy_(torch.from_numpy(np.maximum(rows.std(0), 1e-3)))
        if self.config.exemplars > 0 and not self.encoder_is_trained:
            self.exemplars = fit_exemplars(data, self.config.views, self._blocks(), self.config.exemplars)
            self.config.exemplar_rows = [cast(ExemplarHead, head).rows for head in self.exemplars]

    def _blocks(self) -> Sequence[int]:
        """Widths of the parts of a feature vector that mean different things."""
        return getattr(self._encoder, "blocks", None) or [int(self._encoder.dim)]

    def _set_feature_statistics(self, view: int, rows: NDArray[np.float32]) -> None:
        self.feature_mean[view] = torch.from_numpy(rows.mean(0)).to(self.feature_mean)
        floor = 1e-3 + 0.05 * float(rows.std())
        self.feature_scale[view] = torch.from_numpy(np.maximum(rows.std(0), floor)).to(self.feature_scale)

    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """`size` windows of all tasks, with rewound and wrongly instructed ones among them."""
        return sample_windows(self.config, self.windows, data, rng, size)

    def sample_frames(
        self, data: TrainingData, frames: Any, rng: np.random.Generator, size: int
    ) -> dict[str, Any]:
        """`size` single frames with their pixels, to train the encoder on."""
        return sample_frames(self.config, data, frames, rng, size)

    @property
    def encoder_is_trained(self) -> bool:
        """Whether the encoder has weights that training must find."""
        return isinstance(self._encoder, nn.Module)

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Loss of a batch from `sample`, or from LeRobot's data loader.

        Returns:
            The summed cross entropies of stage, position within the stage, done and match, and each of them.
        """
        if "stage" not in batch:
            if self._lerobot is None:
                raise UserError("this model was not made for a dataset; lerobot-train gives it one")
            batch = self._lerobot.convert(batch)
        batch = {k: v.to(self.feature_mean.device) if isinstance(v, Tensor) else v for k, v in batch.items()}
        evidence = self._evidence(batch)
        return losses(evidence, batch, self.stages_of_task)

    def _evidence(self, batch: dict[str, Any]) -> Evidence:
        features = (
            batch["features"] if "features" in batch else self._encode(batch["frames"], batch["view_mask"])
        )
        view_ids, view_mask, state = batch["view_ids"], batch["view_mask"], batch["state"]
        count, width = view_mask.shape[:2]
        features = self._standardise(features.flatten(0, 1), view_ids)
        state_mask = batch["state_mask"]
        if self.training:
            features = features + self.config.feature_noise * torch.randn_like(features)
            view_mask = view_mask & dropped_views(view_mask, self.config.view_dropout)
            state_mask = state_mask & (
                torch.rand(count, device=state_mask.device) >= self.config.state_dropout
            )
        tokens = self.network.frames(
            features,
            view_ids,
            view_mask.flatten(0, 1),
            self._standardise_state(state.flatten(0, 1)),
            state_mask[:, None].expand(-1, width).flatten(),
        )
        instruction = batch.get("words")
        if instruction is None:
            instruction = self.instructions[batch["instruction"]]
        if not self.config.use_instruction:
            instruction = torch.zeros_like(instruction)
        return self.network.read(
            tokens.reshape(count, width, -1), batch["frame_mask"], batch["slots"], instruction
        )

    def _encode(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Pixels uint8 [B, W, V, H, W, 3] → features [B, W, V, D], where `mask` [B, W, V] says there are any."""
        if isinstance(self._encoder, nn.Module):
            present = self._encoder(frames[mask])
        else:
            present = torch.from_numpy(self._encoder.encode(frames[mask].cpu().numpy())).to(mask.device)
        features = torch.zeros(*mask.shape, present.shape[-1], dtype=torch.float32, device=mask.device)
        features[mask] = present.float()
        return features

    # --- answering ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def track(self, episode: EpisodeFeatures) -> ProgressTrack:
        """The causal answer for every frame of an episode."""
        task = find_task(self.config.tasks, episode.task)
        evidence = self.evidence(episode, task)
        return self.answers.track(task, evidence, episode.timestamps)

    @torch.no_grad()
    def evidence(self, episode: EpisodeFeatures, task: int) -> StageEvidence:
        """What the heads say of every frame of an episode, before the filter."""
        self.eval()
        queries = np.arange(len(episode))
        views = self.usable_views(episode.features)
        words = self.words(task, episode.task)
        tokens = []
        for chunk in _chunks(queries):
            stacked = np.stack([episode.features[v][chunk] for v in views], axis=1)
            state = None if episode.state is None else episode.state[chunk]
            tokens.append(self.frame_tokens(stacked, views, state))
        frames = torch.cat(tokens)
        parts = []
        for chunk in _chunks(queries):
            indices, mask = self.windows.indices(episode.timestamps, chunk)
            seen = {view: episode.features[view][chunk] for view in views}
            parts.append(
                self.read_windows(
                    frames[torch.from_numpy(indices)], torch.from_numpy(mask), task, words, seen
                )
            )
        return StageEvidence.concatenate(parts)

    def frame_tokens(
        self, features: NDArray[np.float16], views: Sequence[str], state: NDArray[np.float32] | None
    ) -> Tensor:
        """Tokens of N frames whose V views are all there: fp16 [N, V, D], float [N, S] → [N, hidden]."""
        device = self.feature_mean.device
        ids = torch.tensor([self._view_id(v) for v in views], device=device)
        x = self._standardise(torch.from_numpy(features.astype(np.float32)).to(device), ids)
        dim = self.state_mean.numel()
        seen = state is not None and dim > 0
        s = torch.from_numpy(np.asarray(state, dtype=np.float32)) if seen else torch.zeros(len(x), dim)
        present = torch.ones(len(x), len(views), dtype=torch.bool, device=device)
        return self.network.frames(
            x, ids, present, self._standardise_state(s.to(device)), torch.full((len(x),), seen, device=device)
        )

    def words(self, task: int, instruction: str | None) -> Tensor:
        """The embedding to ask for a task with, float [E]; see `words_for`."""
        text = words_for(self.config.tasks, task, instruction)
        return torch.from_numpy(embed_instruction(text)).to(self.instructions)

    def read_windows(
        self, tokens: Tensor, mask: Tensor, task: int, words: Tensor, now: Mapping[str, NDArray[np.float16]]
    ) -> StageEvidence:
        """Evidence on the stages of `task`.

        Args:
            tokens: windows of frame tokens, [N, 1+n, hidden].
            mask: bool [N, 1+n], True where a slot holds a frame.
            task: index of the task.
            words: its instruction, from `words`.
            now: by view, features [N, D] of the windows' last frames, for the nearest-neighbour head.
        """
        device = tokens.device
        slots = torch.arange(tokens.shape[1], device=device)
        instruction = words.expand(len(tokens), -1)
        if not self.config.use_instruction:
            instruction = torch.zeros_like(instruction)
        evidence = self.network.read(tokens, mask.to(device), slots, instruction)
        answer = StageEvidence.of_task(evidence, self.stages_of_task[task])
        if len(self.exemplars) and any(view in now for view in self.config.views):
            answer = answer.mixed_with(
                ask_exemplars(self.exemplars[task], self.config.views, now), self.config.exemplar_share
            )
        return answer

    def calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """Choose the filter's trust in the evidence and fit the success probability on held-out episodes."""
        tasks = [find_task(self.config.tasks, e.task) for e in validation]
        evidence = [self.evidence(e, task) for e, task in zip(validation, tasks, strict=True)]
        self.answers.calibrate(validation, tasks, evidence)

    def stream(self, task: str | None = None) -> Any:
        """Start a live query for the task with this instruction (the only task, if None and there is one)."""
        from progress_rm.models.multiview_sarm.stream import MultiviewSarmStream

        index = find_task(self.config.tasks, task)
        return MultiviewSarmStream(self, index, self.words(index, task))

    @torch.no_grad()
    def predict(self, batch: dict[str, Any]) -> list[ProgressEstimate]:
        """Answers for a batch of windows, each on its own (no filter, which needs the episode so far)."""
        self.eval()
        if "view_mask" not in batch:
            from progress_rm.models.multiview_sarm.lerobot_batches import convert_observations

            batch = convert_observations(self.config, batch)
        evidence = self._evidence(batch)
        answers = []
        for i, task in enumerate(batch["instruction"].tolist()):
            one = Evidence(*(getattr(evidence, f)[i : i + 1] for f in ("stage", "within", "done", "match")))
            answers.append(
                self.answers.unfiltered(task, StageEvidence.of_task(one, self.stages_of_task[task]))[0]
            )
        return answers

    def compute_reward(self, batch: dict[str, Tensor]) -> Tensor:
        """Progress at t for each window of a batch: float32 [B], in [0, 1]. LeRobot's interface."""
        return torch.tensor([e.progress for e in self.predict(batch)])

    def _view_id(self, view: str) -> int:
        return self.config.views.index(view) if view in self.config.views else len(self.config.views)

    def _standardise(self, features: Tensor, view_ids: Tensor) -> Tensor:
        return ((features - self.feature_mean[view_ids]) / self.feature_scale[view_ids]).clamp(-8, 8)

    def _standardise_state(self, state: Tensor) -> Tensor:
        return ((state - self.state_mean) / self.state_scale).clamp(-5, 5)

    def usable_views(self, given: Iterable[str]) -> list[str]:
        """Those that the model knows, or all where it knows none of them.

        Raises:
            UserError: there is none.
        """
        names = sorted(given)
        if not names:
            raise UserError(
                f"there is no view to look at; this model was trained on {', '.join(self.config.views)}"
            )
        return [name for name in names if name in self.config.views] or names


def _chunks(queries: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [queries[i : i + _CHUNK] for i in range(0, len(queries), _CHUNK)]
