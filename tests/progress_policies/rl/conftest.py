"""Runs that take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from progress_policies.rl import Config
from progress_policies.rl.rlpd import LearnerOptions


@pytest.fixture
def make_config(tmp_path: Path) -> Any:
    """make_config(**changes): a run of four short rollouts of OpenDrawer."""

    def make(**changes: Any) -> Config:
        options: dict[str, Any] = {
            "env": "OpenDrawer",
            "output_dir": str(tmp_path / "run"),
            "rollouts": 4,
            "warm_up": 1,
            "episode_seconds": 6.0,
            "evaluate_every": 2,
            "evaluation_episodes": 2,
            "checkpoint_every": 2,
            "videos": 0,
            "learner": LearnerOptions(hidden=16, batch_size=16, updates=1, actor_updates=1, critics=2),
        }
        return Config(**{**options, **changes})

    return make
