"""Image encoders by name: `classical`, `gradients`, `small_cnn`, `efficientnet`, `transformers:NAME_OR_PATH`."""

from __future__ import annotations

from difflib import get_close_matches

from progress_datasets.errors import UserError
from progress_rm.encoders.base import Encoder

NAMES = ("classical", "gradients", "small_cnn", "efficientnet", "transformers")


def make_encoder(name: str, *, image_size: int = 96, dim: int = 128) -> Encoder:
    """The encoder of that name.

    Args:
        name: classical, gradients, small_cnn, efficientnet, or transformers:NAME_OR_PATH.
        image_size: input size of small_cnn and efficientnet.
        dim: feature length of both.

    Raises:
        UserError: there is no such encoder.
    """
    family, _, checkpoint = name.partition(":")
    if family == "classical":
        from progress_rm.encoders.classical import ClassicalEncoder

        return ClassicalEncoder()
    if family == "gradients":
        from progress_rm.encoders.classical import GradientEncoder

        return GradientEncoder()
    if family == "small_cnn":
        from progress_rm.encoders.small_cnn import SmallCnnEncoder

        return SmallCnnEncoder(image_size, dim)
    if family == "efficientnet":
        from progress_rm.encoders.efficientnet import EfficientNetEncoder

        return EfficientNetEncoder(image_size, dim)
    if family == "transformers":
        from progress_rm.encoders.pretrained import PretrainedEncoder

        return PretrainedEncoder(checkpoint)
    close = get_close_matches(name, NAMES, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(NAMES)}"
    raise UserError(f"there is no encoder '{name}'; {hint}")
