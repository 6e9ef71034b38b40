"""The five label schemes, by hand-worked cases and by property."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment
from progress_rm.labels import (
    SCHEMES,
    active_frames,
    as_progress,
    duration_priors,
    equal_priors,
    label_episode,
    progress_labels,
    stage_priors,
    visual_change_priors,
)

STAGES = ("reach", "grasp", "place")
DONE, FAILED, PARTIAL = Outcome.SUCCESS, Outcome.FAILURE, Outcome.PARTIAL


def segments(*parts: tuple[str, int, Outcome]) -> list[StageSegment]:
    result, start = [], 0
    for name, length, outcome in parts:
        result.append(StageSegment(name, start, start + length, outcome))
        start += length
    return result


def test_duration_priors_are_mean_fractions() -> None:
    first = segments(("reach", 2, DONE), ("grasp", 2, DONE), ("place", 4, DONE))
    second = segments(("reach", 8, DONE), ("grasp", 4, DONE), ("place", 4, DONE))
    np.testing.assert_allclose(duration_priors([first, second], [8, 16], STAGES), [0.375, 0.25, 0.375])


def test_duration_priors_ignore_retries_and_pauses() -> None:
    clumsy = segments(
        ("reach", 4, DONE), ("grasp", 9, FAILED), ("reach", 4, DONE), ("grasp", 2, DONE), ("place", 2, DONE)
    )
    np.testing.assert_allclose(duration_priors([clumsy], [21], STAGES), [0.5, 0.25, 0.25])
    clean = segments(("reach", 2, DONE), ("grasp", 2, DONE), ("place", 4, DONE))
    np.testing.assert_allclose(duration_priors([clumsy, clean], [21, 8], STAGES), [0.25, 0.25, 0.5])
    active = np.array([1, 1, 1, 1, 1, 1, 0, 0], dtype=float)
    np.testing.assert_allclose(duration_priors([clean], [8], STAGES, [active]), [1 / 3, 1 / 3, 1 / 3])


def test_a_stage_nobody_completes_has_no_prior() -> None:
    with pytest.raises(UserError, match="'place'"):
        duration_priors(
            [segments(("reach", 4, DONE), ("grasp", 4, DONE), ("place", 2, PARTIAL))], [10], STAGES
        )


def test_equal_and_visual_change_priors() -> None:
    long_reach = segments(("reach", 8, DONE), ("grasp", 1, DONE), ("place", 3, DONE))
    np.testing.assert_allclose(equal_priors(STAGES), 1 / 3)
    weights = np.array([1.25, 0.75, 0.75])
    np.testing.assert_allclose(visual_change_priors([long_reach], [12], STAGES), weights / weights.sum())


def test_linear_inside_a_stage_and_one_at_the_end() -> None:
    episode = segments(("reach", 2, DONE), ("grasp", 4, DONE), ("place", 2, DONE))
    labels = label_episode(episode, 8, STAGES, np.array([0.5, 0.25, 0.25]))
    np.testing.assert_allclose(labels.progress, [0, 0.25, 0.5, 0.5625, 0.625, 0.6875, 0.75, 1.0])
    np.testing.assert_array_equal(labels.stage, [0, 0, 1, 1, 1, 1, 2, 2])
    assert labels.done.tolist() == [False] * 7 + [True]


def test_a_failed_stage_adds_nothing_and_going_back_takes_away() -> None:
    episode = segments(("reach", 2, DONE), ("grasp", 2, DONE), ("place", 2, FAILED), ("reach", 2, DONE))
    labels = label_episode(episode, 8, STAGES, equal_priors(STAGES))
    np.testing.assert_allclose(labels.progress[4:6], 2 / 3, atol=1e-6)
    assert np.isnan(labels.within[4:6]).all()
    np.testing.assert_allclose(labels.progress[6:], [0, 1 / 6], atol=1e-6)
    assert not labels.done.any()


def test_an_unfinished_stage_adds_nothing() -> None:
    labels = label_episode(
        segments(("reach", 4, DONE), ("grasp", 4, PARTIAL)), 8, STAGES, equal_priors(STAGES)
    )
    np.testing.assert_allclose(labels.progress[4:], 1 / 3, atol=1e-6)


def test_gaps_keep_what_was_reached() -> None:
    episode = [StageSegment("reach", 2, 4), StageSegment("grasp", 6, 8)]
    labels = label_episode(episode, 10, ("reach", "grasp"), np.array([0.5, 0.5]))
    np.testing.assert_allclose(labels.progress, [0, 0, 0, 0.25, 0.5, 0.5, 0.5, 1, 1, 1])
    assert (labels.stage[[0, 1, 4, 5]] == -1).all()
    assert (labels.stage[8:] == 1).all()
    assert (labels.within[8:] == 1).all()


def test_idling_is_flat() -> None:
    active = np.array([1, 1, 0, 0, 0, 1, 1, 1], dtype=float)
    labels = label_episode(segments(("reach", 8, DONE)), 8, ("reach",), np.ones(1), active=active)
    np.testing.assert_allclose(labels.progress, [0, 0.2, 0.4, 0.4, 0.4, 0.4, 0.6, 1.0], atol=1e-6)


def test_visual_change_spreads_by_change() -> None:
    change = np.array([3.0, 1.0, 0.0, 0.0])
    labels = label_episode(
        segments(("reach", 4, DONE)), 4, ("reach",), np.ones(1), scheme="visual_change", change=change
    )
    np.testing.assert_allclose(labels.progress, [0, 0.75, 1, 1])
    with pytest.raises(UserError, match="visual_change"):
        label_episode(segments(("reach", 4, DONE)), 4, ("reach",), np.ones(1), scheme="visual_change")


def test_remaining_time_and_clock() -> None:
    episode = segments(("reach", 5, DONE))
    np.testing.assert_allclose(
        progress_labels("clock", episode, 5, ("reach",), np.ones(1)), [0, 0.25, 0.5, 0.75, 1]
    )
    # −(T − t)/T, and 0 at the frame that completes the task.
    np.testing.assert_allclose(
        progress_labels("remaining_time", episode, 5, ("reach",), np.ones(1)), [-1, -0.8, -0.6, -0.4, 0]
    )


def remaining(parts: list[StageSegment], length: int, active: np.ndarray | None = None) -> np.ndarray:
    labels = label_episode(
        parts, length, STAGES, np.array([0.25, 0.25, 0.5]), scheme="remaining_time", active=active
    )
    return as_progress(labels, "remaining_time").progress


def test_remaining_time_is_the_episodes_own_and_leaves_pauses_out() -> None:
    clean = segments(("reach", 2, DONE), ("grasp", 6, DONE), ("place", 2, DONE))
    np.testing.assert_allclose(remaining(clean, 10), [*np.arange(9) / 10, 1], atol=1e-6)
    active = np.ones(10)
    active[3:8] = 0
    np.testing.assert_allclose(
        remaining(clean, 10, active), [0, 0.2, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 1], atol=1e-6
    )


def test_remaining_time_of_what_is_not_finished_undone_or_done_again() -> None:
    # The place stage is worth as much as reach and grasp together, and is never completed.
    unfinished = segments(("reach", 3, DONE), ("grasp", 1, DONE), ("place", 4, PARTIAL))
    np.testing.assert_allclose(remaining(unfinished, 8), np.array([0, 1, 2, 3, 4, 4, 4, 4]) / 8, atol=1e-6)
    undone = segments(
        ("reach", 4, DONE), ("grasp", 1, FAILED), ("reach", 2, DONE), ("grasp", 1, DONE), ("place", 1, DONE)
    )
    # The first reach took four frames, the one that stands two: they share its half of the work.
    np.testing.assert_allclose(remaining(undone, 9), np.array([0, 0.5, 1, 1.5, 2, 0, 1, 2, 4]) / 4, atol=1e-6)
    np.testing.assert_allclose(remaining(segments(("reach", 3, FAILED)), 3), 0, atol=1e-6)


def test_unknown_scheme_and_stage() -> None:
    with pytest.raises(UserError, match="did you mean 'duration_prior'"):
        label_episode([], 4, STAGES, equal_priors(STAGES), scheme="duration_priors")
    with pytest.raises(UserError, match="'fold'"):
        label_episode(segments(("fold", 4, DONE)), 4, STAGES, equal_priors(STAGES))


def test_active_frames_from_state() -> None:
    still = np.zeros(20, np.float32)
    state = np.concatenate([still, np.linspace(0, 1, 20, dtype=np.float32), still + 1])[:, None]
    active = active_frames(state, None, fps=10)
    assert active[:17].sum() == 0
    assert active[22:38].all()
    assert active[44:].sum() == 0


@st.composite
def episodes(draw: st.DrawFn) -> tuple[list[StageSegment], int]:
    parts = draw(
        st.lists(
            st.tuples(st.sampled_from(STAGES), st.integers(1, 9), st.sampled_from(list(Outcome))),
            min_size=1,
            max_size=7,
        )
    )
    episode = segments(*parts)
    return episode, episode[-1].end + draw(st.integers(0, 4))


@given(episodes(), st.sampled_from(sorted(SCHEMES)))
def test_labels_stay_in_range(episode: tuple[list[StageSegment], int], scheme: str) -> None:
    parts, length = episode
    priors = np.array([0.2, 0.3, 0.5])
    labels = label_episode(parts, length, STAGES, priors, scheme=scheme, change=np.ones(length))
    low, high = (-1, 0) if scheme == "remaining_time" else (0, 1)
    assert labels.progress.shape == (length,)
    assert (labels.progress >= low).all()
    assert (labels.progress <= high).all()
    known = ~np.isnan(labels.within)
    assert ((labels.within[known] >= 0) & (labels.within[known] <= 1)).all()
    progress = as_progress(labels, scheme).progress
    assert ((progress >= 0) & (progress <= 1)).all()
    if scheme not in ("clock",):
        assert (progress[-1] == 1) == labels.done[-1]


@given(
    st.lists(st.integers(1, 30), min_size=3, max_size=3),
    st.sampled_from(["duration_prior", "equal_budget", "visual_change"]),
)
def test_a_clean_demonstration_rises_to_one(lengths: list[int], scheme: str) -> None:
    episode = segments(*zip(STAGES, lengths, [DONE] * 3, strict=True))
    total = sum(lengths)
    priors = stage_priors(scheme, [episode], [total], STAGES)
    labels = label_episode(episode, total, STAGES, priors, scheme=scheme, change=np.ones(total))
    assert (np.diff(labels.progress) >= 0).all()
    assert labels.progress[-1] == 1
    assert priors.sum() == pytest.approx(1)
