"""What a result says of its command."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

Load = Callable[[str], ModuleType]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("--quick --output_dir=out --seeds 0 1", "--quick --seeds 0 1"),
        ("--output_dir out --models clock rewind --results there", "--models clock rewind"),
        ("--policy=a/b --fps=10", "--fps=10"),
        ("--policy a/b --fork", "--fork"),
        ("--policy act --rows", "--policy act"),
    ],
)
def test_where_things_lie_is_left_out(load: Load, given: str, kept: str) -> None:
    assert load("provenance").without_places(given.split()) == kept.split()


def test_the_command_can_be_repeated(load: Load) -> None:
    assert (
        load("provenance").provenance("anywhere/views.py", ["--quick"])["command"]
        == "python benchmarks/views.py --quick"
    )
