"""Batches of LeRobot's data loader, as `multiview_sarm` wants them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.models.lerobot_batch import IMAGES, exchange_rows, some_image_views, state_windows
from progress_rm.models.wordings import stage_offsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from progress_rm.labels import EpisodeLabels
    from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig


class LeRobotBatches:
    """Fills a config from the dataset that `lerobot-train` trains on, and adds labels to its batches.

    Args:
        config: its tasks, views and state length are filled where they are empty.
        meta: LeRobotDatasetMetadata.

    Raises:
        UserError: the config's fps is not the dataset's, or the dataset's annotations are not in order.
    """

    def __init__(self, config: MultiviewSarmConfig, meta: Any) -> None:
        from progress_datasets.episodes import EpisodeDataset
        from progress_rm.data import FeatureCache, learn_tasks, load_episodes

        if abs(config.fps - meta.fps) > 1e-6:
            raise UserError(
                f"--reward_model.fps={config.fps} but the dataset has {meta.fps}; pass --reward_model.fps={meta.fps}"
            )
        dataset = EpisodeDataset(Path(meta.root))
        config.tasks = config.tasks or learn_tasks([dataset], config.label_scheme)
        config.views = config.views or list(dataset.views)
        if config.use_state and (state := dataset.state(0)) is not None:
            config.state_dim = state.shape[1]
        episodes = load_episodes(
            dataset,
            FeatureCache(Path(), None),
            tasks=config.tasks,
            scheme=config.label_scheme,
            use_state=config.use_state,
        )
        self._config = config
        offsets = stage_offsets(config.tasks)
        size = max(int(dataset.index(e)[-1]) for e in range(dataset.num_episodes)) + 1
        self._stage = np.full(size, -1, np.int64)
        self._within = np.full(size, np.nan, np.float32)
        self._done = np.zeros(size, np.bool_)
        for e, episode in enumerate(episodes):
            assert episode.labels is not None
            rows, labels = dataset.index(e), episode.labels
            offset = offsets[config.find_task(episode.task)]
            self._stage[rows] = np.where(labels.stage >= 0, labels.stage + offset, -1)
            self._within[rows], self._done[rows] = self._positions(labels), labels.done

    def _positions(self, labels: EpisodeLabels) -> NDArray[np.float32]:
        """What "within" is to a model, float32 [T]."""
        return labels.within

    def convert(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch with LeRobot's keys → one with ours, labelled; see `sampling.sample_windows`."""
        ours = convert_observations(self._config, batch)
        # A wrong instruction may come in its place.
        del ours["words"]
        rows = batch["index"].flatten().cpu().numpy()
        match = torch.ones(len(rows), dtype=torch.bool)
        instruction = ours["instruction"]
        tasks = len(self._config.tasks)
        if tasks > 1 and self._config.use_instruction:
            match = torch.rand(len(rows)) >= self._config.wrong_instruction
            others = (instruction + torch.randint(1, tasks, (len(rows),))) % tasks
            instruction = torch.where(match, instruction, others)
        return ours | {
            "instruction": instruction,
            "stage": torch.from_numpy(self._stage[rows]),
            "within": torch.from_numpy(self._within[rows]),
            "done": torch.from_numpy(self._done[rows]),
            "match": match,
        }


def convert_observations(config: MultiviewSarmConfig, batch: dict[str, Any]) -> dict[str, Any]:
    """Images, state and instruction of a LeRobot batch: windows [B, W, …] or single frames [B, …].

    Raises:
        UserError: the batch has no image.
    """
    names = some_image_views(batch, config)
    frames = torch.stack([_pixels(batch[IMAGES + name], config.image_size) for name in names], dim=2)
    count, width, views = frames.shape[:3]
    tasks = batch.get("task") or [None] * count
    exchange_rows(config, frames.numpy(), tasks)
    pad = batch.get(f"{IMAGES}{names[0]}_is_pad")
    frame_mask = torch.ones(count, width, dtype=torch.bool)
    if pad is not None and width > 1:
        frame_mask = ~pad.cpu()
        # LeRobot calls the first frame padding, because its index lies before the episode.
        frame_mask[:, 0] = True
    state_dim = config.state_dim if config.use_state else 0
    state = torch.zeros(count, width, state_dim)
    has_state = state_dim > 0 and "observation.state" in batch
    if has_state:
        state = state_windows(batch, state_dim)
    indices = [config.find_task(task) for task in tasks]
    words = [config.embed(index, task) for index, task in zip(indices, tasks, strict=True)]
    known = {view: i for i, view in enumerate(config.views)}
    return {
        "frames": frames,
        "view_mask": torch.ones(count, width, views, dtype=torch.bool) & frame_mask[:, :, None],
        "view_ids": torch.tensor([known.get(name, len(known)) for name in names]),
        "frame_mask": frame_mask,
        "slots": torch.arange(width) if width > 1 else torch.tensor([config.window]),
        "state": state,
        "state_mask": torch.full((count,), has_state),
        "instruction": torch.tensor(indices),
        "words": torch.from_numpy(np.stack(words)),
    }


def _pixels(images: Tensor, size: int) -> Tensor:
    """float [B, (W,) C, H, W] in [0, 1] → uint8 [B, W, size, size, C] on the CPU."""
    windows = images if images.ndim == 5 else images[:, None]
    count, width = windows.shape[:2]
    flat = windows.flatten(0, 1).float()
    if flat.shape[-2:] != (size, size):
        flat = F.interpolate(flat, (size, size), mode="area")
    return (
        (flat * 255).round().to(torch.uint8).permute(0, 2, 3, 1).reshape(count, width, size, size, -1).cpu()
    )
