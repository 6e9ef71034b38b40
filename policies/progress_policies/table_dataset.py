"""Datasets without pictures, held in memory: a batch is a few array look-ups instead of as many table queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class TableDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """A LeRobotDataset without pictures, answering the same items from memory.

    Everything that is not an item (`meta`, `episodes`, …) is the dataset's own.

    Args:
        dataset: a LeRobotDataset; the reader's `delta_indices` decide which frames an item spans.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._deltas: dict[str, list[int]] = dict(dataset.reader.delta_indices or {})
        table = dataset.hf_dataset.with_format("torch")
        self._columns: dict[str, Tensor] = {
            name: torch.as_tensor(table[name][:])
            for name, feature in dataset.meta.features.items()
            if feature["dtype"] != "string" and name in table.column_names
        }
        episode = self._columns["episode_index"].numpy()
        edges = np.flatnonzero(np.diff(episode)) + 1
        starts, ends = np.array([0, *edges]), np.array([*edges, len(episode)])
        lengths = ends - starts
        self._first, self._last = np.repeat(starts, lengths), np.repeat(ends - 1, lengths)
        self._tasks = [str(name) for name in dataset.meta.tasks.index]

    @staticmethod
    def fits(dataset: Any) -> bool:
        """Whether the dataset has no pictures and no columns of text."""
        kinds = {feature["dtype"] for feature in dataset.meta.features.values()}
        return not kinds & {"image", "video", "language", "string"}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several items at once; PyTorch's loader asks so for a whole batch."""
        rows = np.asarray(indices)
        batch: dict[str, Tensor] = {}
        for name, values in self._columns.items():
            if name not in self._deltas:
                batch[name] = values[torch.from_numpy(rows)]
                continue
            wanted = rows[:, None] + np.array(self._deltas[name])
            first, last = self._first[rows, None], self._last[rows, None]
            batch[name] = values[torch.from_numpy(np.clip(wanted, first, last))]
            batch[f"{name}_is_pad"] = torch.from_numpy((wanted < first) | (wanted > last))
        tasks = [self._tasks[int(k)] for k in batch["task_index"]]
        return [{**{n: v[k] for n, v in batch.items()}, "task": tasks[k]} for k in range(len(rows))]
