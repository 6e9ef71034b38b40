"""Scores on disk: what a reward model answered for every frame of a dataset, in LeRobot's own parquet and more.

Columns: `index`, `episode_index`, `frame_index` (int64), `progress_sparse`, `progress_dense` (float32, equal here:
LeRobot's RA-BC reads either), `stage` (string), `uncertainty`, `success` (float32). The schema's metadata holds
`reward_model_path` (LeRobot's key), `label_scheme`, and `tasks`: JSON, by instruction, of what the model knows of a
task: `stages` in canonical order, `priors`, and `clock_length_seconds`, the mean length of a successful training
episode.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from progress_datasets.errors import UserError

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

DEFAULT_NAME = "sarm_progress.parquet"
"""Where LeRobot's RA-BC looks for scores, in the dataset's folder."""

SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("episode_index", pa.int64()),
        ("frame_index", pa.int64()),
        ("progress_sparse", pa.float32()),
        ("progress_dense", pa.float32()),
        ("stage", pa.string()),
        ("uncertainty", pa.float32()),
        ("success", pa.float32()),
    ]
)


@dataclass(frozen=True)
class ScoredTask:
    """What the model knows of a task with K stages.

    Attributes:
        stages: K names in canonical order.
        priors: K stage priors, summing to one.
        clock_length_seconds: mean length of a successful training episode; None if nobody knows.
    """

    stages: tuple[str, ...]
    priors: tuple[float, ...]
    clock_length_seconds: float | None = None


class Answers(Protocol):
    """A model's answers for the T frames of an episode; `ProgressTrack` is one."""

    @property
    def progress(self) -> NDArray[np.float32]:
        """float32 [T], in [0, 1]."""
        ...

    @property
    def stage(self) -> NDArray[np.str_]:
        """[T], names of stages."""
        ...

    @property
    def uncertainty(self) -> NDArray[np.float32]:
        """float32 [T], a standard deviation of `progress`."""
        ...

    @property
    def success(self) -> NDArray[np.float32]:
        """float32 [T], a probability."""
        ...


@dataclass(frozen=True)
class EpisodeScores:
    """The plainest `Answers`: four arrays of length T."""

    progress: NDArray[np.float32]
    stage: NDArray[np.str_]
    uncertainty: NDArray[np.float32]
    success: NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    """A file of scores.

    Attributes:
        reward_model_path: the model that gave them.
        label_scheme: what the model was taught to call progress.
        tasks: by instruction.
        episodes: by number of the episode; a dataset may be scored in part.
    """

    reward_model_path: str
    label_scheme: str
    tasks: Mapping[str, ScoredTask]
    episodes: Mapping[int, EpisodeScores]


@dataclass(frozen=True)
class ScoredDataset:
    """Episodes and what a model said about them.

    Attributes:
        dataset: the episodes.
        scores: the answers.
        backwards: the answers to the same episodes played backwards; None if the model was not asked.
    """

    dataset: EpisodeDataset
    scores: Scores
    backwards: Scores | None = None

    @classmethod
    def load(
        cls, dataset: EpisodeDataset, scores: Path | str | None = None, backwards: Path | str | None = None
    ) -> ScoredDataset:
        """Read the scores of a dataset, by default from `sarm_progress.parquet` in its folder.

        Raises:
            UserError: the file is missing or damaged, or does not belong to this dataset.
        """
        path = Path(scores) if scores is not None else dataset.root / DEFAULT_NAME
        reverse = None if backwards is None else read_scores(backwards, dataset)
        return cls(dataset, read_scores(path, dataset), reverse)


def write_scores(
    path: Path | str,
    dataset: EpisodeDataset,
    episodes: Mapping[int, Answers],
    *,
    reward_model_path: str,
    tasks: Mapping[str, ScoredTask],
    label_scheme: str = "duration_prior",
) -> Path:
    """Write scores to a temporary sibling of `path` and rename it.

    Args:
        path: the parquet file to make.
        dataset: the episodes that were scored.
        episodes: answers by number of the episode, all frames of each.
        reward_model_path: the model that gave them.
        tasks: by instruction, for every instruction of the scored episodes.
        label_scheme: what the model was taught to call progress.

    Raises:
        UserError: `path` exists.
        ValueError: there are no episodes, or an answer is missing, NaN or out of [0, 1].
    """
    target = Path(path)
    if target.exists():
        raise UserError(f"{target} exists already; remove it or choose another --output")
    if not episodes:
        raise ValueError("there are no scores to write")
    tables = [_table(dataset, episode, episodes[episode]) for episode in sorted(episodes)]
    metadata = {
        "reward_model_path": reward_model_path,
        "label_scheme": label_scheme,
        "tasks": json.dumps({name: asdict(task) for name, task in tasks.items()}),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.writing")
    pq.write_table(pa.concat_tables(tables).replace_schema_metadata(metadata), temporary)
    temporary.replace(target)
    return target


def read_scores(path: Path | str, dataset: EpisodeDataset) -> Scores:
    """Read scores and make sure that they are whole and belong to `dataset`.

    Raises:
        UserError: the file is missing or damaged, a column or the metadata is missing, an answer is NaN or out of
            range, or the frames are not those of the dataset's episodes.
    """
    source = Path(path)
    if not source.is_file():
        raise UserError(
            f"{source}: there are no scores; run progress-rm score --dataset.root={dataset.root} first"
        )
    try:
        table = pq.read_table(source)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{source}: not readable as parquet; score the dataset again") from error
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise UserError(f"{source}: there is no column '{missing[0]}'; write it with progress-rm score")
    columns = {name: table.column(name).to_numpy() for name in SCHEMA.names}
    numbers = columns["episode_index"]
    episodes: dict[int, EpisodeScores] = {}
    for number in np.unique(numbers):
        rows = {name: values[numbers == number] for name, values in columns.items()}
        episodes[int(number)] = _episode(rows, dataset, int(number), source)
    if not episodes:
        raise UserError(f"{source}: holds no scores; score the dataset again")
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    tasks = _tasks(metadata, source)
    for number in episodes:
        if dataset.task(number) not in tasks:
            raise UserError(
                f"{source}: says nothing of the task '{dataset.task(number)}'; score the dataset again"
            )
        known = tasks[dataset.task(number)].stages
        unknown = set(episodes[number].stage) - set(known)
        if unknown:
            raise UserError(
                f"{source}, episode {number}: stage '{min(unknown)}' is not among the task's stages "
                f"({', '.join(known)}); score the dataset again"
            )
    return Scores(metadata["reward_model_path"], metadata["label_scheme"], tasks, episodes)


def _table(dataset: EpisodeDataset, episode: int, answers: Answers) -> pa.Table:
    length = dataset.length(episode)
    for name in ("progress", "uncertainty", "success"):
        values = np.asarray(getattr(answers, name))
        if values.shape != (length,) or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"episode {episode}: {name} must be {length} numbers in [0, 1], none missing")
    if len(answers.stage) != length:
        raise ValueError(f"episode {episode}: stage must be {length} names")
    progress = pa.array(np.asarray(answers.progress, dtype=np.float32))
    columns = {
        "index": pa.array(dataset.index(episode)),
        "episode_index": pa.array(np.full(length, episode)),
        "frame_index": pa.array(np.arange(length)),
        "progress_sparse": progress,
        "progress_dense": progress,
        "stage": pa.array([str(name) for name in answers.stage], pa.string()),
        "uncertainty": pa.array(np.asarray(answers.uncertainty, dtype=np.float32)),
        "success": pa.array(np.asarray(answers.success, dtype=np.float32)),
    }
    return pa.table(columns, schema=SCHEMA)


def _episode(
    rows: Mapping[str, NDArray[Any]], dataset: EpisodeDataset, episode: int, source: Path
) -> EpisodeScores:
    where = f"{source}, episode {episode}"
    if not 0 <= episode < dataset.num_episodes or not np.array_equal(rows["index"], dataset.index(episode)):
        raise UserError(f"{where}: its frames are not those of {dataset.root}; score that dataset again")
    for name in ("progress_sparse", "uncertainty", "success"):
        # Written so that NaN fails, too.
        if not ((rows[name] >= 0) & (rows[name] <= 1)).all():
            raise UserError(
                f"{where}: {name} is missing or not in [0, 1] at some frame; score the dataset again"
            )
    return EpisodeScores(
        progress=rows["progress_sparse"],
        stage=rows["stage"].astype(np.str_),
        uncertainty=rows["uncertainty"],
        success=rows["success"],
    )


def _tasks(metadata: Mapping[str, str], source: Path) -> dict[str, ScoredTask]:
    for key in ("reward_model_path", "label_scheme", "tasks"):
        if key not in metadata:
            raise UserError(f"{source}: the metadata lacks '{key}'; write the file with progress-rm score")
    return {
        name: ScoredTask(tuple(task["stages"]), tuple(task["priors"]), task["clock_length_seconds"])
        for name, task in json.loads(metadata["tasks"]).items()
    }
