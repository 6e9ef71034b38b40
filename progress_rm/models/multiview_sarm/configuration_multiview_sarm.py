"""Options of `multiview_sarm`."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs.rewards import RewardModelConfig
from lerobot.optim.optimizers import AdamWConfig, OptimizerConfig

from progress_rm.models.base import ProgressModelConfig

_FIRST_FRAME = -1_000_000
"""LeRobot clamps a delta index to the episode, so this one is the first frame."""


@RewardModelConfig.register_subclass("multiview_sarm")
@dataclass
class MultiviewSarmConfig(ProgressModelConfig):
    """Stage-aware progress from any number of views (after SARM, arXiv 2509.25358)."""

    encoder: str = "small_cnn"
    """Image encoder: classical, small_cnn, or transformers:NAME_OR_PATH (DINOv2/3, SigLIP, CLIP, …)."""
    encoder_dim: int = 128
    """Length of small_cnn's feature vector."""
    image_size: int = 96
    """Frames are resized to this before small_cnn sees them."""
    augment: str = "mild"
    """How small_cnn's training frames are moved and recoloured: none, mild, or full, for cameras and light that differ
    between episodes; full takes thousands of encoder steps."""
    views: list[str] = field(default_factory=list)
    """Views to train on, by default all. At run time some may be missing, and others stand in where all are."""
    window: int = 6
    """Number of recent frames a query sees, besides the episode's first."""
    spacing_s: float = 0.5
    """Seconds between two of them."""
    use_state: bool = True
    """Read the robot's state where the data has one."""
    state_dim: int = 0
    """Length of the state; filled by training, 0 where there is none."""
    use_instruction: bool = True
    """Read the instruction, and answer 0 where the video shows another task."""
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
    feature_noise: float = 0.1
    """Standard deviation of the noise added to standardised features in training."""
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
    exemplars: int = -1
    """Frames a task remembered for the nearest-neighbour head; 0: none; -1: 6000 where demonstrations are few."""
    exemplar_share: float = 0.5
    """Share of the nearest-neighbour head in the evidence, where there is one."""
    exemplar_rows: list[int] = field(default_factory=list)
    """Frames remembered for each task; filled by training."""
    use_filter: bool = True
    """Put the causal stage filter between the heads and the reported progress."""
    evidence_rate: float = 4.5
    """How much the filter trusts a second of evidence; chosen on the validation episodes."""
    success_scale: float = 1.0
    """Slope of the calibrated success probability; fitted on the validation episodes."""
    success_offset: float = 0.0
    """Offset of the calibrated success probability; fitted on the validation episodes."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""

    @property
    def observation_delta_indices(self) -> list[int]:
        """The window, in frames, for LeRobot's data loader: the episode's first frame, then the recent ones."""
        if self.fps <= 0:
            from progress_datasets.errors import UserError

            raise UserError("--reward_model.fps is missing; give it the dataset's frames per second")
        steps = range(self.window - 1, -1, -1)
        return [_FIRST_FRAME, *(-int(step * self.spacing_s * self.fps + 0.5 - 1e-4) for step in steps)]

    def get_optimizer_preset(self) -> OptimizerConfig:
        """AdamW with this config's learning rate and weight decay."""
        return AdamWConfig(lr=self.learning_rate, weight_decay=self.weight_decay, grad_clip_norm=1.0)
