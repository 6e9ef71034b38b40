"""The frame tables of a dataset (`data/*/*.parquet`), read a column or an episode at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from progress_datasets import layout
from progress_datasets.errors import UserError
from progress_datasets.video import Image


class FrameTables:
    """All frames of a dataset laid end to end.

    Args:
        root: the dataset.
        lengths: frames of each episode, as its metadata says.
    """

    def __init__(self, root: Path, lengths: list[int]) -> None:
        self.root, self.lengths = root, lengths
        self._columns: dict[str, npt.NDArray[Any]] = {}

    @cached_property
    def files(self) -> list[Path]:
        """The parquet files in order."""
        files = layout.data_files(self.root)
        if not files:
            raise UserError(f"{self.root}/data: there are no frame tables; copy the dataset again")
        return files

    @cached_property
    def names(self) -> list[str]:
        """The columns that there are."""
        return list(self._open(self.files[0]).schema_arrow.names)

    @cached_property
    def rows(self) -> list[tuple[int, int]]:
        """First and last-plus-one row of each episode.

        Raises:
            UserError: frames are unsorted, or an episode has other than its number of them.
        """
        numbers = self.column("episode_index")
        if np.any(np.diff(numbers) < 0):
            raise UserError(f"{self.root}/data: frames are not sorted by episode; record the dataset again")
        wanted = np.arange(len(self.lengths))
        starts = np.searchsorted(numbers, wanted, side="left")
        stops = np.searchsorted(numbers, wanted, side="right")
        for episode, found in enumerate(stops - starts):
            if found != self.lengths[episode]:
                raise UserError(
                    f"{self.root}, episode {episode}: {found} frames in data/, {self.lengths[episode]} in "
                    f"{layout.EPISODES}; copy the dataset again"
                )
        return list(zip(starts.tolist(), stops.tolist(), strict=True))

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column of all frames, kept in memory: [N] or [N, D …].

        Raises:
            UserError: there is no such column.
        """
        if name not in self._columns:
            self._require(name)
            parts = [_to_numpy(layout.read_table(path, [name]).column(0)) for path in self.files]
            self._columns[name] = np.concatenate(parts)
        return self._columns[name]

    def objects(self, name: str, episode: int) -> list[Any]:
        """A column of one episode as Python objects."""
        self._require(name)
        return [value for part in self._parts(name, *self.rows[episode]) for value in part.to_pylist()]

    def images(self, name: str, episode: int) -> Iterator[Image]:
        """Stored images of one episode: uint8 [H, W, 3], RGB."""
        import cv2

        for part in self._parts(name, *self.rows[episode]):
            for cell in part.to_pylist():
                image = cv2.imdecode(np.frombuffer(cell["bytes"] or b"\0", np.uint8), cv2.IMREAD_COLOR_RGB)
                if image is None:
                    raise UserError(
                        f"{self.root}, episode {episode}, {name}: a stored image is damaged; copy the dataset again"
                    )
                yield np.asarray(image, dtype=np.uint8)

    def _require(self, name: str) -> None:
        if name not in self.names:
            plain = [n for n in self.names if n not in layout.FRAME_COLUMNS]
            raise UserError(f"{self.root}: the frames have no column '{name}'; they have {plain}")

    @cached_property
    def _starts(self) -> list[int]:
        counts = [self._open(path).metadata.num_rows for path in self.files]
        return [0, *np.cumsum(counts).tolist()]

    def _open(self, path: Path) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: not readable as parquet; copy the dataset again") from error

    def _parts(self, name: str, start: int, stop: int) -> Iterator[pa.ChunkedArray]:
        """Values of rows [start, stop), one row group at a time: a group may hold many large images."""
        for path, first in zip(self.files, self._starts, strict=False):
            file = self._open(path)
            row = first
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                low, high = max(start, row), min(stop, row + size)
                if low < high:
                    yield file.read_row_group(group, columns=[name]).column(0).slice(low - row, high - low)
                row += size


def _to_numpy(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """[T] or [T, D …]; float64 becomes float32, as LeRobot declares its features."""
    shape: list[int] = []
    values = column.combine_chunks()
    while (
        pa.types.is_list(values.type)
        or pa.types.is_fixed_size_list(values.type)
        or pa.types.is_large_list(values.type)
    ):
        count, values = len(values), values.flatten()
        shape.append(len(values) // count if count else 0)
    array: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return array.reshape(len(column), *shape)
