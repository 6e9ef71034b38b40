"""Where things lie in a LeRobotDataset v3 folder, and how files in it are replaced without leaving half of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from progress_datasets.errors import UserError

VIEW_PREFIX = "observation.images."
INFO = "meta/info.json"
EPISODES = "meta/episodes"
TASKS = "meta/tasks.parquet"
SUBTASKS = "meta/subtasks.parquet"
PROPORTIONS = "meta/temporal_proportions_{kind}.json"
OURS = "meta/progress.json"
"""Ours, ignored by LeRobot: `{"stage_order": {task: [stage, …]}, "metadata": {…}}`."""

FRAME_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns that LeRobot itself puts into every frame."""


def read_json(path: Path) -> Any:
    """Parse one JSON file.

    Raises:
        UserError: the file is not there or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not valid JSON ({error}); repair or replace the file") from error


def write_json(path: Path, value: object) -> None:
    """Write JSON to a temporary sibling and rename it."""
    temporary = path.with_name(f".{path.name}.writing")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read one parquet file.

    Raises:
        UserError: the file is not there or is not readable as parquet.
    """
    try:
        return pq.read_table(path, columns=columns)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; copy the dataset again") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path}: not readable as parquet ({_first_line(error)}); copy the dataset again"
        ) from error


def refuse_existing(target: Path, option: str = "--output") -> None:
    """Raise a UserError if `target` exists: nothing here overwrites a person's data."""
    if target.exists():
        raise UserError(f"{target} exists already; choose another folder with {option} or remove it")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield the path of a temporary sibling, not made yet, that becomes `target` when the block succeeds.

    When the block fails nothing is left; what a killed process left behind is replaced.

    Raises:
        UserError: `target` exists.
    """
    refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.writing")
    if temporary.exists():
        shutil.rmtree(temporary)
    try:
        yield temporary
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def data_files(root: Path) -> list[Path]:
    """The frame tables of a dataset, in the order in which LeRobot concatenates them."""
    return sorted((root / "data").glob("*/*.parquet"))


def episode_files(root: Path) -> list[Path]:
    """The episode tables of a dataset, in the order in which LeRobot concatenates them."""
    return sorted((root / EPISODES).glob("*/*.parquet"))


def write_episode_columns(root: Path, columns: Mapping[str, pa.Array | None]) -> None:
    """Add or replace columns of `meta/episodes`; None removes one. Each array has one value an episode, in order."""
    pending: list[tuple[Path, Path]] = []
    for path in episode_files(root):
        table = read_table(path).replace_schema_metadata(None)
        rows = table.column("episode_index").combine_chunks()
        for name, values in columns.items():
            if name in table.column_names:
                table = table.drop_columns([name])
            if values is not None:
                table = table.append_column(name, values.take(rows))
        temporary = path.with_name(f".{path.name}.writing")
        pq.write_table(table, temporary)
        pending.append((temporary, path))
    for temporary, path in pending:
        temporary.replace(path)


def write_frame_columns(
    root: Path, columns: Mapping[str, pa.Array | None], features: Mapping[str, object]
) -> None:
    """Add or replace columns of the frame tables; None removes one.

    Args:
        root: the dataset.
        columns: one value a frame of the whole dataset, in the order of the files.
        features: what `info.json` says about each added column.

    One row group an episode is kept, as LeRobot's own writers do, so that an episode can be read alone.
    """
    pending: list[tuple[Path, Path]] = []
    offset = 0
    for path in data_files(root):
        table = read_table(path).replace_schema_metadata(None)
        for name, values in columns.items():
            if name in table.column_names:
                table = table.drop_columns([name])
            if values is not None:
                table = table.append_column(name, values.slice(offset, table.num_rows))
        offset += table.num_rows
        temporary = path.with_name(f".{path.name}.writing")
        write_row_group_per_episode(table, temporary)
        pending.append((temporary, path))
    info = read_json(root / INFO)
    for name, values in columns.items():
        info["features"].pop(name, None)
        if values is not None:
            info["features"][name] = features[name]
    for temporary, path in pending:
        temporary.replace(path)
    write_json(root / INFO, info)


def write_row_group_per_episode(table: pa.Table, path: Path) -> None:
    """Write frames, sorted by episode, with one parquet row group an episode."""
    episodes = table.column("episode_index").to_numpy()
    starts = [0, *(int(i) + 1 for i in (episodes[1:] != episodes[:-1]).nonzero()[0]), len(episodes)]
    with pq.ParquetWriter(path, table.schema, compression="snappy") as writer:
        for start, stop in pairwise(starts):
            writer.write_table(table.slice(start, stop - start))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
