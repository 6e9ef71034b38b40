"""Augmented copies: one camera and one light an episode, drawn from the seed."""

from __future__ import annotations

import numpy as np
import pytest

from progress_datasets.errors import UserError
from progress_rm.augment import AugmentConfig, augment_alike, augment_frames
from progress_rm.models import FAMILIES, MultiviewSarmConfig

STILL = AugmentConfig(0, 0, 0, 0, 0, 0, 0, 0)


def video() -> np.ndarray:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (8, 10, 3)).astype(np.uint8)
    return np.repeat(np.repeat(blocks, 6, 0), 6, 1)[None].repeat(12, 0)


def test_nothing_to_change_changes_nothing() -> None:
    np.testing.assert_array_equal(augment_frames(video(), np.random.default_rng(0), STILL), video())


def test_the_seed_decides() -> None:
    one, same, other = (augment_frames(video(), np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.shape == video().shape
    assert one.dtype == np.uint8
    assert np.abs(one.astype(int) - other).mean() > 2


def test_a_still_scene_stays_still_without_sway_and_drifts_with_it() -> None:
    frames = video()
    still = augment_frames(frames, np.random.default_rng(3), AugmentConfig(sway=0.0))
    assert (still == still[:1]).all()
    swaying = augment_frames(frames, np.random.default_rng(3), AugmentConfig(sway=0.1))
    steps = np.abs(np.diff(swaying.astype(int), axis=0)).mean((1, 2, 3))
    total = np.abs(swaying[-1].astype(int) - swaying[0]).mean()
    assert total > 0
    assert steps.max() < 20


def test_a_shift_moves_by_no_more_than_its_range() -> None:
    frames = np.zeros((1, 100, 100, 3), np.uint8)
    frames[:, 48:52, 48:52] = 255
    for seed in range(10):
        moved = augment_frames(frames, np.random.default_rng(seed), AugmentConfig(0.1, 0, 0, 0, 0, 0, 0, 0))
        centre = np.argwhere(moved[0, :, :, 0] > 100).mean(0)
        assert (np.abs(centre - 49.5) <= 11).all()


def test_saturation_keeps_greys_and_moves_colours() -> None:
    only = AugmentConfig(0, 0, 0, 0, 0, 0, 0, 0, saturation=0.9)
    grey = np.full_like(video(), 120)
    np.testing.assert_allclose(augment_frames(grey, np.random.default_rng(1), only), grey, atol=1)
    changed = augment_frames(video(), np.random.default_rng(1), only)
    assert np.abs(changed.astype(int) - video()).mean() > 2


def test_augmentations_are_chosen_by_name() -> None:
    frame, rng = video()[:2, :48, :48], np.random.default_rng(0)
    np.testing.assert_array_equal(augment_alike(frame, rng, "none"), frame)
    for augment in ("mild", "full"):
        changed = augment_alike(frame, rng, augment)
        assert changed.shape == frame.shape
        assert (changed != frame).any()
    for family in FAMILIES.values():
        assert getattr(family(), "augment", "mild") == "mild"
    with pytest.raises(UserError, match="none, mild, full"):
        MultiviewSarmConfig(augment="strong")


def test_mild_augmentation_does_not_blur() -> None:
    frame = video()[:2, :48, :48]
    colours = len(np.unique(frame.reshape(-1, 3), axis=0))
    changed = augment_alike(frame, np.random.default_rng(3), "mild")
    assert len(np.unique(changed.reshape(-1, 3), axis=0)) <= colours
