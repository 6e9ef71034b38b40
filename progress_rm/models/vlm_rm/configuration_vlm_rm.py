"""Options of `vlm_rm`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from lerobot.configs.rewards import RewardModelConfig

from progress_datasets.errors import UserError
from progress_rm.models.features import FeatureModelConfig

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset


@RewardModelConfig.register_subclass("vlm_rm")
@dataclass
class VlmRmConfig(FeatureModelConfig):
    """How much a picture resembles a text of the goal (VLM-RM, Rocamonde et al. 2023, arXiv 2310.12921)."""

    needs: ClassVar[str] = "a text of the goal, and a few demonstrations without annotations for the scale"

    encoder: str = "transformers:openai/clip-vit-large-patch14"
    """A model of images and text of `transformers`, with its name or folder: CLIP, SigLIP, …"""
    goal: list[str] = field(default_factory=list)
    """Texts that describe the finished task; by default the instruction. Several are averaged."""
    baseline: list[str] = field(default_factory=lambda: ["a robot arm at a table"])
    """Texts that describe the scene, whatever has been done. Several are averaged."""
    alpha: float = 0.5
    """How much of a picture is seen only along the line from baseline to goal: 0 (nothing) … 1 (all)."""
    use_state: bool = False
    """The state is not looked at."""
    exchange_colours: bool = False
    """A model of images and text knows what colours are called."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.encoder.startswith("transformers:"):
            raise UserError(
                f"encoder={self.encoder} knows no text; give transformers:NAME_OR_PATH (CLIP, SigLIP)"
            )
        if not 0 <= self.alpha <= 1:
            raise UserError(f"alpha={self.alpha} is not in [0, 1]")
        if not self.baseline:
            raise UserError("baseline has no text; describe the scene in one")

    def with_stages(self, datasets: Sequence[EpisodeDataset], cache: Path) -> list[EpisodeDataset]:
        """The datasets with one stage an episode: annotations are not looked at."""
        from progress_rm.proposals import as_one_stage

        return as_one_stage(datasets)
