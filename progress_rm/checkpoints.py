"""Checkpoints: written whole or not at all, resumed by repeating the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import draccus

from progress_datasets.errors import UserError

if TYPE_CHECKING:
    import torch

    from progress_rm.models.base import ProgressRewardModel


def claim_output(config: object, output: Path) -> Path:
    """Make `output` ours: new, or a training with the same options that was interrupted.

    Raises:
        UserError: it holds a finished training, one with other options, or something else.
    """
    wanted = json.dumps(draccus.encode(config), indent=2, sort_keys=True)
    options = output / "options.json"
    if (output / "training.json").exists():
        raise UserError(
            f"--output_dir={output} holds a finished training; choose another folder or delete it"
        )
    if options.exists():
        if options.read_text() != wanted:
            raise UserError(
                f"--output_dir={output} holds a training with other options; choose another folder or delete it"
            )
    elif output.exists() and any(output.iterdir()):
        raise UserError(f"--output_dir={output} exists and holds no training; choose another folder")
    output.mkdir(parents=True, exist_ok=True)
    options.write_text(wanted)
    return output


def write_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Replace `folder` by what `fill` writes, so that a kill leaves the old or the new one."""
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    fill(part)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def whole_folder(folder: Path) -> Path | None:
    """The folder that `write_folder` left, if any."""
    old = folder.with_name(folder.name + ".old")
    return folder if folder.exists() else old if old.exists() else None


def save_model(model: ProgressRewardModel, folder: Path) -> None:
    """Save weights, config and LeRobot's processors."""
    from lerobot.rewards.factory import make_reward_pre_post_processors

    def fill(part: Path) -> None:
        model.save_pretrained(part)
        for processor in make_reward_pre_post_processors(model.config):
            processor.save_pretrained(part)

    write_folder(folder, fill)


def save_training(
    folder: Path, model: ProgressRewardModel, optimizer: torch.optim.Optimizer, progress: dict[str, Any]
) -> None:
    """Save what is needed to go on: weights, optimiser (safetensors) and counters."""
    from lerobot.optim.optimizers import save_optimizer_state
    from safetensors.torch import save_model as save_weights

    def fill(part: Path) -> None:
        save_weights(model, str(part / "model.safetensors"))
        save_optimizer_state(optimizer, part)
        (part / "progress.json").write_text(json.dumps(progress))

    write_folder(folder, fill)


def load_training(
    folder: Path, model: ProgressRewardModel, optimizer: torch.optim.Optimizer | None
) -> dict[str, Any] | None:
    """Load what `save_training` saved; None if there is nothing."""
    from lerobot.optim.optimizers import load_optimizer_state
    from safetensors.torch import load_model as load_weights

    whole = whole_folder(folder)
    if whole is None:
        return None
    load_weights(model, whole / "model.safetensors")
    if optimizer is not None:
        load_optimizer_state(optimizer, whole)
    progress: dict[str, Any] = json.loads((whole / "progress.json").read_text())
    return progress
