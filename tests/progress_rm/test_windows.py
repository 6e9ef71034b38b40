"""The window sampler: causal, in seconds, the same for arrays and for growing buffers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_datasets.errors import UserError
from progress_rm.windows import WindowSampler

WINDOW = WindowSampler(size=4, spacing_s=0.5)


def test_first_frame_then_recent_ones() -> None:
    indices, mask = WINDOW.indices(np.arange(100) / 10, np.array([30]))
    assert indices.tolist() == [[0, 15, 20, 25, 30]]
    assert mask.all()


def test_padding_at_the_start_is_masked() -> None:
    indices, mask = WINDOW.indices(np.arange(100) / 10, np.array([7]))
    assert mask.tolist() == [[True, False, False, True, True]]
    assert indices[0, 3:].tolist() == [2, 7]


def test_seconds_mean_the_same_at_any_rate() -> None:
    slow, _ = WINDOW.indices(np.arange(100) / 10, np.array([40]))
    fast, _ = WINDOW.indices(np.arange(500) / 50, np.array([200]))
    np.testing.assert_array_equal(slow * 5, fast)


def test_rewind_runs_backwards_over_real_frames() -> None:
    indices, mask = WINDOW.indices(np.arange(100) / 10, np.array([30, 30]), np.array([0, 2]))
    assert indices.tolist() == [[0, 15, 20, 25, 30], [0, 25, 30, 25, 20]]
    assert mask.all()


def test_growing_distances_look_far_back_with_few_frames() -> None:
    window = WindowSampler(size=4, spacing_s=0.5, growth=2.0)
    assert window.ages_s.tolist() == [3.5, 1.5, 0.5, 0.0]
    assert window.span_s == 3.5
    forwards, backwards = window.indices(np.arange(100) / 10, np.array([40, 40]), np.array([0, 2]))[0]
    assert forwards.tolist() == [0, 5, 25, 35, 40]
    # It runs backwards for 1.5 s, so what is 3.5 s old was 2 s before the turn.
    assert backwards.tolist() == [0, 20, 40, 30, 25]


def test_a_window_needs_a_size_and_a_spacing() -> None:
    with pytest.raises(UserError, match="window=0"):
        WindowSampler(0, 0.5)
    with pytest.raises(UserError, match="spacing_s=0"):
        WindowSampler(4, 0)
    with pytest.raises(UserError, match="spacing_growth"):
        WindowSampler(4, 0.5, 0.9)


@given(
    st.sampled_from([5, 10, 15, 24, 29.97, 30, 50, 60]),
    st.integers(1, 300),
    st.integers(1, 8),
    st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.0, 1.7]),
    st.sampled_from([1.0, 1.5, 1.8]),
)
def test_causal_and_equal_to_a_live_buffer(
    fps: float, length: int, size: int, spacing: float, growth: float
) -> None:
    window = WindowSampler(size, spacing, growth)
    timestamps = np.arange(length) / fps
    queries = np.arange(length)
    indices, mask = window.indices(timestamps, queries)
    assert (indices <= queries[:, None]).all()
    assert (indices[:, -1] == queries).all()
    assert mask[:, [0, -1]].all()
    t = length - 1
    if t > 0:
        live, live_mask = window.indices(timestamps[: t + 1], np.array([t]))
        np.testing.assert_array_equal(live[0], indices[t])
        np.testing.assert_array_equal(live_mask[0], mask[t])
