"""Trained models made one that answers together, for `progress-rm train`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from progress_datasets.errors import UserError
from progress_rm.cache import cache_folder

if TYPE_CHECKING:
    from progress_rm.models.base import ProgressRewardModel
    from progress_rm.train import Config, Source


def join(
    config: Config, output: Path, members: Sequence[ProgressRewardModel], validation: Sequence[Source]
) -> float | None:
    """Save `members` as one model, calibrated on the validation episodes; its error there, None without any."""
    from accelerate import PartialState

    from progress_rm.checkpoints import save_model
    from progress_rm.data import FeatureCache
    from progress_rm.models.ensemble.modeling_ensemble import EnsembleRewardModel
    from progress_rm.trainer import load_sources, validation_error

    model, error = EnsembleRewardModel.of(members), None
    if PartialState().is_main_process:
        if validation:
            features = FeatureCache(cache_folder(config.cache_dir), model.encoder())
            held_out = load_sources(validation, features, model.config)
            model.calibrate(held_out)
            error = validation_error(model, held_out)
        save_model(model, output / "best")
    return error


def load_members(config: Config) -> list[ProgressRewardModel]:
    """The trained models that `--members` names; none where it names none.

    Raises:
        UserError: there is but one, one knows other tasks than the first, or one has learned from episodes that are to
            calibrate the whole.
    """
    if not config.members:
        return []
    if len(config.members) == 1:
        raise UserError("--members: give two trained models or more")
    from progress_rm.models.registry import load_model

    members = [load_model(path, config.model.device) for path in config.members]
    first = [(task.instruction, tuple(task.stages)) for task in members[0].config.tasks]
    for path, member in zip(config.members, members, strict=True):
        if [(task.instruction, tuple(task.stages)) for task in member.config.tasks] != first:
            raise UserError(
                f"--members: {path} knows other tasks than {config.members[0]}; train both on the same datasets"
            )
        _check_split(config, Path(path))
    return members


def _check_split(config: Config, path: Path) -> None:
    """Which episodes a training kept for validation follows from these options."""
    kept = next((p for p in (path / "options.json", path.parent / "options.json") if p.exists()), None)
    if kept is None:
        return
    theirs: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    for name in ("validation", "seed"):
        if theirs[name] != getattr(config, name):
            raise UserError(
                f"--members: {path} was trained with --{name}={theirs[name]}, so it may have learned from the episodes "
                f"that --{name}={getattr(config, name)} keeps for validation; train all with the same"
            )
