"""The embedded encoder: each frame by itself, any size, moved objects."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from progress_rm.encoders import make_encoder
from progress_rm.encoders.base import Encoder
from progress_rm.encoders.classical import ClassicalEncoder, GradientEncoder


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    rng = np.random.default_rng(0)
    images = np.full((4, 60, 80, 3), 200, np.uint8)
    for i, image in enumerate(images):
        image[10:30, 5 + 15 * i : 25 + 15 * i] = (200, 30, 30)
        image[35:50, 20:40] = rng.integers(0, 255, 3)
    return images


def test_it_is_an_encoder_and_says_its_width(frames: np.ndarray) -> None:
    encoder = ClassicalEncoder()
    features = encoder.encode(frames)
    assert isinstance(encoder, Encoder)
    assert features.shape == (4, encoder.dim) == (4, sum(encoder.blocks))
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.abs(features).max() <= 2


def test_a_frame_does_not_depend_on_its_neighbours(frames: np.ndarray) -> None:
    encoder = ClassicalEncoder()
    together = encoder.encode(frames)
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(encoder.encode(frame[None])[0], together[i])


def test_no_frames_give_no_features() -> None:
    encoder = ClassicalEncoder()
    assert encoder.encode(np.zeros((0, 8, 8, 3), np.uint8)).shape == (0, encoder.dim)


def test_size_hardly_matters(frames: np.ndarray) -> None:
    encoder = ClassicalEncoder()
    small, large = encoder.encode(frames), encoder.encode(np.repeat(np.repeat(frames, 4, 1), 4, 2))
    between = np.linalg.norm(small[0] - small[1])
    assert np.linalg.norm(small - large, axis=1).max() < 0.6 * between


def test_the_histogram_of_the_image_does_not_care_where_an_object_lies(frames: np.ndarray) -> None:
    encoder = ClassicalEncoder()
    start = sum(encoder.blocks[:2])
    plain = np.full((1, 96, 96, 3), 200, np.uint8)
    left, right, blue = plain.copy(), plain.copy(), plain.copy()
    left[:, 10:40, 5:35] = right[:, 50:80, 60:90] = (200, 30, 30)
    blue[:, 10:40, 5:35] = (30, 30, 200)
    a, b, c = (encoder.encode(x)[0, start : start + encoder.blocks[2]] for x in (left, right, blue))
    np.testing.assert_allclose(a, b, atol=0.05)
    assert np.abs(a - c).max() > 0.2


def test_the_gradients_tell_directions_apart() -> None:
    encoder = ClassicalEncoder()
    stripes = np.zeros((2, 96, 96, 3), np.uint8)
    stripes[0, ::8] = stripes[0, 1::8] = stripes[0, 2::8] = 255
    stripes[1] = stripes[0].transpose(1, 0, 2)
    across, along = encoder.encode(stripes)[:, : encoder.blocks[0]]
    assert across @ along < 0.3
    assert across @ across > 0.9


def test_a_blank_view_has_no_edges() -> None:
    encoder = ClassicalEncoder()
    blank = np.full((1, 96, 96, 3), 128, np.uint8)
    assert np.linalg.norm(encoder.encode(blank)[0, : encoder.blocks[0]]) == 0


def test_every_parameter_is_in_the_cache_key() -> None:
    keys = {e.key for e in (ClassicalEncoder(), ClassicalEncoder(size=48), ClassicalEncoder(orientations=6))}
    assert len(keys) == 3


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        ClassicalEncoder().encode(np.zeros((2, 8, 8, 3)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="multiple"):
        ClassicalEncoder(size=100)


def test_gradients_are_the_first_block_and_do_not_mind_colour(frames: np.ndarray) -> None:
    encoder, whole = make_encoder("gradients"), ClassicalEncoder()
    assert isinstance(encoder, GradientEncoder)
    features = encoder.encode(frames)
    assert features.shape == (4, encoder.dim) == (4, *encoder.blocks) == (4, whole.blocks[0])
    np.testing.assert_array_equal(features, whole.encode(frames)[:, : encoder.dim])
    assert encoder.key != whole.key
    # Another hue of the same lightness: rotated about the grey axis in Lab.
    lab = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2LAB) for frame in frames])
    turned = lab.copy()
    turned[..., 1], turned[..., 2] = lab[..., 2], 255 - lab[..., 1]
    other = np.stack([cv2.cvtColor(one, cv2.COLOR_LAB2RGB) for one in turned])
    changed = [np.linalg.norm(e.encode(other) - e.encode(frames)) for e in (encoder, whole)]
    assert changed[0] < 0.5 * changed[1]
