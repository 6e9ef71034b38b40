"""The timing benchmark: what it makes of an attempt; the attempt itself takes models and minutes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Load = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def bench(load: Load) -> ModuleType:
    return load("robot_loop")


def test_the_last_line_is_the_result_and_names_no_folder(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def measure(folder: Path, scratch: Path, seconds: float) -> dict[str, float]:
        asked["seconds"] = seconds
        return {"period_error_p99_ms": 1.0, "latency_p99_ms": 40.0}

    monkeypatch.setattr(bench, "prepare", lambda folder, quick: None)
    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["robot_loop.py"])
    bench.main([f"--models={tmp_path}", "--seconds=7"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert asked == {"seconds": 7.0}
    assert (found["period_error_p99_ms"], found["latency_p99_ms"]) == (1.0, 40.0)
    assert found["command"] == "python benchmarks/robot_loop.py --seconds=7"
    assert {"commit", "machine", "load_average"} <= set(found)
