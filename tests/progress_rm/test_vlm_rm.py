"""`vlm_rm`: the paper's reward, and a family around tiny randomly initialised CLIP and SigLIP models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm import cli
from progress_rm.data import FeatureCache, load_episodes
from progress_rm.encoders import make_encoder
from progress_rm.models.base import ProgressRewardModel
from progress_rm.models.vlm_rm.configuration_vlm_rm import VlmRmConfig
from progress_rm.models.vlm_rm.similarity import goal_reward, unit

WORDS = [
    "slide",
    "and",
    "lift",
    "push",
    "the",
    "blue",
    "one",
    "along",
    "up",
    "a",
    "robot",
    "arm",
    "at",
    "table",
]


def save_tokenizer(folder: Path) -> None:
    """A tokenizer of whole words, as any from the Hub is saved."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<unk>", "<end>", *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 2)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<end>"
    ).save_pretrained(folder)


@pytest.fixture(scope="session", params=["clip", "siglip"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny model of images and text."""
    import transformers

    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**small, "image_size": 32, "patch_size": 16}
    text = {**small, "vocab_size": 40, "max_position_embeddings": 16, "eos_token_id": 2, "pad_token_id": 0}
    folder: Path = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    library: Any = transformers
    if request.param == "clip":
        config = library.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
        library.CLIPModel(config).save_pretrained(folder)
        size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
        library.CLIPImageProcessor(**size).save_pretrained(folder)
    else:
        library.SiglipModel(library.SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(
            folder
        )
        library.SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def trained_folder(
    checkpoint: Path, two_tasks: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("vlm_rm") / "run"
    cli.call(
        "train",
        [
            f"--dataset.root={two_tasks[0].root}",
            f"--output_dir={output}",
            f"--cache_dir={output}-cache",
            "--model.type=vlm_rm",
            f"--model.encoder=transformers:{checkpoint}",
            "--model.goal=[lift and slide, up]",
        ],
    )
    return output


@pytest.fixture(scope="session")
def model(trained_folder: Path) -> ProgressRewardModel:
    return progress_rm.load_model(trained_folder)


def test_prompts_that_are_texts_give_other_vectors(checkpoint: Path) -> None:
    encoder: Any = make_encoder(f"transformers:{checkpoint}")
    vectors = encoder.encode_texts(["slide and lift", "a robot arm at a table"])
    assert vectors.shape == (2, encoder.dim)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
    np.testing.assert_allclose(encoder.encode_texts(["slide and lift"])[0], vectors[0], atol=1e-5)


def test_it_scores_and_streams_alike(
    model: ProgressRewardModel, trained_folder: Path, two_tasks: list[EpisodeDataset], contract: Any
) -> None:
    cache = FeatureCache(Path(f"{trained_folder}-cache"), model.encoder())
    episode = load_episodes(two_tasks[0], cache, episodes=[0])[0]
    offline = model.track(episode)
    assert list(offline.stages) == ["task"]
    assert ((offline.progress >= 0) & (offline.progress <= 1)).all()
    for t, other in contract.other_futures(episode):
        assert contract.same(offline, model.track(other), t + 1)
    for t, live in contract.live(model, two_tasks[0], 0, True):
        contract.assert_equal(live, offline, t)


def test_the_scale_is_the_demonstrations_and_not_the_episodes(
    model: ProgressRewardModel, trained_folder: Path, two_tasks: list[EpisodeDataset]
) -> None:
    """An episode cut short keeps its numbers: nothing in it is called finished because it is its best."""
    cache = FeatureCache(Path(f"{trained_folder}-cache"), model.encoder())
    [whole] = load_episodes(two_tasks[0], cache, episodes=[0])
    half = {view: rows[:8] for view, rows in whole.features.items()}
    np.testing.assert_array_equal(model.answer(half, 0).progress, model.track(whole).progress[:8])


def test_lerobots_interface(model: ProgressRewardModel) -> None:
    images = {"observation.images.left": torch.rand(2, 3, 32, 32)}
    rewards = model.compute_reward({**images, "task": ["slide and lift"] * 2})
    assert rewards.shape == (2,)
    with pytest.raises(UserError, match="has no loss"):
        model.forward({})


def test_it_is_adapted_without_training(
    checkpoint: Path, two_tasks: list[EpisodeDataset], tmp_path: Path
) -> None:
    options = [f"--cache_dir={tmp_path / 'cache'}", f"--dataset.root={two_tasks[0].root}"]
    encoder = f"--model.encoder=transformers:{checkpoint}"
    cli.call("train", [*options, f"--output_dir={tmp_path / 'one'}", "--model.type=vlm_rm", encoder])
    cli.call(
        "adapt",
        [
            options[0],
            f"--dataset.root={two_tasks[1].root}",
            f"--model.path={tmp_path / 'one'}",
            f"--output_dir={tmp_path / 'two'}",
            "--copies=0",
        ],
    )
    one, two = (progress_rm.load_model(tmp_path / name) for name in ("one", "two"))
    assert len(two.config.tasks) == 2
    assert torch.equal(two.goals[0], one.goals[0])
    assert not torch.equal(two.goals[0], two.goals[1])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="knows no text"):
        VlmRmConfig(encoder="classical")
    with pytest.raises(UserError, match="alpha=2"):
        VlmRmConfig(alpha=2)
    with pytest.raises(UserError, match="baseline has no text"):
        VlmRmConfig(baseline=[])


vectors = st.integers(0, 2**32 - 1).map(lambda seed: unit(np.random.default_rng(seed).normal(size=(3, 7))))


@given(vectors, st.floats(0, 1))
def test_the_goal_itself_is_worth_one_and_nothing_more(three: np.ndarray, alpha: float) -> None:
    picture, goal, baseline = three
    assert goal_reward(goal, goal, baseline, alpha) == pytest.approx(1)
    assert goal_reward(picture, goal, baseline, alpha) <= 1 + 1e-9


@given(vectors)
def test_without_regularisation_it_is_the_cosine(three: np.ndarray) -> None:
    picture, goal, baseline = three
    assert goal_reward(picture, goal, baseline, 0.0) == pytest.approx(picture @ goal)


@given(vectors, st.floats(-3, 3))
def test_with_full_regularisation_only_the_line_counts(three: np.ndarray, amount: float) -> None:
    picture, goal, baseline = three
    line = unit(goal - baseline)
    aside = np.random.default_rng(0).normal(size=7)
    aside -= (aside @ line) * line
    moved = picture + amount * aside
    assert goal_reward(moved, goal, baseline, 1.0) == pytest.approx(goal_reward(picture, goal, baseline, 1.0))
