"""Episodes as models see them: features of every view, state, time stamps and labels, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment
from progress_rm.labels import EpisodeLabels, active_frames, as_progress, label_episode, stage_priors

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.encoders.base import Encoder
    from progress_rm.models.base import TaskSpec


@dataclass(frozen=True)
class EpisodeFeatures:
    """One episode of T frames, ready for a model.

    Attributes:
        task: the instruction.
        timestamps: float64 [T], seconds from the first frame.
        features: by view, float16 [T, D]; a view that the episode lacks is not there.
        state: float32 [T, S], or None.
        labels: None where the episode is only scored.
        source: dataset and episode: for messages, and for models that look at the frames themselves.
        reverse: whether it is the source played backwards.
    """

    task: str
    timestamps: NDArray[np.float64]
    features: Mapping[str, NDArray[np.float16]]
    state: NDArray[np.float32] | None
    labels: EpisodeLabels | None
    source: tuple[EpisodeDataset, int]
    reverse: bool = False

    def __len__(self) -> int:
        return len(self.timestamps)

    def backwards(self) -> EpisodeFeatures:
        """The same episode played backwards, unlabelled: frames and states in reverse, time running on as ever."""
        return replace(
            self,
            features={view: values[::-1].copy() for view, values in self.features.items()},
            state=None if self.state is None else self.state[::-1].copy(),
            labels=None,
            reverse=not self.reverse,
        )

    def pixels(self, view: str, wanted: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Some frames of a view, RGB uint8 [H, W, 3], decoded now from its first frame to the last that is wanted.

        Args:
            view: one that the episode has.
            wanted: increasing numbers of frames.
        """
        dataset, number = self.source
        inside = {len(self) - 1 - t if self.reverse else t for t in wanted}
        decoded = islice(dataset.frames(number, view), max(inside, default=-1) + 1)
        found = [frame for t, frame in enumerate(decoded) if t in inside]
        return found[::-1] if self.reverse else found


@dataclass(frozen=True)
class TrainingData:
    """Labelled episodes of all tasks in `tasks`, and unlabelled ones that look like a task but show another."""

    episodes: Sequence[EpisodeFeatures]
    tasks: Sequence[TaskSpec]
    mismatched: Sequence[EpisodeFeatures] = ()

    def of_task(self, task: int) -> list[EpisodeFeatures]:
        """The episodes of the task with that index."""
        return [e for e in self.episodes if e.task == self.tasks[task].instruction]

    def like_task(self, task: int) -> list[EpisodeFeatures]:
        """The episodes that look like that task and are not."""
        return [e for e in self.mismatched if e.task == self.tasks[task].instruction]

    @cached_property
    def task_shares(self) -> NDArray[np.float64]:
        """How often training draws each task, summing to one: all alike, but several wordings of one together as one.

        Among wordings of one task (see `task_keys`), each is drawn as often as it has episodes.
        """
        same: dict[object, list[int]] = {}
        counts = []
        for number, spec in enumerate(self.tasks):
            members = self.of_task(number)
            counts.append(len(members))
            where = members[0].source[0].root if members else number
            same.setdefault((where, tuple(spec.stages)), []).append(number)
        shares = np.zeros(len(self.tasks))
        for numbers in same.values():
            theirs = np.array([counts[n] for n in numbers], dtype=np.float64)
            shares[numbers] = theirs / max(theirs.sum(), 1) / len(same)
        return np.asarray(shares / shares.sum())

    def draw(
        self, task: int, size: int, rng: np.random.Generator, ends: float = 0.0
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw `size` frames of a task: indices into `of_task`, and frames, int64 [size] each.

        All frames alike, but that the ends of episodes make up a share of at least `ends`: the frames that show the
        task complete, or the last half second of an episode that does not get there. Whether a task is complete is
        decided there, and one frame in twenty shows it.
        """
        starts, last = self._frames(task)
        frames = rng.integers(len(last), size=size)
        if ends and 0 < (share := float(last.mean())) < ends:
            # Draw anew so many that the whole has the share asked for.
            again = rng.random(size) < (ends - share) / (1 - share)
            frames[again] = rng.choice(np.flatnonzero(last), int(again.sum()))
        which = np.searchsorted(starts, frames, side="right") - 1
        return which, frames - starts[which]

    def _frames(self, task: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Where each episode of a task begins among all its frames, and which frames are ends."""
        if task not in self._known:
            members = self.of_task(task)
            starts = np.cumsum([0, *(len(e) for e in members)])[:-1]
            self._known[task] = starts, np.concatenate([_ends(e) for e in members])
        return self._known[task]

    @cached_property
    def _known(self) -> dict[int, tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        return {}


def _ends(episode: EpisodeFeatures) -> NDArray[np.bool_]:
    assert episode.labels is not None
    done = episode.labels.done
    return done if done.any() else np.asarray(episode.timestamps > episode.timestamps[-1] - 0.5)


@dataclass(frozen=True)
class FeatureCache:
    """Where features are kept: zarr stores in `folder`, one a (dataset, view, encoder)."""

    folder: Path
    encoder: Encoder | None

    def read(
        self, dataset: EpisodeDataset, episodes: Sequence[int], views: Sequence[str] = ()
    ) -> list[dict[str, NDArray[np.float16]]]:
        """Features of those episodes by view, [T, D] each, extracted now where they are not yet kept.

        Only `views` are looked at, or all where a dataset has none of them.
        """
        if self.encoder is None:
            return [{} for _ in episodes]
        from progress_datasets.features import FeatureStore

        store = FeatureStore(self.folder, dataset, self.encoder.key, self.encoder.dim)
        wanted = [view for view in dataset.views if view in views] or list(dataset.views)
        if store.missing(wanted, list(episodes)):
            store.fill(self.encoder.encode, wanted, list(episodes))
        return [{v: store.read(e, v) for v in dataset.episode_views(e) if v in wanted} for e in episodes]


def load_episodes(
    dataset: EpisodeDataset,
    cache: FeatureCache,
    *,
    tasks: Sequence[TaskSpec] = (),
    scheme: str | None = None,
    episodes: Sequence[int] | None = None,
    use_state: bool = True,
    views: Sequence[str] = (),
) -> list[EpisodeFeatures]:
    """Load episodes with features of `views` (see `FeatureCache.read`), and labels for `tasks` if a scheme is given."""
    chosen = list(range(dataset.num_episodes)) if episodes is None else list(episodes)
    features = cache.read(dataset, chosen, views)
    by_instruction = {spec.instruction: spec for spec in tasks}
    loaded = []
    for episode, seen in zip(chosen, features, strict=True):
        state = dataset.state(episode) if use_state else None
        labels = None
        if scheme is not None:
            labels = _label(dataset, episode, by_instruction[dataset.task(episode)], scheme, state, seen)
        loaded.append(
            EpisodeFeatures(
                task=dataset.task(episode),
                timestamps=np.arange(dataset.length(episode)) / dataset.fps,
                features=seen,
                state=state,
                labels=labels,
                source=(dataset, episode),
            )
        )
    return loaded


TaskKey = tuple[Path, tuple[str, ...]]


def task_keys(datasets: Sequence[EpisodeDataset]) -> dict[str, TaskKey]:
    """What tells tasks apart, by instruction, in order of first appearance: the first dataset, and the stages.

    Instructions with the same stages in one dataset have the same key: "press red, then blue" and "press blue, then
    red" are wordings of one task.
    """
    keys: dict[str, TaskKey] = {}
    for dataset in datasets:
        for instruction in dict.fromkeys(dataset.task(e) for e in range(dataset.num_episodes)):
            keys.setdefault(instruction, (dataset.root, tuple(dataset.stage_order(instruction))))
    return keys


def learn_tasks(datasets: Sequence[EpisodeDataset], scheme: str) -> list[TaskSpec]:
    """What the annotations of `datasets` say of their tasks, in order of first appearance.

    Wordings of one task (see `task_keys`) share what is learned of it, its stages' shares and durations.

    Raises:
        UserError: one instruction has other stages in another dataset, or no demonstration completes some task.
    """
    members: dict[str, list[tuple[EpisodeDataset, int]]] = {}
    for dataset in datasets:
        for episode in range(dataset.num_episodes):
            members.setdefault(dataset.task(episode), []).append((dataset, episode))
    keys = task_keys(datasets)
    wordings: dict[TaskKey, list[tuple[EpisodeDataset, int]]] = {}
    for instruction, episodes in members.items():
        root, stages = keys[instruction]
        for dataset, _ in episodes:
            if tuple(dataset.stage_order(instruction)) != stages:
                raise UserError(
                    f"{dataset.root}: the stages of '{instruction}' are not those of {root}; "
                    "give both the same names in the same order"
                )
        wordings.setdefault(keys[instruction], []).extend(episodes)
    facts = {key: _facts(key[1], episodes, scheme) for key, episodes in wordings.items()}
    return [replace(facts[key], instruction=instruction) for instruction, key in keys.items()]


def _facts(stages: Sequence[str], episodes: Sequence[tuple[EpisodeDataset, int]], scheme: str) -> TaskSpec:
    """What these episodes of one task say of it."""
    from progress_rm.models.base import TaskSpec

    instruction = episodes[0][0].task(episodes[0][1])
    segments = [dataset.segments(episode) for dataset, episode in episodes]
    lengths = [dataset.length(episode) for dataset, episode in episodes]
    seconds = [length / dataset.fps for (dataset, _), length in zip(episodes, lengths, strict=True)]
    complete = [_complete(s, stages) for s in segments]
    if not any(complete):
        raise UserError(f"no demonstration completes '{instruction}'; training needs at least one that does")
    return TaskSpec(
        instruction=instruction,
        stages=list(stages),
        priors=stage_priors(scheme, segments, lengths, stages, _activity(episodes)).tolist(),
        durations_s=_durations(segments, [dataset.fps for dataset, _ in episodes], stages),
        length_s=float(np.mean([s for s, c in zip(seconds, complete, strict=True) if c])),
    )


def visual_change(features: Mapping[str, NDArray[np.float16]]) -> NDArray[np.float32]:
    """Mean over views of ‖f_t − f_{t−1}‖, float32 [T]; 0 at the first frame."""
    changes = [
        np.linalg.norm(np.diff(f.astype(np.float32), axis=0, prepend=f[:1]), axis=1)
        for f in features.values()
    ]
    return np.asarray(np.mean(changes, axis=0), dtype=np.float32)


def _label(
    dataset: EpisodeDataset,
    episode: int,
    spec: TaskSpec,
    scheme: str,
    state: NDArray[np.float32] | None,
    views: Mapping[str, NDArray[np.float16]],
) -> EpisodeLabels:
    if scheme == "visual_change" and not views:
        from progress_rm.frames import thumbnails

        views = thumbnails(dataset, episode)
    change = visual_change(views) if views else None
    outcome = dataset.info(episode).get("outcome")
    labels = label_episode(
        dataset.segments(episode),
        dataset.length(episode),
        spec.stages,
        np.asarray(spec.priors),
        scheme=scheme,
        active=None if state is None and change is None else active_frames(state, change, dataset.fps),
        change=None if change is None else change.astype(np.float64),
        outcome=None if outcome is None else Outcome(str(outcome)),
    )
    return as_progress(labels, scheme)


def _activity(episodes: Sequence[tuple[EpisodeDataset, int]]) -> list[NDArray[np.float64]] | None:
    """Which frames move, read off the state; None where there is no state."""
    states = [(dataset.state(episode), dataset.fps) for dataset, episode in episodes]
    moving = [active_frames(state, None, fps) for state, fps in states if state is not None]
    return moving if len(moving) == len(episodes) else None


def _complete(segments: Sequence[StageSegment], stages: Sequence[str]) -> bool:
    return bool(segments) and segments[-1].name == stages[-1] and segments[-1].outcome == Outcome.SUCCESS


def _durations(
    segments: Sequence[Sequence[StageSegment]], fps: Sequence[float], stages: Sequence[str]
) -> list[float]:
    seconds: dict[str, list[float]] = {name: [] for name in stages}
    for episode, rate in zip(segments, fps, strict=True):
        for s in episode:
            if s.outcome == Outcome.SUCCESS:
                seconds[s.name].append((s.end - s.start) / rate)
    return [float(np.mean(seconds[name])) for name in stages]
