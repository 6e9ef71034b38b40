"""The sums of the RA-BC benchmark, and that all sides are told the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def rabc(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("rabc")


@pytest.fixture(scope="module")
def summary(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("rabc_summary")


def test_rates_intervals_and_differences(summary: ModuleType) -> None:
    table = {"bc": [[0, 0, 1, 0], [0, 0, 0, 0]], "rabc_oracle": [[1, 1, 1, 0], [1, 1, 1, 1]]}
    found = summary.summarise(table)
    assert found["sides"]["bc"]["success"] == 0.125
    assert found["sides"]["rabc_oracle"]["by_seed"] == [0.75, 1.0]
    low, high = found["sides"]["bc"]["interval"]
    assert 0 < low < 0.125 < high < 0.6
    above = found["above_bc"]["rabc_oracle"]
    assert above["difference"] == 0.75
    assert 0 < above["interval"][0] <= 0.75 <= above["interval"][1] <= 1
    assert found["above_rabc_oracle"]["bc"]["difference"] == -0.75


def test_every_side_has_a_bar(
    rabc: ModuleType, summary: ModuleType, load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    figure = load("rabc_figure")
    assert set(figure.LABELS) == set(rabc.SIDES)
    found = summary.summarise({"bc": [[0, 0, 1, 0]], "rabc": [[1, 1, 1, 1]]})
    figure.draw(tmp_path / "rabc.png", {"PickPlace": found, "StackCubes": found})
    assert (tmp_path / "rabc.png").stat().st_size > 5000


def test_the_same_side_is_not_above_itself(summary: ModuleType) -> None:
    flips = [[1, 0, 1, 0, 0], [0, 1, 1, 0, 1]]
    [only] = summary.compare({"bc": flips, "twin": flips}, "bc").values()
    assert only == {"difference": 0.0, "interval": [0.0, 0.0]}


def test_sides_differ_in_weights_and_episodes_alone(
    rabc: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = rabc.Task("StoreInDrawer", tmp_path, rabc.QUICK)
    monkeypatch.setattr(rabc.Task, "states", lambda self: tmp_path)
    monkeypatch.setattr(rabc.Task, "scores", lambda self, side: tmp_path / side)

    def rest(side: str) -> list[str]:
        own = ("--weigh_by", "--weights.", "--scores", "--episodes")
        return [word for word in task.options(side, "act", 0) if not word.startswith(own)]

    assert all(rest(side) == rest("bc") for side in rabc.SIDES)
    rules = {
        side: [word for word in task.options(side, "act", 0) if word.startswith("--weights.")]
        for side in rabc.SIDES
        if side.startswith("rabc")
    }
    own = {side for side, rule in rules.items() if rule == rabc.SARMS_RULE}
    assert own == {"rabc_lerobot_sarm_own", "rabc_own"}
    assert all(rule == rabc.RULE for side, rule in rules.items() if side not in own)
    assert f"--scores={tmp_path / 'rabc_lerobot_sarm'}" in task.options("rabc_lerobot_sarm_own", "act", 0)
