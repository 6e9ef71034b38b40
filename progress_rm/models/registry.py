"""Families and trained models by name or place."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from lerobot.configs.rewards import RewardModelConfig
from lerobot.rewards.factory import get_reward_model_class

from progress_datasets.errors import UserError
from progress_rm.models import FAMILIES
from progress_rm.models.base import ProgressModelConfig, ProgressRewardModel


def registered_models() -> list[str]:
    """Names of the reward-model families."""
    return sorted(FAMILIES)


def make_model(config: ProgressModelConfig) -> ProgressRewardModel:
    """A new model with these options."""
    model: ProgressRewardModel = _class(config.type)(config)
    model.to(config.device)
    return model


def load_model(
    path: str | Path, device: str | None = None, options: Sequence[str] = ()
) -> ProgressRewardModel:
    """Load a trained reward model, ready to answer.

    Args:
        path: a folder with a saved model, the output folder of `progress-rm train`, or a Hub repository id.
        device: where to run; by default where it was trained, or what this machine has.
        options: "name=value" of options to answer with instead of those it was trained with.

    Raises:
        UserError: there is no model, or one of a family that is not ours, or it has no such option.
    """
    folder = Path(path)
    if folder.is_dir() and not (folder / "config.json").exists():
        folder = folder / "best"
    is_local = (folder / "config.json").exists()
    if not is_local and (Path(path).exists() or str(path).count("/") != 1):
        raise UserError(
            f"there is no trained reward model in '{path}'; give the output folder of 'progress-rm train'"
        )
    source = str(folder if is_local else path)
    overrides = [f"--device={device}"] if device else []
    try:
        config = RewardModelConfig.from_pretrained(source, cli_overrides=overrides)
    except FileNotFoundError as error:
        raise UserError(f"there is no reward model '{path}', neither here nor on the Hub") from error
    if not isinstance(config, ProgressModelConfig):
        close = ", ".join(get_close_matches(config.type, FAMILIES) or registered_models())
        raise UserError(
            f"'{path}' holds a '{config.type}', which is not a progress reward model of ours ({close})"
        )
    config = _with_options(config, options)
    # LeRobot announces the loading on the standard output, which is for results here.
    with contextlib.redirect_stdout(sys.stderr):
        model: ProgressRewardModel = _class(config.type).from_pretrained(source, config=config, strict=True)
    return model


def _with_options(config: ProgressModelConfig, options: Sequence[str]) -> ProgressModelConfig:
    """The config with some options changed, each "name=value"."""
    import draccus
    import yaml
    from draccus.utils import DecodingError

    encoded = draccus.encode(config)
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or name not in encoded:
            close = get_close_matches(name, encoded, n=1)
            hint = (
                f"did you mean '{close[0]}'?"
                if close
                else f"write name=value with an option of '{config.type}'"
            )
            raise UserError(f"--model.options: there is no '{option}'; {hint}")
        encoded[name] = yaml.safe_load(value)
    try:
        changed: ProgressModelConfig = draccus.decode(type(config), encoded) if options else config
    except DecodingError as error:
        raise UserError(
            f"--model.options: {' '.join(str(error).split())}; see --help for what an option is"
        ) from error
    return changed


def _class(name: str) -> type[ProgressRewardModel]:
    found: type[ProgressRewardModel] = get_reward_model_class(name)
    return found
