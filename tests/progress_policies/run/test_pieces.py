"""Small parts of the loop: cameras, chunks, shared memory, scores of recorded ticks."""

from __future__ import annotations

import ctypes
import multiprocessing

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from progress_policies.run.board import Board, Layout, Seen
from progress_policies.run.cameras import CameraWatch
from progress_policies.run.chunks import ActionQueue, Chunk
from progress_policies.run.growing import scores_for
from progress_policies.run.safety import SafetyOptions

SHAPE = (48, 64, 3)
RNG = np.random.default_rng(0)


def picture() -> np.ndarray:
    return RNG.integers(0, 255, SHAPE, dtype=np.uint8)


def watch(**options: float) -> CameraWatch:
    return CameraWatch("front", SHAPE, SafetyOptions(**options))  # type: ignore[arg-type]


def test_a_camera_that_sees_is_fine() -> None:
    camera = watch()
    for tick in range(60):
        assert camera.look(picture(), tick / 30, np.full(6, float(tick))) is None


def test_a_frozen_camera_is_known_by_the_arms_motion() -> None:
    still, moving = watch(), watch()
    image = picture()
    found = []
    for tick in range(60):
        assert still.look(image, tick / 30, np.zeros(6)) is None, "nothing moves"
        found.append(moving.look(image, tick / 30, np.full(6, float(tick))))
    first = next(tick for tick, fault in enumerate(found) if fault is not None)
    assert found[first].kind == "camera_frozen"
    assert 15 <= first <= 17


def test_black_and_wrong_pictures() -> None:
    camera = watch(black_s=0.2)
    assert camera.look(np.zeros(SHAPE, np.uint8), 0.0, np.zeros(6)) is None, "a moment of darkness"
    assert camera.look(np.full(SHAPE, 3, np.uint8), 0.25, np.zeros(6)).kind == "camera_black"  # type: ignore[union-attr]
    dark = np.zeros(SHAPE, np.uint8)
    dark[:8, :16] = 120
    assert watch(black_s=0.0).look(dark, 1.0, np.zeros(6)) is None, "a dark scene with something in it"
    for wrong in (np.zeros((24, 64, 3), np.uint8), np.zeros(SHAPE, np.float32)):
        assert watch().look(wrong, 0.0, np.zeros(6)).kind == "camera_size"  # type: ignore[union-attr]


@given(
    latency=st.integers(0, 6), length=st.integers(2, 30), used=st.integers(1, 30), ticks=st.integers(40, 120)
)
def test_an_action_is_executed_at_its_tick_or_not_at_all(
    latency: int, length: int, used: int, ticks: int
) -> None:
    """A policy that needs `latency` ticks, asked as soon as the queue wants more: what is done is always what it
    meant for that very tick, and nobody waits if a chunk is long enough."""
    queue = ActionQueue(min(used, length))
    pending: tuple[int, int] | None = None
    waited = 0
    for tick in range(ticks):
        if pending is not None and tick >= pending[1]:
            start = pending[0]
            queue.add(Chunk(start, np.arange(start, start + length, dtype=float)[:, None]), tick)
            pending = None
        if pending is None and queue.wants_more(tick):
            pending = (tick, tick + max(1, latency))
        due = queue.due(tick)
        if due is None:
            waited += tick > 3 * max(1, latency)
        else:
            assert due[0] == tick
    if length > 2 * max(1, latency) + 1:
        assert waited == 0


def test_a_single_action_is_executed_at_the_next_tick_as_there_is_no_other() -> None:
    queue = ActionQueue(1)
    queue.add(Chunk(10, np.full((1, 1), 1.0)), 12)
    assert queue.due(12)[0] == 1.0  # type: ignore[index]
    assert queue.due(13) is None


def test_a_late_answer_does_not_replace_a_newer_one() -> None:
    queue = ActionQueue(5)
    queue.add(Chunk(10, np.full((5, 1), 1.0)), 11)
    queue.add(Chunk(7, np.full((9, 1), 2.0)), 12)
    assert queue.due(12)[0] == 1.0  # type: ignore[index]
    queue.clear()
    assert queue.due(12) is None


def test_the_board_gives_back_what_was_put_and_never_a_mixture() -> None:
    layout = Layout(3, {"a": (4, 5, 3), "b": (2, 2, 3)}, slots=4)
    board = Board(multiprocessing.RawArray(ctypes.c_uint8, layout.size), layout)
    board.clear()
    assert board.latest == -1
    assert board.get(0) is None
    for tick in range(6):
        images = {view: np.full(shape, tick, np.uint8) for view, shape in layout.images.items()}
        board.put(Seen(tick, tick / 30, np.full(3, float(tick)), images))
    assert board.latest == 5
    assert board.get(1) is None, "overwritten"
    other = Board(board.memory, layout)
    for tick in (2, 5):
        seen = other.get(tick)
        assert seen is not None
        assert seen.stamp == tick / 30
        assert (seen.joints == tick).all()
        assert all((image == tick).all() for image in seen.images.values())


@given(st.sets(st.integers(0, 40), min_size=1), st.lists(st.integers(0, 40), min_size=1, unique=True))
def test_recorded_ticks_are_scored_by_what_was_known(answered: set[int], recorded: list[int]) -> None:
    recorded.sort()
    rows = {t: {"progress": t / 40, "stage": "s", "uncertainty": 0.0, "success": 0.0} for t in answered}
    scores = scores_for(recorded, rows)
    for tick, progress in zip(recorded, scores.progress, strict=True):
        known = [t for t in answered if t <= tick] or [min(answered)]
        assert progress == np.float32(max(known) / 40) if max(known) <= tick else min(answered) / 40
