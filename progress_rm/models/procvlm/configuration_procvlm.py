"""Options of `procvlm`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from lerobot.configs.rewards import RewardModelConfig
from lerobot.optim.optimizers import AdamWConfig, OptimizerConfig

from progress_datasets.errors import UserError
from progress_rm.models.protocols import ProtocolConfig

ENGINES = ("transformers", "vllm")
ESTIMATES = ("mean", "said")
DTYPES = ("auto", "float32", "bfloat16", "float16")


@RewardModelConfig.register_subclass("procvlm")
@dataclass
class ProcvlmConfig(ProtocolConfig):
    """A vision-language model that names the actions that remain, then the progress (ProcVLM, arXiv 2605.08774)."""

    needs: ClassVar[str] = "annotated demonstrations, `progress-rm[vlm]` and better a GPU"

    protocols: ClassVar[tuple[str, ...]] = (*ProtocolConfig.protocols, "done")

    label_scheme: str = "visual_change"
    """How stage annotations become progress: duration_prior, equal_budget, visual_change, remaining_time or clock."""
    protocol: str = "remaining"
    """What is asked for: remaining, the actions that remain and the progress (ProcVLM); shuffled, the progress of each
    of several frames so far in random order (GVL, arXiv 2411.04549); or done, whether the task is complete, of which
    the probability counts, on the scale of the demonstrations (after TOPReward)."""
    done_scale: list[list[float]] = field(default_factory=list)
    """For each task, the logarithm of the probability of "True" where demonstrations begin and where they end; filled
    by training with protocol=done."""
    vlm: str = "Qwen/Qwen2.5-VL-3B-Instruct"
    """The vision-language model: any of transformers' image-text-to-text models with a chat template, by Hub id or
    folder. It is not copied into the checkpoint."""
    dtype: str = "auto"
    """float32, bfloat16 or float16; auto: bfloat16 on a GPU that has it, else float32."""
    lora_rank: int = 16
    """Rank of the adapters that are trained; 0 trains all weights, and the checkpoint then holds them all."""
    lora_alpha: int = 32
    """Scale of the adapters: they count alpha/rank."""
    lora_dropout: float = 0.05
    """Dropout before the adapters."""
    lora_targets: str = "all-linear"
    """Which layers get adapters: all-linear, or a regular expression of their names."""
    lora_vision: bool = False
    """Give the image tower adapters, too."""
    gradient_checkpointing: bool = False
    """Spare memory in training by computing activations twice."""
    train_batch: int = 16
    """Questions a step and process at most, however large --batch_size is."""
    questions: dict[str, float] = field(
        default_factory=lambda: {"progress": 0.6, "segmentation": 0.2, "planning": 0.2}
    )
    """What training asks, and how often: progress, segmentation and planning."""
    phases: int = 4
    """So many moments between two questions are trained on; all their frames are kept in memory."""
    ends: float = 0.25
    """Share of questions about the end of an episode, at least."""
    estimate: str = "mean"
    """Which number is the progress: mean, of all numbers that the model might have said after the actions it named, or
    said, the one in its reply. Where nothing is known but the reply it is the one said."""
    constrained: bool = True
    """Let the model say nothing but replies that can be read, about the task's own stages."""
    max_new_tokens: int = 256
    """Length of a reply at most, where it is not constrained."""
    engine: str = "transformers"
    """What a trained model answers with: transformers, or vllm where that is installed."""
    learning_rate: float = 2e-4
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.0
    """Weight decay of AdamW."""

    def __post_init__(self) -> None:
        super().__post_init__()
        from progress_rm.models.procvlm.questions import KINDS

        for name, known in (("engine", ENGINES), ("dtype", DTYPES), ("estimate", ESTIMATES)):
            if (value := getattr(self, name)) not in known:
                raise UserError(f"{name}={value} is unknown; choose one of {', '.join(known)}")
        if self.protocol == "done" and self.engine != "transformers":
            raise UserError(
                f"protocol=done needs probabilities, which engine={self.engine} does not tell here"
            )
        unknown = sorted(set(self.questions) - set(KINDS))
        if unknown:
            raise UserError(f"questions: there is no '{unknown[0]}'; choose among {', '.join(KINDS)}")
        if not self.questions or min(self.questions.values()) < 0 or sum(self.questions.values()) <= 0:
            raise UserError("questions must name at least one kind with a positive share")
        if self.phases < 1 or self.train_batch < 1:
            raise UserError("phases and train_batch must be positive")

    def get_optimizer_preset(self) -> OptimizerConfig:
        """AdamW with this config's learning rate and weight decay."""
        return AdamWConfig(lr=self.learning_rate, weight_decay=self.weight_decay, grad_clip_norm=1.0)
