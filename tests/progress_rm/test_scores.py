from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.scores import EpisodeScores, ScoredDataset, ScoredTask, read_scores, write_scores

TASKS = {"slide and lift": ScoredTask(("slide", "lift"), (0.5, 0.5), 3.0)}


def answers(dataset: EpisodeDataset, episode: int) -> EpisodeScores:
    length = dataset.length(episode)
    progress = np.linspace(0, 1, length).astype(np.float32)
    stage = np.where(progress < 0.5, "slide", "lift")
    return EpisodeScores(progress, stage, np.full(length, 0.1, np.float32), progress**2)


def write(path: Path, dataset: EpisodeDataset, episodes: list[int]) -> Path:
    scores = {episode: answers(dataset, episode) for episode in episodes}
    return write_scores(path, dataset, scores, reward_model_path="model", tasks=TASKS)


def test_round_trip(toy: EpisodeDataset, tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "scores.parquet", toy, [2, 0])
    scores = read_scores(path, toy)
    assert (scores.reward_model_path, scores.label_scheme) == ("model", "duration_prior")
    assert scores.tasks == TASKS
    assert list(scores.episodes) == [0, 2]
    for episode, read in scores.episodes.items():
        expected = answers(toy, episode)
        for name in ("progress", "stage", "uncertainty", "success"):
            np.testing.assert_array_equal(getattr(read, name), getattr(expected, name))
    assert not list(path.parent.glob(".*"))


def test_the_file_is_what_lerobot_reads(toy: EpisodeDataset, tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "scores.parquet", toy, [1]))
    assert table.schema.metadata[b"reward_model_path"] == b"model"
    np.testing.assert_array_equal(table.column("index").to_numpy(), toy.index(1))
    np.testing.assert_array_equal(table.column("frame_index").to_numpy(), np.arange(toy.length(1)))
    assert table.column("progress_dense").equals(table.column("progress_sparse"))
    kinds = {field.name: field.type for field in table.schema}
    assert kinds["index"] == kinds["episode_index"] == kinds["frame_index"] == pa.int64()
    assert kinds["progress_sparse"] == pa.float32()


def test_existing_scores_are_kept(toy: EpisodeDataset, tmp_path: Path) -> None:
    path = write(tmp_path / "scores.parquet", toy, [0])
    before = path.read_bytes()
    with pytest.raises(UserError, match="exists already"):
        write(path, toy, [1])
    assert path.read_bytes() == before


@pytest.mark.parametrize("bad", [np.nan, -0.1, 1.1])
def test_a_missing_answer_is_not_written(toy: EpisodeDataset, tmp_path: Path, bad: float) -> None:
    scores = answers(toy, 0)
    scores.progress[3] = bad
    with pytest.raises(ValueError, match="progress"):
        write_scores(tmp_path / "s.parquet", toy, {0: scores}, reward_model_path="m", tasks=TASKS)
    assert not list(tmp_path.iterdir())


def test_missing_and_damaged_files(toy: EpisodeDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run progress-rm score"):
        read_scores(tmp_path / "none.parquet", toy)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and no more")
    with pytest.raises(UserError, match="not readable"):
        read_scores(broken, toy)


def rewrite(path: Path, column: str, values: list[object]) -> None:
    table = pq.read_table(path)
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(values, table.schema.field(column).type)), path)


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("progress_sparse", [float("nan")], "progress_sparse is missing"),
        ("progress_sparse", [None], "progress_sparse is missing"),
        ("success", [1.5], "success is missing or not in"),
        ("stage", ["juggle"], "stage 'juggle' is not among"),
        ("index", [10_000], "frames are not those of"),
    ],
)
def test_damaged_answers(
    toy: EpisodeDataset, tmp_path: Path, column: str, change: list[object], message: str
) -> None:
    path = write(tmp_path / "scores.parquet", toy, [0])
    values = pq.read_table(path).column(column).to_pylist()
    rewrite(path, column, [*change, *values[1:]])
    with pytest.raises(UserError, match=message):
        read_scores(path, toy)


def test_scores_of_another_dataset(toy: EpisodeDataset, make_toy, tmp_path: Path) -> None:
    other = make_toy(tmp_path / "other", 2, seed=99)
    path = write(tmp_path / "scores.parquet", toy, [0, 1])
    with pytest.raises(UserError, match="frames are not those of"):
        read_scores(path, other)


def test_parquet_of_somebody_else(toy: EpisodeDataset, tmp_path: Path) -> None:
    path = write(tmp_path / "scores.parquet", toy, [0])
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["stage"]), path)
    with pytest.raises(UserError, match="no column 'stage'"):
        read_scores(path, toy)
    pq.write_table(table.replace_schema_metadata({"reward_model_path": "m"}), path)
    with pytest.raises(UserError, match="lacks 'label_scheme'"):
        read_scores(path, toy)


def test_default_place(toy: EpisodeDataset, make_toy, tmp_path: Path) -> None:
    dataset = make_toy(tmp_path / "data", 1)
    write(dataset.root / "sarm_progress.parquet", dataset, [0])
    assert list(ScoredDataset.load(dataset).scores.episodes) == [0]
