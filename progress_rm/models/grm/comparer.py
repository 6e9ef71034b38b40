"""The comparer inside `grm`: from pictures and states of moments to hops between them."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.models.features import FeatureModel
from progress_rm.models.grm.anchors import Goals, Memory, goal_from_files
from progress_rm.models.grm.answers import HopEvidence
from progress_rm.models.grm.configuration_grm import GrmConfig
from progress_rm.models.grm.neighbours import Neighbours
from progress_rm.models.grm.network import HopNetwork, Moments

Views = Mapping[str, NDArray[np.uint8]]


class HopComparer(FeatureModel, ABC):
    """Encoder, network, goals and memory, and how they are asked; `GrmRewardModel` adds training and progress.

    Raises:
        UserError: there are no tasks.
    """

    config_class = GrmConfig
    name = "grm"

    def __init__(self, config: GrmConfig, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        super().__init__(config)
        self.prepare()
        dim, views = int(self._encoder.dim), len(config.views)
        state = config.state_size
        self.network = HopNetwork(
            feature_dim=dim,
            num_views=views,
            state_dim=state,
            instruction_dim=int(self.instructions.shape[1]),
            hidden=config.hidden,
            layers=config.layers,
            heads=config.heads,
            bins=config.bins,
            dropout=config.dropout,
        )
        self.goals = Goals(len(config.tasks), views, dim, state)
        self.neighbours = Neighbours(config, self.blocks())
        self.memory = Memory(config.replay_rows, views, dim, state)

    def moments(
        self,
        seen: Mapping[str, NDArray[np.floating]],
        views: Sequence[str],
        state: NDArray[np.float32] | None,
    ) -> Moments:
        """N moments: features [N, D] of some of the `views` and float [N, S], or None where there is no state."""
        device = self.feature_mean.device
        count = len(next(iter(seen.values()))) if seen else 1
        features = torch.zeros(count, len(views), int(self._encoder.dim))
        for v, view in enumerate(views):
            if view in seen:
                features[:, v] = torch.from_numpy(np.asarray(seen[view], np.float32))
        mask = torch.tensor([view in seen for view in views], device=device).expand(count, -1)
        ids = torch.tensor([self._view_id(v) for v in views], device=device)
        has_state = state is not None and self.state_mean.numel() > 0
        rows = torch.zeros(count, self.state_mean.numel(), device=device)
        if has_state:
            given = torch.from_numpy(np.asarray(state, dtype=np.float32)).to(device)
            rows = self._standardise_state(given)
        return self.network.moments(
            self._standardise(features.to(device), ids),
            mask,
            rows,
            torch.full((count,), has_state, device=device),
        )

    def refuse_hindsight(self) -> None:
        """Raise a UserError where the goal is the episode's own last frame, which nobody has while it goes on."""
        if self.config.goal == "hindsight":
            raise UserError(
                "the goal 'hindsight' is the last frame, which is not known live; use goal=learned"
            )

    @torch.no_grad()
    def goal_moment(self, task: int, views: Sequence[str], goal: Views | None = None) -> Moments:
        """The goal as a moment of these views, by the config's `goal` or from the pictures given.

        Raises:
            UserError: the goal shows none of the views, or would be the last frame of a live episode.
        """
        if goal is None:
            self.refuse_hindsight()
        if goal is None and self.config.goal not in ("learned", "text"):
            goal = goal_from_files(self.config.goal, self.config.views)
        if goal is None:
            known, pose = (
                self.goals.of(task, self.config.views) if self.config.goal == "learned" else ({}, None)
            )
            return self.moments({v: f for v, f in known.items() if v in views}, views, pose)
        shown = {
            view: self._encoder.encode(np.asarray(frame)[None]).astype(np.float16)
            for view, frame in goal.items()
            if view in views
        }
        if not shown:
            raise UserError(
                f"the goal shows {', '.join(goal)}, but what is asked about shows {', '.join(views)}"
            )
        return self.moments(shown, views, None)

    def ask(
        self, moments: Moments, triples: Sequence[tuple[int, int, int]], views: Sequence[str], words: Tensor
    ) -> HopEvidence:
        """The three hops to each moment.

        Args:
            moments: the last of them is the goal.
            triples: rows of the first frame, of the moment a hop before, and of the moment itself.
            views: names of the moments' views.
            words: the instruction, from `words`.
        """
        goal = len(moments.tokens) - 1
        index = [(first, goal, before, now) for first, b, now in triples for before in (b, first, goal)]
        tokens, present = moments.pick(torch.tensor(index, device=moments.tokens.device))
        logits, done = self._compare(tokens, present, views, words)
        return HopEvidence.read(logits, done, self.network.hop_values)

    def _compare(
        self, tokens: Tensor, present: Tensor, views: Sequence[str], words: Tensor
    ) -> tuple[Tensor, Tensor]:
        count, device = len(tokens), tokens.device
        ids = torch.tensor([self._view_id(v) for v in views], device=device)
        instructed = torch.full((count,), bool(self.config.use_instruction), device=device)
        logits, done = self.network.compare(
            tokens, present, ids.expand(count, -1), words.expand(count, -1), instructed
        )
        return logits, done

    def anchored(
        self, moments: Moments, views: Sequence[str], task: int, words: Tensor, has_first: bool
    ) -> float:
        """Progress at the second of two moments, of which the first is the episode's first frame, if there is one."""
        goal = self.goal_moment(task, views)
        joined = Moments(torch.cat([moments.tokens, goal.tokens]), torch.cat([moments.present, goal.present]))
        tokens, present = joined.pick(
            torch.tensor([[0, 2, 0, 1], [0, 2, 2, 1]], device=moments.tokens.device)
        )
        present[:, :, 0] &= has_first
        logits, _ = self._compare(tokens, present, views, words)
        forward, backward = (logits.softmax(-1) @ self.network.hop_values).tolist()
        found = (forward + 1 + backward) / 2 if has_first else 1 + backward
        return float(min(max(found, 0.0), 1.0))
