"""What families share that look at features of an image encoder: its options, statistics, names of views."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lerobot.optim.optimizers import AdamWConfig, OptimizerConfig
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize

from progress_datasets.errors import UserError
from progress_rm.encoders import make_encoder
from progress_rm.encoders.base import Encoder
from progress_rm.models.base import ProgressRewardModel
from progress_rm.models.calibration import CalibratedConfig

if TYPE_CHECKING:
    from progress_rm.data import TrainingData

AUGMENT = ("none", "mild", "full")
"""What `progress_rm.augment.augment_alike` can do."""


FARTHEST = 8.0
"""Standardised features beyond this are like it."""


@dataclass
class FeatureModelConfig(CalibratedConfig):
    """Options of what is looked at, and how it is learned from."""

    encoder: str = "small_cnn"
    """Image encoder: classical, gradients, small_cnn, efficientnet, or transformers:NAME_OR_PATH (DINOv2/3, SigLIP,
    CLIP, …)."""
    encoder_dim: int = 128
    """Length of the feature vector of small_cnn and efficientnet, which are trained."""
    image_size: int = 96
    """Frames are resized to this before these two see them."""
    augment: str = "mild"
    """How their training frames are moved and recoloured: none, mild, or full, for cameras and light that differ
    between episodes; full takes thousands of encoder steps."""
    exchange_colours: bool = True
    """Take instructions that differ in colours alone ("press the red button", "press the blue button") for one, and
    exchange the colours in the pictures instead."""
    use_state: bool = True
    """Read the robot's state where the data has one."""
    state_dim: int = 0
    """Length of the state; filled by training, 0 where there is none."""
    feature_noise: float = 0.1
    """Standard deviation of the noise added to standardised features in training."""
    text_noise: float = 0.5
    """In training, instructions that a sentence encoder read are scattered by up to so many times their length, so that
    the network takes other wordings for the same."""
    text_key: str = ""
    """Which text encoder, with which weights, the network learned to read; filled by training."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.augment not in AUGMENT:
            raise UserError(f"augment={self.augment} is unknown; choose one of {', '.join(AUGMENT)}")

    @property
    def state_size(self) -> int:
        """Length of the state that is read."""
        return self.state_dim if self.use_state else 0

    def get_optimizer_preset(self) -> OptimizerConfig:
        """AdamW with this config's learning rate and weight decay."""
        return AdamWConfig(lr=self.learning_rate, weight_decay=self.weight_decay, grad_clip_norm=1.0)


@dataclass
class ExemplarModelConfig(FeatureModelConfig):
    """Options of families that may ask the nearest moments of the demonstrations, too."""

    exemplars: int = -1
    """Frames a task remembered for the nearest-neighbour head; 0: none; -1: 6000 where demonstrations are few."""
    exemplar_share: float = 0.5
    """Share of the nearest-neighbour head in the answer, where there is one."""
    exemplar_rows: list[int] = field(default_factory=list)
    """Frames remembered for each task; filled by training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.exemplar_share <= 1:
            raise UserError(f"exemplar_share={self.exemplar_share} is not in [0, 1]")


@dataclass
class FilteredModelConfig(FeatureModelConfig):
    """Options of families that say which stage it is, and answer through the stage filter."""

    use_instruction: bool = True
    """Read the instruction, and answer 0 where the video shows another task."""
    knows_colours: bool = False
    """Whether training showed tasks in wrong colours, too, so that these are told apart; filled by training."""
    use_filter: bool = True
    """Put the causal stage filter between what each frame says and the reported progress."""
    evidence_rate: float = 4.5
    """How much the filter trusts a second of evidence; chosen on the validation episodes."""
    filter_share: float = 1.0
    """The filter's share in progress, the rest being each frame's own; chosen on the validation episodes."""
    success_s: float = 0.3
    """Seconds over which what speaks for success is averaged, exponentially, so that one frame persuades nobody."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.success_s < 0:
            raise UserError(f"success_s must not be negative, not {self.success_s}")

    @property
    def settling_s(self) -> float:
        """See `ProgressModelConfig.settling_s`."""
        return self.success_s


class Moment(dict[str, NDArray[np.uint8]]):
    """Frames of one moment by view, and what encoders have said of them, so that several models ask each but once.

    Args:
        frames: RGB uint8 [H, W, 3] by view.
        keys: by an encoder's id what is the same for encoders that say the same.
    """

    def __init__(
        self, frames: Mapping[str, NDArray[np.uint8]], keys: Mapping[int, str] | None = None
    ) -> None:
        super().__init__(frames)
        self._keys = keys or {}
        self._said: dict[tuple[str | int, str], NDArray[np.float16]] = {}

    def encoded(self, encoder: Encoder, view: str) -> NDArray[np.float16]:
        """Features of one view as a feature store keeps them, [1, D]."""
        key = self._keys.get(id(encoder), id(encoder)), view
        if key not in self._said:
            self._said[key] = encoder.encode(self[view][None]).astype(np.float16)
        return self._said[key]


def usable_scale(deviations: NDArray[Any], overall: float) -> NDArray[Any]:
    """Deviations [D] to divide features by: none so small that one that hardly ever changes becomes all there is."""
    return np.asarray(np.maximum(deviations, 1e-3 + 0.05 * overall))


def in_passes(count: int, size: int = 256) -> list[NDArray[np.int64]]:
    """The numbers of `count` frames, in runs of at most `size` that go through a model together."""
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


class FeatureModel(ProgressRewardModel, ABC):
    """A model with an image encoder; a subclass calls `prepare` once its config is filled."""

    def prepare(self) -> None:
        """Make the encoder, and the buffers for what is known of features, states and instructions.

        Raises:
            UserError: there are no tasks.
        """
        config = self.config
        if not config.tasks:
            raise UserError(
                f"{self.name} knows no task yet; train it with 'progress-rm train' or load a trained one"
            )
        self._encoder: Any = make_encoder(
            config.encoder, image_size=config.image_size, dim=config.encoder_dim
        )
        if config.text_key not in ("", config.texts.key):
            raise UserError(
                f"text_encoder={config.text_encoder} is not the one that this {self.name} learned to read; give that "
                "one's place with --model.options=[text_encoder=sentences:PLACE]"
            )
        config.text_key = config.texts.key
        views, dim, state = len(config.views) + 1, int(self._encoder.dim), config.state_size
        self.feature_mean: Tensor
        self.feature_scale: Tensor
        self.state_mean: Tensor
        self.state_scale: Tensor
        self.instructions: Tensor
        self.register_buffer("feature_mean", torch.zeros(views, dim))
        self.register_buffer("feature_scale", torch.ones(views, dim))
        self.register_buffer("state_mean", torch.zeros(state))
        self.register_buffer("state_scale", torch.ones(state))
        self.register_buffer(
            "instructions",
            torch.from_numpy(np.stack([config.texts.embed(t.instruction) for t in config.tasks])),
        )

    def encoder(self) -> Encoder | None:
        """The image encoder; `small_cnn` and `efficientnet` are parts of the model and trained with it."""
        encoder: Encoder = self._encoder
        return encoder

    def blocks(self) -> Sequence[int]:
        """Widths of the parts of a feature vector that mean different things."""
        return getattr(self._encoder, "blocks", None) or [int(self._encoder.dim)]

    @property
    def encoder_is_trained(self) -> bool:
        """Whether the encoder has weights that training must find."""
        return isinstance(self._encoder, nn.Module)

    def learn_statistics(self, data: TrainingData) -> None:
        """Standardisation of state and, for a frozen encoder, of features (per view)."""
        if not self.encoder_is_trained:
            known = self.config.views
            pooled: list[NDArray[np.float32]] = []
            for i, view in enumerate(known):
                found = [e.features[view] for e in data.episodes if view in e.features]
                pooled.append(np.concatenate(found).astype(np.float32))
                self._set_feature_statistics(i, pooled[-1])
            self._set_feature_statistics(len(known), np.concatenate(pooled))
        states = [e.state for e in data.episodes if e.state is not None]
        if self.state_mean.numel() and states:
            rows = np.concatenate(states)
            self.state_mean.copy_(torch.from_numpy(rows.mean(0)))
            self.state_scale.copy_(torch.from_numpy(np.maximum(rows.std(0), 1e-3)))

    def _set_feature_statistics(self, view: int, rows: NDArray[np.float32]) -> None:
        self.feature_mean[view] = torch.from_numpy(rows.mean(0)).to(self.feature_mean)
        scale = usable_scale(rows.std(0), float(rows.std()))
        self.feature_scale[view] = torch.from_numpy(scale).to(self.feature_scale)

    def _encode(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Pixels uint8 [..., H, W, 3] → features [..., D], where `mask` [...] says there are any."""
        if isinstance(self._encoder, nn.Module):
            present = self._encoder(frames[mask])
        else:
            present = torch.from_numpy(self._encoder.encode(frames[mask].cpu().numpy())).to(mask.device)
        features = torch.zeros(*mask.shape, present.shape[-1], dtype=torch.float32, device=mask.device)
        features[mask] = present.float()
        return features

    def see(
        self, frames: Mapping[str, NDArray[np.uint8]], views: Iterable[str]
    ) -> dict[str, NDArray[np.float16]]:
        """Features of one moment, as a feature store keeps them: float16 [1, D] by view, of `views` alone."""
        moment = frames if isinstance(frames, Moment) else Moment(frames)
        return {view: moment.encoded(self._encoder, view) for view in views}

    def words(self, task: int, instruction: str | None) -> Tensor:
        """The vector to ask for a task with, float [E]; see `ProgressModelConfig.embed`."""
        return torch.from_numpy(self.config.embed(task, instruction)).to(self.instructions)

    def instructed(self, tasks: Tensor) -> Tensor:
        """The tasks' instructions [B, E]; while training those of a sentence encoder vary as wordings do."""
        words: Tensor = self.instructions[tasks]
        if not (self.training and self.config.text_noise and self.config.texts.is_semantic):
            return words
        length = self.config.text_noise * torch.rand(len(words), 1, device=words.device)
        scattered = words + length * normalize(torch.randn_like(words), dim=-1)
        return normalize(scattered, dim=-1)

    def _view_id(self, view: str) -> int:
        return self.config.views.index(view) if view in self.config.views else len(self.config.views)

    def _standardise(self, features: Tensor, view_ids: Tensor) -> Tensor:
        return ((features - self.feature_mean[view_ids]) / self.feature_scale[view_ids]).clamp(
            -FARTHEST, FARTHEST
        )

    def _standardise_state(self, state: Tensor) -> Tensor:
        return ((state - self.state_mean) / self.state_scale).clamp(-5, 5)

    def usable_views(self, given: Iterable[str]) -> list[str]:
        """See `ViewModelConfig.usable_views`."""
        usable: list[str] = self.config.usable_views(given)
        return usable
