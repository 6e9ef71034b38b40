"""The benchmark of exchanged colours runs, both sides alike but for the colours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.mark.timeout(600)
def test_both_sides_are_measured_and_the_json_is_the_last_line(
    load: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--quick", "--tasks", "PressButtons", "--seeds", "1", f"--output_dir={tmp_path / 'out'}"]
    results = tmp_path / "exchange_colours.json"
    summary = load("exchange_colours").main([*options, f"--results={results}"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == summary == json.loads(results.read_text())
    sides = summary["tasks"]["PressButtons"]
    assert set(sides) == {"exchanged", "as_recorded"}
    for found in sides.values():
        assert set(found) == {
            "test",
            "policy",
            "shifted",
            *("expert", "hesitant", "clumsy", "failing", "fooling"),
        }
        assert all(0 <= value <= 1 for values in found.values() for value in values)
    configs = [json.loads(p.read_text()) for p in (tmp_path / "out").glob("*/model-0/best/config.json")]
    assert sorted(len(config["tasks"]) > 1 for config in configs) == [False, True]
