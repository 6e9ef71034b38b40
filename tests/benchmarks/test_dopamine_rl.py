"""The benchmark of online learning adds up what its runs say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest


def a_run(*success: float) -> dict[str, Any]:
    evaluations = [{"rollouts": 25 * i, "success": value} for i, value in enumerate(success)]
    return {"success": success[-1], "evaluations": evaluations, "shares": {"physics": 0.1, "gradient": 0.9}}


def test_the_interquartile_mean_is_that_of_the_middle_half(load: Callable[[str], ModuleType]) -> None:
    benchmark = load("dopamine_rl")
    assert benchmark.interquartile_mean(np.array([0.0, 0.4, 0.6, 9.0])) == pytest.approx(0.5)
    assert benchmark.interquartile_mean(np.array([0.3])) == 0.3
    # Of five, the middle three count, the outer two of them by three quarters.
    wanted = (0.75 * 1 + 2 + 0.75 * 3) / 2.5
    assert benchmark.interquartile_mean(np.array([2.0, 1, 3, 100, -100])) == pytest.approx(wanted)


def test_runs_become_the_numbers_asked_for(load: Callable[[str], ModuleType]) -> None:
    runs = {"shaped": [a_run(0.0, 0.7, 1.0), a_run(0.0, 0.94, 0.9)], "sparse": [a_run(0.02, 0.1, 0.2)] * 2}
    found = load("dopamine_rl").summarise(runs, 50)
    assert found["success_at_0"] == pytest.approx(0.01)
    assert found["success_at_50"] == pytest.approx({"shaped": 0.95, "sparse": 0.2})
    assert found["rollouts_to_80"] == {"shaped": 25, "sparse": None}
    assert found["intervals"]["sparse"] == pytest.approx((0.2, 0.2))
    assert found["intervals"]["shaped"] == pytest.approx((0.9, 1.0))
    assert found["shares_of_time"]["shaped"] == {"physics": 0.1, "gradient": 0.9}
    assert found["curves"]["shaped"][1] == pytest.approx((25, 0.82, 0.7, 0.94))


def test_a_picture_has_a_panel_for_each_task(load: Callable[[str], ModuleType], tmp_path: Path) -> None:
    runs = {"shaped": [a_run(0.0, 0.7, 1.0)] * 2, "sparse": [a_run(0.02, 0.1, 0.2)] * 2}
    found = load("dopamine_rl").summarise(runs, 50)
    load("dopamine_rl_figure").draw(tmp_path / "one.png", {"PickPlace": found})
    load("dopamine_rl_figure").draw(tmp_path / "two.png", {"PickPlace": found, "InsertPeg": found})
    one, two = (cv2.imread(str(tmp_path / name)) for name in ("one.png", "two.png"))
    assert one.shape[0] == two.shape[0]
    assert one.shape[1] < two.shape[1]


def test_parts_that_are_done_are_not_done_again(
    load: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    benchmark, called = load("dopamine_rl"), []

    def call(verb: str, arguments: list[str]) -> None:
        out = Path(next(word for word in arguments if word.startswith("--output_dir=")).partition("=")[2])
        out.mkdir(parents=True)
        (out / "training.json").write_text(json.dumps(a_run(0.0, 0.5)))
        called.append((verb, arguments))

    monkeypatch.setattr(benchmark, "call", call)
    ask = lambda: benchmark.measure(  # noqa: E731
        tmp_path, "PickPlace", 1, ["shaped", "sparse"], 2, 25, "state", benchmark.QUICK
    )
    first = ask()
    verbs = [verb for verb, _ in called]
    assert verbs == ["collect"] * 6 + ["train"] + ["rl"] * 4
    assert not any("PickPlace" in word for _, words in called[1:6] for word in words)
    assert ask() == first
    assert len(called) == 11
