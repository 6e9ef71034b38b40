"""Options of `multiview_sarm`."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs.rewards import RewardModelConfig

from progress_rm.models.features import ExemplarModelConfig, FilteredModelConfig
from progress_rm.windows import WindowSampler

_FIRST_FRAME = -1_000_000
"""LeRobot clamps a delta index to the episode, so this one is the first frame."""


@RewardModelConfig.register_subclass("multiview_sarm")
@dataclass
class MultiviewSarmConfig(FilteredModelConfig, ExemplarModelConfig):
    """Stage-aware progress from any number of views (after SARM, arXiv 2509.25358)."""

    window: int = 6
    """Number of recent frames a query sees, besides the episode's first."""
    spacing_s: float = 0.5
    """Seconds between the last two of them."""
    spacing_growth: float = 1.8
    """How many times as long each distance between two of them is as the one after it; 1: all alike. By default the
    window reaches 11 s back, and still tells where the arm moves to now."""
    hidden: int = 128
    """Width of the transformers."""
    layers: int = 2
    """Layers of the temporal transformer."""
    heads: int = 4
    """Attention heads."""
    bins: int = 12
    """The within-stage head is a distribution over so many positions."""
    dropout: float = 0.1
    """Dropout in the transformers."""
    view_dropout: float = 0.2
    """Probability that training hides a view of a window."""
    state_dropout: float = 0.2
    """Probability that training hides the state of a window."""
    rewind: float = 0.3
    """Probability that a training window ends by running backwards over real frames."""
    ends: float = 0.0
    """Share of training windows, at least, that end where an episode does: complete, or left undone. A quarter tells
    success from failure better where there are many demonstrations, and costs accuracy where there are few."""
    wrong_instruction: float = 0.1
    """Probability that a training window gets another task's instruction and must answer 0."""

    @property
    def observation_delta_indices(self) -> list[int]:
        """The window, in frames, for LeRobot's data loader: the episode's first frame, then the recent ones."""
        if self.fps <= 0:
            from progress_datasets.errors import UserError

            raise UserError("--reward_model.fps is missing; give it the dataset's frames per second")
        return [_FIRST_FRAME, *(-int(age * self.fps + 0.5 - 1e-4) for age in self.windows.ages_s)]

    @property
    def windows(self) -> WindowSampler:
        """What a query sees."""
        return WindowSampler(self.window, self.spacing_s, self.spacing_growth)
