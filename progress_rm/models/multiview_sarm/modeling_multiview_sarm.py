"""`multiview_sarm`: stage-aware progress from any number of views (after SARM, arXiv 2509.25358)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.exemplars import ExemplarHead
from progress_rm.models.base import ProgressEstimate, ProgressTrack
from progress_rm.models.features import FeatureModel, in_passes
from progress_rm.models.multiview_sarm.answers import Answers, StageEvidence
from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
from progress_rm.models.multiview_sarm.losses import losses
from progress_rm.models.multiview_sarm.masks import dropped_views, stages_of_task
from progress_rm.models.multiview_sarm.network import Evidence, MultiviewSarmNetwork
from progress_rm.models.multiview_sarm.sampling import sample_frames, sample_windows
from progress_rm.models.remembered import ask_exemplars, fit_exemplars
from progress_rm.recoloured import stream_in_known_colours

if TYPE_CHECKING:
    from progress_rm.models.multiview_sarm.lerobot_batches import LeRobotBatches


class MultiviewSarmRewardModel(FeatureModel):
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
        self._lerobot = None if dataset_meta is None else self._make_batches(dataset_meta)
        self.prepare()
        self.windows = config.windows
        self.network = self._make_network()
        self.stages_of_task: Tensor
        self.register_buffer("stages_of_task", stages_of_task(config.tasks))
        self.exemplars = nn.ModuleList(
            ExemplarHead(len(task.stages), len(config.views), self.blocks(), rows)
            for task, rows in zip(config.tasks, config.exemplar_rows, strict=False)
        )
        self.answers = Answers(config)

    def _make_batches(self, meta: Any) -> LeRobotBatches:
        from progress_rm.models.multiview_sarm.lerobot_batches import LeRobotBatches

        return LeRobotBatches(self.config, meta)

    def _make_network(self) -> MultiviewSarmNetwork:
        return MultiviewSarmNetwork(
            num_stages=stages_of_task(self.config.tasks).shape[1], **self._trunk_options()
        )

    def _trunk_options(self) -> dict[str, Any]:
        """What `MultiviewSarmNetwork` asks for beside the number of stages."""
        config = self.config
        return {
            "feature_dim": int(self._encoder.dim),
            "num_views": len(config.views),
            "state_dim": config.state_size,
            "instruction_dim": int(self.instructions.shape[1]),
            "slots": config.window + 1,
            **{name: getattr(config, name) for name in ("hidden", "layers", "heads", "bins", "dropout")},
        }

    # --- what the trainer asks for ------------------------------------------------------------------------------

    def learn_statistics(self, data: TrainingData) -> None:
        """See `FeatureModel.learn_statistics`; remembers frames where the options say so."""
        super().learn_statistics(data)
        self.config.knows_colours = bool(data.mismatched)
        if self.config.exemplars > 0 and not self.encoder_is_trained:
            self.exemplars = fit_exemplars(data, self.config.views, self.blocks(), self.config.exemplars)
            self.config.exemplar_rows = [cast(ExemplarHead, head).rows for head in self.exemplars]

    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """`size` windows of all tasks, with rewound and wrongly instructed ones among them."""
        return sample_windows(self.config, self.windows, data, rng, size)

    def sample_frames(
        self, data: TrainingData, frames: Any, rng: np.random.Generator, size: int
    ) -> dict[str, Any]:
        """`size` single frames with their pixels, to train the encoder on."""
        return sample_frames(self.config, data, frames, rng, size)

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Loss of a batch from `sample`, or from LeRobot's data loader.

        Returns:
            The summed cross entropies of stage, position within the stage, done and match, and each of them.
        """
        batch = self._labelled(batch)
        return losses(self._evidence(batch), batch, self.stages_of_task)

    def _labelled(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch from `sample`, or from LeRobot's data loader and then labelled, on the model's device."""
        if "stage" not in batch:
            if self._lerobot is None:
                raise UserError("this model was not made for a dataset; lerobot-train gives it one")
            batch = self._lerobot.convert(batch)
        return {k: v.to(self.feature_mean.device) if isinstance(v, Tensor) else v for k, v in batch.items()}

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
            instruction = self.instructed(batch["instruction"])
        if not self.config.use_instruction:
            instruction = torch.zeros_like(instruction)
        return self.network.read(
            tokens.reshape(count, width, -1), batch["frame_mask"], batch["slots"], instruction
        )

    # --- answering ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def track(self, episode: EpisodeFeatures) -> ProgressTrack:
        """The causal answer for every frame of an episode."""
        task = self.task_of(episode)
        evidence = self.evidence(episode, task)
        return self.answers.track(task, evidence, episode.timestamps)

    @torch.no_grad()
    def evidence(self, episode: EpisodeFeatures, task: int) -> StageEvidence:
        """What the heads say of every frame of an episode, before the filter."""
        self.eval()
        views = self.usable_views(episode.features)
        words = self.words(task, episode.task)
        tokens = []
        for chunk in in_passes(len(episode)):
            stacked = np.stack([episode.features[v][chunk] for v in views], axis=1)
            state = None if episode.state is None else episode.state[chunk]
            tokens.append(self.frame_tokens(stacked, views, state))
        frames = torch.cat(tokens)
        parts = []
        for chunk in in_passes(len(episode)):
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
        tasks = [self.task_of(e) for e in validation]
        evidence = [self.evidence(e, task) for e, task in zip(validation, tasks, strict=True)]
        self.answers.calibrate(validation, tasks, evidence)

    def stream(self, task: str | None = None) -> Any:
        """Start a live query for the task with this instruction (the only task, if None and there is one)."""
        from progress_rm.models.multiview_sarm.stream import MultiviewSarmStream

        index = self.config.find_task(task)
        stream = MultiviewSarmStream(self, index, self.words(index, task))
        return stream_in_known_colours(stream, self.config.exchange_for(task))

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
