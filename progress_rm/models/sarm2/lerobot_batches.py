"""Labels for `lerobot-train`, as `sarm2` wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from progress_datasets.episodes import EpisodeDataset
from progress_rm.data import FeatureCache, load_episodes
from progress_rm.models.multiview_sarm.lerobot_batches import LeRobotBatches
from progress_rm.models.sarm2.configuration_sarm2 import Sarm2Config


class Sarm2Batches(LeRobotBatches):
    """As `multiview_sarm`'s, but that "within" is how much of the task is done, not of the stage."""

    def __init__(self, config: Sarm2Config, meta: Any) -> None:
        super().__init__(config, meta)
        dataset = EpisodeDataset(Path(meta.root))
        labelled = load_episodes(
            dataset,
            FeatureCache(Path(), None),
            tasks=config.tasks,
            scheme=config.label_scheme,
            use_state=config.use_state,
        )
        for number, episode in enumerate(labelled):
            assert episode.labels is not None
            self._within[dataset.index(number)] = episode.labels.progress
