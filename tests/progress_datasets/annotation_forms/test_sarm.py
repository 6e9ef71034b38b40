"""SARM's columns: LeRobot's own reader sees our segments, and we see what LeRobot's own tool writes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import accumulate

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_datasets import layout
from progress_datasets.annotation_forms import sarm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment
from progress_datasets.synthetic import LENGTHS, SEGMENTS

Copy = Callable[[EpisodeDataset], EpisodeDataset]
NAMES = ["reach", "grasp", "place"]


def annotate(dataset: EpisodeDataset, prefix: str, **columns: list[object]) -> EpisodeDataset:
    """Replace columns of all prefixes by these of one."""
    types = {**sarm.TYPES, sarm.OUTCOMES: pa.list_(pa.string())}
    gone = {p + name: None for p in sarm.PREFIXES.values() for name in types}
    new = {f"{prefix}subtask_{name}": pa.array(v, types[f"subtask_{name}"]) for name, v in columns.items()}
    layout.write_episode_columns(dataset.root, {**gone, **new})
    return EpisodeDataset(dataset.root)


def test_lerobots_sarm_finds_the_same_stage_in_every_frame(recorded: EpisodeDataset) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata
    from lerobot.rewards.sarm.processor_sarm import SARMEncodingProcessorStep
    from lerobot.rewards.sarm.sarm_utils import find_stage_and_tau

    episodes = LeRobotDatasetMetadata("tests/set", root=recorded.root).episodes.to_pandas()
    shares = json.loads((recorded.root / layout.PROPORTIONS.format(kind="sparse")).read_text())
    assert list(shares) == NAMES
    step = object.__new__(SARMEncodingProcessorStep)
    for episode, segments in enumerate(SEGMENTS):
        names, starts, ends = step._load_episode_annotations(episode, episodes, "sparse", NAMES)
        for segment in segments:
            for frame in range(segment.start, segment.end):
                stage, tau = find_stage_and_tau(frame, LENGTHS[episode], names, starts, ends, NAMES, shares)
                assert NAMES[stage] == segment.name
                assert tau == pytest.approx((frame - segment.start) / (segment.end - 1 - segment.start))


def test_what_lerobots_tool_writes(recorded: EpisodeDataset, copy: Copy) -> None:
    # Whole seconds, the next stage's start as the end; episode 2 has 3.6 s, and its last end is rounded up.
    times = [([0.0, 1.0], [1.0, 3.0]), ([0.0, 1.0], [1.0, 2.0]), ([0.0, 2.0], [2.0, 4.0])]
    dataset = annotate(
        copy(recorded),
        "sparse_",
        names=[["reach", "place"]] * 3,
        start_times=[starts for starts, _ in times],
        end_times=[ends for _, ends in times],
        start_frames=[[int(t * 10) for t in starts] for starts, _ in times],
        end_frames=[[int(t * 10) for t in ends] for _, ends in times],
    )
    assert dataset.segments(0) == [StageSegment("reach", 0, 10), StageSegment("place", 10, 30)]
    assert dataset.segments(1) == [StageSegment("reach", 0, 10), StageSegment("place", 10, 20)]
    assert dataset.segments(2) == [StageSegment("reach", 0, 20), StageSegment("place", 20, 36)]


@pytest.mark.parametrize("prefix", ["sparse_", "dense_", ""])
@pytest.mark.parametrize("first_end", [9, 10])
def test_frames_without_times(prefix: str, first_end: int, recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = annotate(
        copy(recorded),
        prefix,
        names=[["reach", "place"]] * 3,
        start_frames=[[0, 10]] * 3,
        end_frames=[[first_end, 19]] * 3,
    )
    assert dataset.segments(1) == [StageSegment("reach", 0, 10), StageSegment("place", 10, 20)]


def test_dense_beside_an_automatic_sparse_stage(recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = copy(recorded)
    sarm.write(dataset, {e: [StageSegment("task", 0, LENGTHS[e])] for e in range(3)})
    assert EpisodeDataset(dataset.root).segments(0) == [StageSegment("task", 0, 30)]
    sarm.write(dataset, dict(enumerate(SEGMENTS)), kind="dense")
    assert EpisodeDataset(dataset.root).segments(1) == list(SEGMENTS[1])
    assert (dataset.root / "meta/temporal_proportions_dense.json").is_file()
    assert sarm.read(EpisodeDataset(dataset.root), 0, "sparse") == [StageSegment("task", 0, 30)]


def test_legacy_columns_are_written_beside_sparse(recorded: EpisodeDataset) -> None:
    for name in sarm.TYPES:
        assert recorded.episode_column(name) == recorded.episode_column(f"sparse_{name}")
    assert sarm.read(recorded, 0, "legacy") == list(SEGMENTS[0])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"start_frames": [0, 5]}, r"stages 'reach' \[0, 10\) and 'place' \[5, 20\) overlap"),
        ({"start_frames": [0, None]}, "column 'sparse_subtask_start_frames': contains NaN"),
        ({"end_times": [1.0, math.nan]}, "column 'sparse_subtask_end_times': contains NaN"),
        ({"end_times": [1.0]}, "column 'sparse_subtask_end_times': 1 values for 2 stages"),
        ({"end_times": [1.0, 7.3]}, r"covers frames \[10, 73\) of an episode with 30 frames"),
        ({"names": ["reach", ""]}, "a stage at frame 10 has no name"),
        ({"names": []}, "the episode has no stage annotations"),
        ({"outcomes": ["success", "meh"]}, "'meh' is no outcome; use success, partial, failure"),
        ({"outcomes": ["success"]}, "2 stages and 1 outcomes"),
    ],
)
def test_faults_name_dataset_episode_and_column(
    columns: dict[str, list[object]], message: str, recorded: EpisodeDataset, copy: Copy
) -> None:
    good: dict[str, list[object]] = {
        "names": ["reach", "place"],
        "start_times": [0.0, 1.0],
        "end_times": [1.0, 2.0],
        "start_frames": [0, 10],
        "end_frames": [9, 19],
    }
    faulty = {**good, **columns}
    rows = {name: [values, good.get(name), good.get(name)] for name, values in faulty.items()}
    dataset = annotate(copy(recorded), "sparse_", **rows)
    with pytest.raises(UserError, match=message) as caught:
        dataset.segments(0)
    assert str(caught.value).startswith(f"{dataset.root}, episode 0, column 'sparse_subtask_")
    assert "\n" not in str(caught.value)


def test_proportions() -> None:
    whole = [
        [StageSegment("a", 0, 10), StageSegment("b", 10, 20)],
        [StageSegment("a", 5, 10), StageSegment("b", 10, 20), StageSegment("a", 20, 25)],
        [StageSegment("a", 0, 30), StageSegment("b", 30, 40)],
    ]
    assert sarm.proportions(whole) == pytest.approx(
        {"a": (0.5 + 0.5 + 0.75) / 3, "b": (0.5 + 0.5 + 0.25) / 3}
    )
    broken = [StageSegment("a", 0, 30, Outcome.PARTIAL)]
    assert sarm.proportions([*whole, broken]) == sarm.proportions(whole)
    assert sarm.proportions([broken]) == {"a": 1.0}
    assert sarm.proportions([]) == {}


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=6), min_size=1, max_size=5))
def test_proportions_are_shares(durations: list[list[int]]) -> None:
    def segments(lengths: list[int]) -> list[StageSegment]:
        ends = list(accumulate(lengths))
        return [StageSegment("abc"[i % 3], end - lengths[i], end) for i, end in enumerate(ends)]

    shares = sarm.proportions([segments(lengths) for lengths in durations])
    assert sum(shares.values()) == pytest.approx(1)
    assert all(0 < share <= 1 for share in shares.values())
