"""What `grm` keeps of every task in its checkpoint: the goal, and frames to rehearse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from progress_datasets.errors import UserError
from progress_rm.labels import EpisodeLabels
from progress_rm.models.grm.sampling import ends_of

if TYPE_CHECKING:
    from progress_rm.data import EpisodeFeatures, TrainingData
    from progress_rm.models.grm.configuration_grm import GrmConfig

PIECES = 8
"""Episodes of a task to rehearse."""


class Goals(nn.Module):
    """The mean end of each task's successful demonstrations, as buffers; tasks × V views × D."""

    features: Tensor
    view_mask: Tensor
    state: Tensor
    state_mask: Tensor

    def __init__(self, tasks: int, views: int, dim: int, state_dim: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(tasks, views, dim))
        self.register_buffer("view_mask", torch.zeros(tasks, views, dtype=torch.bool))
        self.register_buffer("state", torch.zeros(tasks, state_dim))
        self.register_buffer("state_mask", torch.zeros(tasks, dtype=torch.bool))

    def learn(self, data: TrainingData, views: Sequence[str], tasks: Iterable[int]) -> None:
        """Average the ends of the demonstrations of these tasks."""
        for task in tasks:
            ends = ends_of(data, task)
            for v, view in enumerate(views):
                rows = [e.features[view][t].astype(np.float32) for e, t in ends if view in e.features]
                if rows:
                    self.features[task, v] = torch.from_numpy(np.mean(rows, axis=0))
                    self.view_mask[task, v] = True
            states = [e.state[t] for e, t in ends if e.state is not None]
            if states and self.state.shape[1]:
                self.state[task] = torch.from_numpy(np.mean(states, axis=0))
                self.state_mask[task] = True

    def of(
        self, task: int, views: Sequence[str]
    ) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float32] | None]:
        """The goal of a task: features [1, D] by view, and state [1, S] if there is one."""
        shown = {
            view: self.features[task, v][None].cpu().numpy()
            for v, view in enumerate(views)
            if bool(self.view_mask[task, v])
        }
        return shown, self.state[task][None].cpu().numpy() if bool(self.state_mask[task]) else None

    def extend(self, other: Goals) -> None:
        """Take over the goals of a model that knew the first tasks only."""
        count = len(other.features)
        for name, rows in other.named_buffers():
            getattr(self, name)[:count] = rows


class Memory(nn.Module):
    """Frames of every task to rehearse when another one is learnt, as buffers; R rows.

    `facts` [R, 7]: task, episode, seconds, stage, position in it, progress, done.
    """

    features: Tensor
    view_mask: Tensor
    state: Tensor
    state_mask: Tensor
    facts: Tensor

    def __init__(self, rows: int, views: int, dim: int, state_dim: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(rows, views, dim, dtype=torch.float16))
        self.register_buffer("view_mask", torch.zeros(rows, views, dtype=torch.bool))
        self.register_buffer("state", torch.zeros(rows, state_dim))
        self.register_buffer("state_mask", torch.zeros(rows, dtype=torch.bool))
        self.register_buffer("facts", torch.zeros(rows, 7, dtype=torch.float64))

    @classmethod
    def of(
        cls,
        data: TrainingData,
        config: GrmConfig,
        tasks: Iterable[int],
        dim: int,
        before: Memory | None = None,
    ) -> Memory:
        """Remember up to `config.replay` frames of each of these tasks, after what was remembered before."""
        columns: dict[str, list[Tensor]] = {
            name: [] for name in ("features", "view_mask", "state", "state_mask", "facts")
        }
        state_dim = config.state_dim if config.use_state else 0
        if before is not None:
            for name, found in columns.items():
                found.append(getattr(before, name).cpu())
        number = int(before.facts[:, 1].max()) + 1 if before is not None and len(before.facts) else 0
        for task in tasks:
            episodes = _spread(data.of_task(task))
            for episode in episodes:
                frames = np.unique(
                    np.linspace(0, len(episode) - 1, max(2, config.replay // len(episodes)))
                    .round()
                    .astype(int)
                )
                for name, rows in _rows(episode, frames, task, number, config, dim, state_dim).items():
                    columns[name].append(rows)
                number += 1
        joined = {name: torch.cat(parts) for name, parts in columns.items() if parts}
        memory = cls(len(joined["facts"]) if joined else 0, len(config.views), dim, state_dim)
        for name, rows in joined.items():
            getattr(memory, name).copy_(rows)
        return memory

    def episodes(self, config: GrmConfig) -> list[EpisodeFeatures]:
        """What is remembered, as episodes of few frames each."""
        from progress_rm.data import EpisodeFeatures

        found = []
        facts = self.facts.cpu().numpy()
        for number in np.unique(facts[:, 1]):
            rows = np.flatnonzero(facts[:, 1] == number)
            mine, picked = facts[rows], torch.from_numpy(rows)
            there = self.view_mask[picked[0]].tolist()
            task = int(mine[0, 0])
            found.append(
                EpisodeFeatures(
                    task=config.tasks[task].instruction,
                    timestamps=mine[:, 2],
                    features={
                        view: self.features[picked, v].cpu().numpy()
                        for v, view in enumerate(config.views)
                        if there[v]
                    },
                    state=self.state[picked].cpu().numpy() if bool(self.state_mask[picked[0]]) else None,
                    labels=EpisodeLabels(
                        progress=mine[:, 5].astype(np.float32),
                        stage=mine[:, 3].astype(np.int64),
                        within=mine[:, 4].astype(np.float32),
                        done=mine[:, 6] > 0.5,
                    ),
                    source=cast(Any, (_Remembered(task), int(number))),
                )
            )
        return found


class _Remembered:
    """Stands for the dataset that a remembered episode was part of."""

    def __init__(self, task: int) -> None:
        self.root = Path(f"remembered-{task}")


def _spread(episodes: Sequence[EpisodeFeatures]) -> list[EpisodeFeatures]:
    """Some of the episodes, among them one that is complete, if there is any, for the goal."""
    order = sorted(episodes, key=lambda e: e.labels is None or not e.labels.done[-1])
    picked = [order[0], *order[1:][:: max(1, (len(order) - 1) // (PIECES - 1))]]
    return picked[:PIECES]


def _rows(
    episode: EpisodeFeatures, frames: Any, task: int, number: int, config: GrmConfig, dim: int, state_dim: int
) -> dict[str, Tensor]:
    labels = episode.labels
    assert labels is not None
    features = np.zeros((len(frames), len(config.views), dim), np.float16)
    for v, view in enumerate(config.views):
        if view in episode.features:
            features[:, v] = episode.features[view][frames]
    there = [view in episode.features for view in config.views]
    has_state = episode.state is not None and state_dim > 0
    state = (
        episode.state[frames]
        if has_state and episode.state is not None
        else np.zeros((len(frames), state_dim))
    )
    facts = [
        np.full(len(frames), task),
        np.full(len(frames), number),
        episode.timestamps[frames],
        labels.stage[frames],
        labels.within[frames],
        labels.progress[frames],
        labels.done[frames],
    ]
    return {
        "features": torch.from_numpy(features),
        "view_mask": torch.tensor(there).expand(len(frames), -1),
        "state": torch.from_numpy(np.asarray(state, np.float32)),
        "state_mask": torch.full((len(frames),), has_state),
        "facts": torch.from_numpy(np.stack([np.asarray(f, np.float64) for f in facts], axis=1)),
    }


def goal_from_files(place: str, views: Sequence[str]) -> dict[str, Any]:
    """Pictures of a goal by view: a file VIEW.png (or .jpg) or a folder of them, RGB uint8 [H, W, 3].

    Raises:
        UserError: there is no such place, no picture in it, or one of no known view.
    """
    import cv2

    path = Path(place)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [f for f in files if f.suffix.lower() in (".png", ".jpg", ".jpeg") and f.is_file()]
    if not files:
        raise UserError(
            f"goal '{place}' is neither learned, text or hindsight, nor a picture VIEW.png or a folder of such"
        )
    found = {}
    for file in files:
        if file.stem not in views:
            raise UserError(f"{file}: a goal's picture is named after its view, one of {', '.join(views)}")
        picture = cv2.imread(str(file))
        if picture is None:
            raise UserError(f"{file}: cannot be read as a picture")
        found[file.stem] = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return found
