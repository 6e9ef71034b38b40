"""Options of `sarm2`."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs.rewards import RewardModelConfig

from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig


@RewardModelConfig.register_subclass("sarm2")
@dataclass
class Sarm2Config(MultiviewSarmConfig):
    """One model for many tasks: shared action primitives and a mixture of experts (after SARM2, arXiv 2606.10305).

    Views, window, augmentation, filter and calibration are `multiview_sarm`'s.
    """

    label_scheme: str = "remaining_time"
    """What the value head is trained on: remaining_time, duration_prior, equal_budget, visual_change or clock."""
    primitives: str = ""
    """YAML or JSON file that says which action primitives a stage consists of, beside the rules that are built in."""
    stage_primitives: list[list[str]] = field(default_factory=list)
    """Primitives of every stage of all tasks, wordings of one task once; filled by training."""
    value_bins: int = 50
    """The value head is a distribution over so many parts of the task."""
    use_estimator: bool = True
    """Tell which primitive is going on, and let it choose the gate; without, there is one gate."""
    estimator_layers: int = 2
    """Layers of the transformer that tells the primitive."""
    multi_gate: bool = True
    """One gate for each group of primitives, or one for all."""
    experts: int = 10
    """Experts that the gates share."""
    expert_width: int = 128
    """Width of an expert's two hidden layers."""
    top_k: int = 2
    """Experts that a gate asks at a time."""
    balance_weight: float = 0.01
    """Weight of the loss that makes the gates use all experts."""
    entropy_weight: float = 0.001
    """Weight of the loss that makes a gate decide."""
