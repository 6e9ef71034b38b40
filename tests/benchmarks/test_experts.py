"""The benchmark of demonstrators counts what it should."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(("quality", "successes"), [("expert", 3), ("fooling", 0)])
def test_successes_are_counted(quality: str, successes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    sys.modules.pop("experts", None)
    import experts

    played = experts.play("OpenDrawer", "train", quality, 3)
    assert played.successes == successes
    assert 1 < played.seconds < 20
