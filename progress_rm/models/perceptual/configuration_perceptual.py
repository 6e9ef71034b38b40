"""Options of `perceptual`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from lerobot.configs.rewards import RewardModelConfig

from progress_datasets.errors import UserError
from progress_rm.encoders.trained import NAMES as TRAINED
from progress_rm.models.features import FilteredModelConfig

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.encoders.base import Encoder
    from progress_rm.models.base import TaskSpec


@RewardModelConfig.register_subclass("perceptual")
@dataclass
class PerceptualConfig(FilteredModelConfig):
    """Steps found in a handful of unannotated demonstrations, each a Gaussian (after Sermanet et al., 1612.06699)."""

    needs: ClassVar[str] = "a handful of demonstrations without annotations"

    encoder: str = "classical"
    """Image encoder: classical, or transformers:NAME_OR_PATH; none that would have to be trained."""
    steps: int = 0
    """How many steps to find; 0: as many as explain most of what differs between moments."""
    annotated: bool = False
    """Take the stages from the annotations instead of finding steps."""
    selected: int = 32
    """Features kept for each step: those that tell it best from the rest."""
    later: float = 1.1
    """How much more each step weighs than its time says, compared with the one before; the paper's rewards double."""
    use_instruction: bool = True
    """Part of every family's options; here the instruction only says which task is meant."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder in TRAINED:
            raise UserError(
                f"encoder={self.encoder} would have to be trained on annotations; use classical or transformers:NAME"
            )
        if self.selected < 1 or self.later <= 0 or self.steps < 0:
            raise UserError("selected is at least 1, later is above 0, and steps is 0 or more")

    def with_stages(self, datasets: Sequence[EpisodeDataset], cache: Path) -> list[EpisodeDataset]:
        """The datasets with the steps found in their successful episodes, unless `annotated`."""
        if self.annotated:
            return list(datasets)
        from progress_rm.data import FeatureCache
        from progress_rm.proposals import with_steps

        features = FeatureCache(cache, self.frozen_encoder())
        return with_steps(datasets, features, views=self.views, use_state=self.use_state, steps=self.steps)

    def frozen_encoder(self) -> Encoder:
        """The image encoder that steps are looked for with."""
        from progress_rm.encoders import make_encoder

        return make_encoder(self.encoder)

    def learn_tasks(self, datasets: Sequence[EpisodeDataset]) -> list[TaskSpec]:
        """What the steps say of the tasks, with shares that grow by `later`."""
        return [
            replace(task, priors=growing(task.priors, self.later)) for task in super().learn_tasks(datasets)
        ]


def growing(priors: Sequence[float], later: float) -> list[float]:
    """Shares of the task with each step weighing `later` times more than the one before, summing to one.

    Where the paper adds up the rewards of steps with weights 2^k, progress is the sum of the shares of finished steps.
    """
    weights = np.asarray(priors, np.float64) * later ** np.arange(len(priors))
    shares: list[float] = (weights / weights.sum()).tolist()
    return shares
