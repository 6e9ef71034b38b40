"""Options of `lerobot`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from lerobot.configs.rewards import RewardModelConfig

from progress_datasets.errors import UserError
from progress_rm.models.asking import AskingConfig

REFUSED = {
    "sarm": "LeRobot's SARM as shipped reads the future: its window reaches four frame gaps beyond the frame that it "
    "answers for; train --model.type=multiview_sarm on the same annotations instead",
}
"""Kinds that cannot be asked causally, and why."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "robometer": {"query_s": 1.0, "window": 4},
    "topreward": {"query_s": 0.5, "window": 16},
    "reward_classifier": {"query_s": 0.001, "window": 1, "success_offset": 0.0},
}
"""By kind, how it is asked: every so many seconds, showing so many frames of the episode up to now."""


@RewardModelConfig.register_subclass("lerobot")
@dataclass
class LerobotConfig(AskingConfig):
    """LeRobot's own robometer, topreward and reward_classifier checkpoints, asked without the future."""

    needs: ClassVar[str] = "a checkpoint of LeRobot's; annotated demonstrations only to calibrate it"
    causal: ClassVar[str] = "yes; LeRobot's sarm reads the future and is refused"

    checkpoint: str = ""
    """Folder or Hub id of the checkpoint."""


def defaults_of(kind: str, source: str) -> dict[str, Any]:
    """How a kind of LeRobot's reward models is asked.

    Raises:
        UserError: it reads the future, or it is not known here.
    """
    if kind in REFUSED:
        raise UserError(f"'{source}' is refused: {REFUSED[kind]}")
    if kind not in DEFAULTS:
        raise UserError(
            f"'{source}' holds a '{kind}', which nobody here can ask; there are {', '.join(sorted(DEFAULTS))}"
        )
    return dict(DEFAULTS[kind])
