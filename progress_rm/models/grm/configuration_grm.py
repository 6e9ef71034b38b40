"""Options of `grm`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from lerobot.configs.rewards import RewardModelConfig

from progress_datasets.errors import UserError
from progress_rm.models.features import ExemplarModelConfig

ESTIMATES = ("incremental", "forward", "backward", "mean", "smoothed", "consistency")
"""Three perspectives, then three ways to fuse them."""


@RewardModelConfig.register_subclass("grm")
@dataclass
class GrmConfig(ExemplarModelConfig):
    """Relative progress between two moments, given a goal (after Robo-Dopamine, arXiv 2512.23703)."""

    causal: ClassVar[str] = "yes, unless goal=hindsight"

    goal: str = "learned"
    """What is compared with: learned (the ends of the demonstrations), text (the instruction alone), the path of an
    image VIEW.png or of a folder of them, or hindsight (the episode's own last frame, for analysis only)."""
    estimate: str = "smoothed"
    """Which perspective (incremental, forward, backward) or fusion of them (mean, smoothed, consistency) is what the
    hops say of progress."""
    exemplar_share: float = 0.5
    """Share in progress, of a task that few demonstrations show, of where among them the nearest moments are. More
    where every episode goes like them."""
    exemplar_sharpness: float = 20.0
    """How fast that share falls as hops say otherwise, Δ away: exp(−sharpness·Δ²); 0: not at all."""
    hop_s: float = 1.0
    """Seconds between the two moments of an incremental hop."""
    smooth_s: float = 0.3
    """Seconds that the smoothed mean looks back, exponentially; 0: not at all."""
    use_instruction: bool = True
    """Read the instruction."""
    hidden: int = 128
    """Width of the network."""
    layers: int = 2
    """Layers of the transformer over views, state and instruction."""
    heads: int = 4
    """Attention heads."""
    bins: int = 41
    """The hop is a distribution over so many values from −1 to 1; odd, so that 0 is among them."""
    dropout: float = 0.1
    """Dropout in the network."""
    view_dropout: float = 0.2
    """Probability that training hides a view of a query; half as often it hides the view's name."""
    state_dropout: float = 0.2
    """Probability that training hides the state of a query."""
    context_dropout: float = 0.15
    """Probability that training hides the first frame, the goal or the instruction of a query, each by itself."""
    wrong_instruction: float = -1.0
    """Probability that training asks about an episode with another task's instruction and goal, towards which nothing
    is done; -1: a tenth where a sentence encoder reads the instruction, else 0."""
    replay: int = 240
    """Frames remembered for each task, so that adapting to another one does not make the model forget it."""
    replay_rows: int = 0
    """Frames remembered in all; filled by training."""
    uncertainty_scale: float = 1.0
    """Factor of the stated standard deviations; fitted on the validation episodes."""
    validation_mse: dict[str, float] = field(default_factory=dict)
    """Error of every perspective and fusion on the validation episodes; filled by training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.estimate not in ESTIMATES:
            raise UserError(f"there is no estimate '{self.estimate}'; choose one of {', '.join(ESTIMATES)}")
        if self.bins < 3 or self.bins % 2 == 0:
            raise UserError(
                f"bins must be odd and at least 3, so that a hop of 0 is among them, not {self.bins}"
            )
        if self.exemplar_sharpness < 0:
            raise UserError(f"exemplar_sharpness must not be negative, not {self.exemplar_sharpness}")
        if self.hop_s <= 0:
            raise UserError(f"hop_s must be positive, not {self.hop_s}")
        if self.smooth_s < 0:
            raise UserError(f"smooth_s must not be negative, not {self.smooth_s}")

    @property
    def wrong_share(self) -> float:
        """What `wrong_instruction` means."""
        if self.wrong_instruction >= 0:
            return self.wrong_instruction
        return 0.1 if self.use_instruction and self.texts.is_semantic else 0.0

    @property
    def settling_s(self) -> float:
        """See `ProgressModelConfig.settling_s`."""
        return self.smooth_s

    @property
    def window(self) -> int:
        """What LeRobot's data loader gives beside the first frame: now."""
        return 1

    @property
    def observation_delta_indices(self) -> list[int]:
        """The episode's first frame, as LeRobot clamps to it, and now."""
        return [-1_000_000, 0]
