"""The benchmark of demonstrators counts what it should."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.mark.parametrize(("quality", "successes"), [("expert", 3), ("fooling", 0)])
def test_successes_are_counted(quality: str, successes: int, load: Callable[[str], ModuleType]) -> None:
    played = load("experts").play("OpenDrawer", "train", quality, 3)
    assert played.successes == successes
    assert 1 < played.seconds < 20
