"""Families and trained models by name or place."""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from draccus import ParsingError
from lerobot.configs.rewards import RewardModelConfig
from lerobot.rewards.factory import get_reward_model_class

from progress_datasets.errors import UserError
from progress_rm.models import FAMILIES
from progress_rm.models.adapters import adapter_of_checkpoint, adapter_of_url
from progress_rm.models.base import ProgressModelConfig, ProgressRewardModel


@dataclass(frozen=True)
class Family:
    """A family of reward models.

    Attributes:
        name: as in `--model.type=NAME`.
        purpose: what it is for, in a line.
        needs: what a user must have for it.
        causal: whether its answers depend on what was seen so far only: "yes", or on what that depends.
    """

    name: str
    purpose: str
    needs: str
    causal: str


def registered_models() -> list[Family]:
    """The reward-model families, by name."""
    return [
        Family(name, (inspect.getdoc(kind) or "").split("\n\n")[0].rstrip("."), kind.needs, kind.causal)
        for name, kind in sorted(FAMILIES.items())
    ]


def families_table() -> str:
    """The families as the Markdown table that the docs show."""
    rows = [f"| `{f.name}` | {f.purpose} | {f.needs} | {f.causal} |" for f in registered_models()]
    return "\n".join(
        ["| `--model.type` | what it is | what it needs | causal |", "| --- | --- | --- | --- |", *rows]
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say about a name that is not known: the nearest one that is, else all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"there are {', '.join(names)}"


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
        path: a folder with a saved model, the output folder of `progress-rm train`, or a Hub repository id, of ours or
            of LeRobot's; or the address of an OpenAI-compatible endpoint, http://…/v1.
        device: where to run; by default where it was trained, or what this machine has.
        options: "name=value" of options to answer with instead of those it was trained with.

    Raises:
        UserError: there is no model, or one of a family that nobody knows, or it has no such option.
    """
    if "://" in str(path):
        return _with(adapter_of_url(str(path)), device, options)
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
    if is_local:
        _check_type(folder)
    try:
        config = RewardModelConfig.from_pretrained(source, cli_overrides=overrides)
    except FileNotFoundError as error:
        raise UserError(f"there is no reward model '{path}', neither here nor on the Hub") from error
    except ParsingError as error:
        raise UserError(
            f"the config.json of '{path}' cannot be read: {' '.join(str(error).split())}"
        ) from error
    if not isinstance(config, ProgressModelConfig):
        return _with(adapter_of_checkpoint(config.type, source), device, options)
    config = _with_options(config, options)
    # LeRobot announces the loading on the standard output, which is for results here.
    with contextlib.redirect_stdout(sys.stderr):
        model: ProgressRewardModel = _class(config.type).from_pretrained(source, config=config, strict=True)
    return model


def _with(config: ProgressModelConfig, device: str | None, options: Sequence[str]) -> ProgressRewardModel:
    """A model that answers through something else, with no weights of its own."""
    if device:
        config.device = device
    model = make_model(_with_options(config, options))
    model.eval()
    return model


def _check_type(folder: Path) -> None:
    """Refuse a folder whose config names a type of reward model that nobody knows."""
    try:
        name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("type")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{folder}/config.json cannot be read; is the checkpoint whole?") from error
    known = RewardModelConfig.get_known_choices()
    if name not in known:
        raise UserError(f"{folder} holds a '{name}', which is no reward model; {nearest(str(name), known)}")


def _with_options(config: ProgressModelConfig, options: Sequence[str]) -> ProgressModelConfig:
    """The config with some options changed, each "name=value"."""
    import draccus
    import yaml

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
    except ParsingError as error:
        raise UserError(
            f"--model.options: {' '.join(str(error).split())}; see --help for what an option is"
        ) from error
    return changed


def _class(name: str) -> type[ProgressRewardModel]:
    found: type[ProgressRewardModel] = get_reward_model_class(name)
    return found
