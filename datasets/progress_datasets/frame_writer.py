"""Writes the frame tables of a new dataset: one row group an episode, a new file when one is full."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_FILE = 50_000
BYTES_PER_FILE = 100 * 2**20


class FrameWriter:
    """Appends episodes to `data/chunk-*/file-*.parquet`.

    Args:
        folder: the dataset.
        schema: of the tables, in Hugging Face's types.
        path: LeRobot's pattern of the file names.
        files_per_chunk: files a folder.
    """

    def __init__(self, folder: Path, schema: pa.Schema, path: str, files_per_chunk: int) -> None:
        self.folder, self.schema, self.path, self.files_per_chunk = folder, schema, path, files_per_chunk
        self.frames = 0
        self._file = -1
        self._where = Path()
        self._rows = 0
        self._table: pq.ParquetWriter | None = None

    def add_episode(
        self, number: int, length: int, fps: float, task_index: int, columns: Mapping[str, Any]
    ) -> dict[str, int]:
        """Append one episode's frames; returns where they are, as columns of the episode table."""
        frame_index = np.arange(length)
        values = {
            **columns,
            "timestamp": (frame_index / fps).astype(np.float32),
            "frame_index": frame_index,
            "episode_index": np.full(length, number),
            "index": frame_index + self.frames,
            "task_index": np.full(length, task_index),
        }
        arrays = [_to_arrow(values[column.name], column.type) for column in self.schema]
        self._open(length).write_table(pa.Table.from_arrays(arrays, schema=self.schema))
        self._rows += length
        self.frames += length
        chunk, file = divmod(self._file, self.files_per_chunk)
        return {"data/chunk_index": chunk, "data/file_index": file}

    def close(self) -> None:
        """Finish the last file."""
        if self._table is not None:
            self._table.close()
            self._table = None

    def _open(self, more: int) -> pq.ParquetWriter:
        if self._table is not None:
            if self._rows + more <= ROWS_PER_FILE and self._where.stat().st_size < BYTES_PER_FILE:
                return self._table
            self._table.close()
        self._file += 1
        self._rows = 0
        chunk, file = divmod(self._file, self.files_per_chunk)
        self._where = self.folder / self.path.format(chunk_index=chunk, file_index=file)
        self._where.parent.mkdir(parents=True, exist_ok=True)
        self._table = pq.ParquetWriter(self._where, self.schema, compression="snappy")
        return self._table


def _to_arrow(values: npt.NDArray[Any] | pa.Array, kind: pa.DataType) -> pa.Array:
    if not isinstance(values, np.ndarray):
        return values.cast(kind)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and pa.types.is_fixed_size_list(kind):
        flat = pa.array(values.reshape(-1), kind.value_type)
        return pa.FixedSizeListArray.from_arrays(flat, kind.list_size)
    return pa.array(values.tolist() if values.ndim > 1 else values, kind)
