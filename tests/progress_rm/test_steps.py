"""Steps are found where what is seen changes for good, at the onset of the change, and alike in all demonstrations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_rm.steps import discover_steps

FPS = 10.0
Demo = tuple[dict[str, NDArray[np.float32]], list[int]]


def demonstration(rests: list[int], moves: list[int], seed: int, rate: int = 1) -> Demo:
    """Rests at places of its task's own, with smooth moves between them; the ticks at which the moves begin."""
    places = np.random.default_rng(7).normal(size=(len(rests), 6))
    rows, onsets = [], []
    for k, rest in enumerate(rests):
        rows.append(np.repeat(places[k : k + 1], rest * rate, 0))
        if k < len(moves):
            onsets.append(sum(map(len, rows)))
            share = (1 - np.cos(np.linspace(0, np.pi, moves[k] * rate)))[:, None] / 2
            rows.append(places[k] + share * (places[k + 1] - places[k]))
    found = np.concatenate(rows)
    noise = 0.01 * np.random.default_rng(seed).normal(size=found.shape)
    return {"front": (found + noise).astype(np.float32)}, onsets


def demonstrations(count: int, steps: int, rate: int = 1) -> list[Demo]:
    rng = np.random.default_rng(steps)
    return [
        demonstration(
            rng.integers(12, 25, steps).tolist(), rng.integers(6, 10, steps - 1).tolist(), seed, rate
        )
        for seed in range(count)
    ]


@pytest.mark.parametrize("steps", [3, 5])
def test_a_step_begins_with_the_motion_into_it(steps: int) -> None:
    demos = demonstrations(4, steps)
    found = discover_steps([views for views, _ in demos], [None] * 4, FPS)
    for segments, (_, onsets) in zip(found, demos, strict=True):
        begins = [s.start for s in segments[1:]]
        assert len(begins) == len(onsets)
        assert np.abs(np.subtract(begins, onsets)).max() <= 4


def test_the_frame_rate_does_not_matter() -> None:
    slow, fast = demonstrations(3, 4), demonstrations(3, 4, rate=3)
    a = discover_steps([views for views, _ in slow], [None] * 3, FPS)
    b = discover_steps([views for views, _ in fast], [None] * 3, 3 * FPS)
    for mine, theirs in zip(a, b, strict=True):
        assert np.abs(np.subtract([3 * s.start for s in mine], [s.start for s in theirs])).max() <= 6


def test_what_only_the_state_shows_is_found_too() -> None:
    demos = demonstrations(3, 4)
    blind = [{"front": np.zeros_like(views["front"])} for views, _ in demos]
    found = discover_steps(blind, [views["front"] for views, _ in demos], FPS)
    assert [len(segments) for segments in found] == [4] * 3


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(20, 60), st.integers(0, 4), st.integers(0, 99))
def test_steps_cover_every_demonstration(count: int, length: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = [{"a": rng.normal(size=(length + 3 * i, 5)).cumsum(0)} for i in range(count)]
    found = discover_steps(features, [None] * count, FPS, steps)
    for i, segments in enumerate(found):
        assert segments[0].start == 0
        assert segments[-1].end == length + 3 * i
        assert all(a.end == b.start for a, b in pairwise(segments))
        assert all(s.end > s.start for s in segments)
        assert [s.name for s in segments] == [f"step {k + 1}" for k in range(len(segments))]
        assert steps in (0, len(segments))
    assert len({len(segments) for segments in found}) == 1


def test_too_many_steps_or_nothing_in_common_is_refused() -> None:
    short = {"a": np.zeros((8, 3))}
    with pytest.raises(UserError, match="too short for 5 steps"):
        discover_steps([short], [None], FPS, steps=5)
    with pytest.raises(UserError, match="no view in common"):
        discover_steps([short, {"b": np.zeros((8, 3))}], [None, None], FPS)
