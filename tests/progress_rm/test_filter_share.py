"""From evidence to progress: how much of it is the filter's, and who decides that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from progress_rm.models.base import TaskSpec
from progress_rm.models.multiview_sarm.answers import Answers, StageEvidence
from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig

T, FPS = 200, 10
TRUTH = np.linspace(0, 1, T)


class Episode:
    """What calibration reads of an episode."""

    task = "two halves"

    def __init__(self, progress: Any) -> None:
        self.timestamps = np.arange(T) / FPS
        stage = (progress >= 0.5).astype(np.int64)
        self.labels = type("Labels", (), {"progress": progress, "stage": stage, "done": progress >= 0.99})()


@pytest.fixture
def answers() -> Answers:
    spec = TaskSpec("two halves", ["first", "second"], [0.5, 0.5], [10.0, 10.0], 20.0)
    return Answers(MultiviewSarmConfig(tasks=[spec]))


def evidence(progress: Any) -> StageEvidence:
    """Heads that are sure of what they say, and say that this is the progress."""
    second = progress >= 0.5
    probs = np.where(second[:, None], [0.02, 0.98], [0.98, 0.02])
    within = np.stack([np.minimum(progress / 0.5, 1), np.clip((progress - 0.5) / 0.5, 0, 1)], 1)
    none = np.full(T, 1e-6)
    return StageEvidence(np.log(probs), within, np.full((T, 2), 0.05), none, np.ones(T))


def test_share_is_a_mixture(answers: Answers) -> None:
    seen = evidence(np.clip(TRUTH + 0.1 * np.random.default_rng(0).normal(size=T), 0, 1))
    tracks = {}
    for share in (0.0, 0.4, 1.0):
        answers.config.filter_share = share
        tracks[share] = answers.track(0, seen, np.arange(T) / FPS)
    alone = answers.unfiltered(0, seen)
    np.testing.assert_array_equal(tracks[0.0].progress, alone.progress)
    mixed = 0.6 * tracks[0.0].progress + 0.4 * tracks[1.0].progress
    np.testing.assert_allclose(tracks[0.4].progress, mixed, atol=1e-5)
    # What one side doubts, and what the two disagree on, is doubtful.
    parts = 0.6 * tracks[0.0].uncertainty ** 2 + 0.4 * tracks[1.0].uncertainty ** 2
    apart = 0.24 * (tracks[0.0].progress - tracks[1.0].progress) ** 2
    np.testing.assert_allclose(tracks[0.4].uncertainty ** 2, parts + apart, atol=1e-4)
    for share in (0.0, 0.4):
        np.testing.assert_array_equal(tracks[share].stage_probs, tracks[1.0].stage_probs)


def test_validation_decides_on_the_share(answers: Answers) -> None:
    jumps = np.where((TRUTH > 0.3) & (TRUTH < 0.6), 0.9, TRUTH)
    answers.calibrate([Episode(jumps)], [0], [evidence(jumps)])  # type: ignore[list-item]
    assert answers.config.filter_share < 0.5
    flicker = np.random.default_rng(0).random(T) < 0.2
    flickering = evidence(np.where(flicker, 1 - TRUTH, TRUTH))
    answers.calibrate([Episode(TRUTH)], [0], [flickering])  # type: ignore[list-item]
    assert answers.config.filter_share > 0.5


def test_without_a_filter_nothing_is_chosen(answers: Answers) -> None:
    answers.config.use_filter = False
    before = replace(answers.config)
    answers.calibrate([Episode(TRUTH)], [0], [evidence(TRUTH)])  # type: ignore[list-item]
    assert (before.filter_share, before.evidence_rate) == (
        answers.config.filter_share,
        answers.config.evidence_rate,
    )
