"""Stable-Baselines3 is an extra: with it a run ends in weights and a page, without it one line says what to install."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from progress_datasets.errors import UserError
from progress_policies.rl import run


@pytest.mark.parametrize("algorithm", ["sac", "crossq", "tqc"])
def test_without_the_extra(algorithm: str, make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("stable_baselines3", "sb3_contrib"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"progress-rm\[rl\]"):
        run(make_config(algorithm=algorithm))


@pytest.mark.parametrize("algorithm", ["sac", "crossq", "tqc"])
def test_with_the_extra(algorithm: str, make_config: Any, tmp_path: Path) -> None:
    config = make_config(
        algorithm=algorithm, rollouts=1, warm_up=0, episode_seconds=2.0, evaluation_episodes=1
    )
    summary = run(config)
    assert [e["rollouts"] for e in summary["evaluations"]] == [0, 1]
    assert (tmp_path / "run" / "policy.safetensors").exists()
    assert (tmp_path / "run" / "report.html").exists()
