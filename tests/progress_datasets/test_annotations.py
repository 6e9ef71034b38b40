"""Stages go through every form and come back, frame by frame."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from progress_datasets import layout
from progress_datasets.annotation_forms import keyframes
from progress_datasets.annotations import (
    FORMS,
    order_by_happening,
    present_form,
    read_segments,
    write_segments,
)
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment
from progress_datasets.synthetic import LENGTHS, SEGMENTS, TASKS

Copy = Callable[[EpisodeDataset], EpisodeDataset]


def without_outcomes(segments: list[StageSegment]) -> list[StageSegment]:
    return [replace(segment, outcome=Outcome.SUCCESS) for segment in segments]


@st.composite
def stages(draw: st.DrawFn, length: int) -> list[StageSegment]:
    """Any valid annotation: gaps or none, repeats, all outcomes."""
    cuts = sorted(draw(st.sets(st.integers(0, length), min_size=2, max_size=8)))
    spans = [span for span in pairwise(cuts) if draw(st.booleans())] or [(cuts[0], cuts[1])]
    names = st.sampled_from(["reach", "grasp it", "plaçe"])
    return [StageSegment(draw(names), a, b, draw(st.sampled_from(Outcome))) for a, b in spans]


annotations = st.fixed_dictionaries({0: stages(LENGTHS[0]), 2: stages(LENGTHS[2])})
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("form", FORMS)
@few
@given(segments=annotations)
def test_round_trip(
    form: str, segments: dict[int, list[StageSegment]], recorded: EpisodeDataset, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(recorded.root, root)
    dataset = write_segments(EpisodeDataset(root), segments, form)
    for episode, given_segments in segments.items():
        expected = given_segments if FORMS[form].carries_outcomes else without_outcomes(given_segments)
        assert read_segments(dataset, episode, form) == expected
    assert not FORMS[form].annotated(dataset, 1)
    with pytest.raises(UserError, match=r"episode 1, column .*: the episode has no stage annotations"):
        read_segments(dataset, 1, form)


@few
@given(segments=annotations)
def test_keyframes_round_trip(
    segments: dict[int, list[StageSegment]], recorded: EpisodeDataset, tmp_path: Path
) -> None:
    target = tmp_path / "keyframes"
    shutil.rmtree(target, ignore_errors=True)
    keyframes.write_folder(target, recorded, segments)
    expected = {episode: without_outcomes(given_segments) for episode, given_segments in segments.items()}
    assert keyframes.read_folder(target, recorded) == expected


def test_sarm_is_read_first_then_subtasks_then_language(recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = copy(recorded)
    for form in ("language", "subtasks"):
        dataset = write_segments(dataset, {0: [StageSegment(form, 0, 30)]}, form)
    assert dataset.segments(0) == list(SEGMENTS[0])
    dataset = write_segments(dataset, {}, "sarm")
    assert dataset.segments(0) == [StageSegment("subtasks", 0, 30)]
    dataset = write_segments(dataset, {}, "subtasks")
    assert dataset.segments(0) == [StageSegment("language", 0, 30)]
    dataset = write_segments(dataset, {}, "language")
    assert present_form(dataset) is None
    assert not dataset.has_segments()
    with pytest.raises(UserError, match=r"no stage annotations .* progress-rm annotate"):
        dataset.segments(0)


@pytest.mark.parametrize("form", FORMS)
def test_lerobot_still_reads_the_dataset(
    form: str, recorded: EpisodeDataset, recorded_images: EpisodeDataset, copy: Copy
) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = write_segments(copy(recorded_images), {0: SEGMENTS[0], 1: SEGMENTS[1]}, form)
    item = LeRobotDataset("tests/set", root=dataset.root)[35]
    assert item["observation.images.front"].shape == (3, 32, 48)
    assert float(item["progress"]) == dataset.column("progress", 1)[5]


def test_wrong_segments_are_not_written(recorded: EpisodeDataset) -> None:
    overlapping = [StageSegment("a", 0, 10), StageSegment("b", 9, 20)]
    with pytest.raises(
        UserError, match=r"episode 0: stages 'a' \[0, 10\) and 'b' \[9, 20\) overlap; end the first"
    ):
        write_segments(recorded, {0: overlapping})
    with pytest.raises(UserError, match="no annotation form 'xml'; choose one of sarm, subtasks, language"):
        write_segments(recorded, {}, "xml")
    assert recorded.segments(0) == list(SEGMENTS[0])


def test_stage_order(recorded: EpisodeDataset, copy: Copy) -> None:
    assert recorded.stage_order(TASKS[0]) == ("reach", "grasp", "place")
    assert recorded.stage_order(TASKS[1]) == ("reach", "grasp")
    with pytest.raises(UserError, match="no episode has the task 'dance'"):
        recorded.stage_order("dance")
    dataset = copy(recorded)
    order = {"stage_order": {TASKS[0]: ["place", "grasp", "reach"]}, "metadata": {}}
    layout.write_json(dataset.root / layout.OURS, order)
    assert dataset.stage_order(TASKS[0]) == ("place", "grasp", "reach")


def test_order_by_happening() -> None:
    def named(*names: str) -> list[StageSegment]:
        return [StageSegment(name, 10 * i, 10 * i + 10) for i, name in enumerate(names)]

    assert order_by_happening([named("a", "b", "c"), named("a", "c")]) == ["a", "b", "c"]
    assert order_by_happening([named("b", "a", "b"), named("b", "a")]) == ["b", "a"]
    assert order_by_happening([]) == []
