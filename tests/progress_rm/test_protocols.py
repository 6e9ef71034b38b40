"""What a vision-language model is asked for besides what remains: shuffled frames (GVL), and whether all is done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call, main
from progress_rm.data import EpisodeFeatures, FeatureCache, TrainingData
from progress_rm.models.asking import Question
from progress_rm.models.endpoint.configuration_endpoint import EndpointConfig
from progress_rm.models.endpoint.modeling_endpoint import EndpointRewardModel
from progress_rm.models.procvlm.configuration_procvlm import ProcvlmConfig
from progress_rm.models.procvlm.engines import log_probabilities
from progress_rm.models.procvlm.grammar import ShuffledGrammar
from progress_rm.models.procvlm.modeling_procvlm import ProcvlmRewardModel
from progress_rm.models.procvlm.questions import (
    frame_text,
    messages,
    percent_text,
    pictures,
    read_percentages,
)
from progress_rm.trainer import load_sources

SHUFFLED = ["protocol=shuffled", "query_s=0.5", "window=4"]


def letters(text: str) -> list[int]:
    """A tokenizer for tests."""
    return [ord(letter) + 2 for letter in text]


@settings(max_examples=15)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=12))
def test_percentages_are_read_as_they_were_written(percents: list[int]) -> None:
    text = "".join(frame_text(n) + percent_text(p / 100) for n, p in enumerate(percents, 1))
    assert read_percentages(text, len(percents)) == [p / 100 for p in percents]
    assert read_percentages(text, len(percents) + 1) is None
    grammar = ShuffledGrammar(letters, 1, len(percents))
    tokens = [*letters(text), 1]
    for i, token in enumerate(tokens):
        assert token in grammar.allowed(tokens[:i])
    assert len(tokens) <= grammar.longest
    assert re.fullmatch(grammar.pattern, text)
    parts = grammar.posterior(tokens, lambda step, choices: np.ones(len(choices)) / len(choices))
    for found in parts:
        assert found.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "about half",
        "Frame 1: 20%",
        "Frame 2: 20%\nFrame 1: 30%",
        "Frame 1: 20%\nFrame 2: 130%",
        "1: 2%\n2: 3%",
    ],
)
def test_what_is_no_list_of_percentages_is_no_number(text: str) -> None:
    assert read_percentages(text, 2) is None


# -- shuffled ----------------------------------------------------------------------------------------


class Seeing(EndpointRewardModel):
    """Reads the progress of the toy's first stage off each picture by itself, in whatever order they come."""

    def percentages(self, questions: Sequence[Question]) -> list[list[tuple[float, float | None]] | None]:
        self.orders = [*getattr(self, "orders", ()), *(tuple(q.order) for q in questions)]
        found: list[list[tuple[float, float | None]] | None] = []
        for question in questions:
            shown = pictures(question)[:: len(question.window[0].pictures)]
            assert len(shown) == len(question.order) + 1
            found.append([(where(picture), None) for picture in shown[1:]])
        return found


def where(picture: Any) -> float:
    """How far the square in the left view has slid, in [0, 1]."""
    bright = np.flatnonzero(picture[16, :, 0] > 150)
    return float(bright[0]) / 24 if len(bright) else 0.0


@pytest.fixture(scope="module")
def seeing(toy: EpisodeDataset) -> Seeing:
    from progress_rm.models.base import any_task

    config = EndpointConfig(
        url="http://127.0.0.1:9/v1",
        tasks=[any_task()],
        protocol="shuffled",
        query_s=0.5,
        window=4,
        device="cpu",
    )
    return Seeing(config)


def test_shuffled_frames_are_put_back_in_order(seeing: Seeing, episode: EpisodeFeatures) -> None:
    track = seeing.track(episode)
    seen = episode.pixels("left", range(len(episode)))
    expected = [0.0 if t < 5 else where(seen[t - t % 5]) for t in range(len(episode))]
    np.testing.assert_allclose(track.progress, expected, atol=1e-6)
    orders = [order for order in seeing.orders if len(order) == 4]
    assert all(sorted(order) == [1, 2, 3, 4] for order in orders)
    assert len(set(orders)) > 1


def test_shuffled_is_causal_and_the_same_live(
    seeing: Seeing, episode: EpisodeFeatures, toy: EpisodeDataset, contract: Any, cut_after: Any
) -> None:
    track = seeing.track(episode)
    cut: Any = cut_after(episode.source[0], 12)
    after = seeing.track(replace(episode, source=(cut, 1)))
    np.testing.assert_array_equal(after.progress[:13], track.progress[:13])
    assert not np.array_equal(after.progress, track.progress)
    for t, live in contract.live(seeing, toy, 1, True):
        contract.assert_equal(live, track, t)


def test_with_hindsight_it_is_asked_once_and_never_live(
    seeing: Seeing, episode: EpisodeFeatures, toy: EpisodeDataset
) -> None:
    seeing.config.hindsight = True
    seeing.orders, seeing.replies = [], 0
    try:
        asked, answers = seeing.answers(episode, 0)
        assert (len(seeing.orders), seeing.replies) == (1, 1)
        assert (asked[0], asked[-1]) == (0, len(episode) - 1)
        seen = episode.pixels("left", asked)
        assert [a.progress for a in answers if a] == pytest.approx([0.0, *(where(p) for p in seen[1:])])
        with pytest.raises(UserError, match="depends on frames after it"):
            seeing.stream("slide and lift")
        with pytest.raises(UserError, match="depends on frames after it"):
            seeing.compute_reward({"observation.images.left": torch.rand(1, 3, 3, 32, 32), "task": ["x"]})
    finally:
        seeing.config.hindsight = False
    with pytest.raises(UserError, match="hindsight=true is how protocol=shuffled"):
        EndpointConfig(hindsight=True)


def test_rewards_need_frames_to_compare(seeing: Seeing) -> None:
    rows = {"observation.images.left": torch.rand(2, 3, 3, 32, 32), "task": ["x"] * 2}
    assert seeing.compute_reward(rows).shape == (2,)
    with pytest.raises(UserError, match="compares frames"):
        seeing.compute_reward({**rows, "observation.images.left": torch.rand(2, 3, 32, 32)})


def test_an_endpoint_is_shown_shuffled_frames(loopback: Any, episode: EpisodeFeatures) -> None:
    loopback.replies[:] = ["Frame 1: 40%\nFrame 2: 60%\n", "no idea"]
    model: Any = progress_rm.load_model(
        loopback.url, options=["protocol=shuffled", "query_s=1", "window=2", "ask_batch=1"]
    )
    loopback.replies[:] = ["Frame 1: 40%", "Frame 1: 40%\nFrame 2: 60%\n", "no idea"]
    track = model.track(episode)
    content = loopback.asked[1]["messages"][0]["content"]
    texts = [part["text"] for part in content if part["type"] == "text"]
    assert "start, 0% done, left:" in texts
    assert "frame 2, right:" in texts
    assert not re.search(r"\bnow\b|ago", " ".join(texts[1:-2]))
    now = loopback.asked[1]
    assert len([part for part in now["messages"][0]["content"] if part["type"] == "image_url"]) == 6
    assert track.progress[0] == 0
    assert track.progress[10] == pytest.approx(0.4)
    order = np.random.default_rng(3).permutation(2)
    assert track.progress[20] == pytest.approx([0.4, 0.6][order.tolist().index(1)])
    if len(episode) > 30:
        assert (track.progress[30], track.uncertainty[30]) == (track.progress[20], 1)


def test_protocols_are_checked(toy: EpisodeDataset, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        UserError, match="protocol=gvl is unknown to endpoint; choose one of remaining, shuffled"
    ):
        EndpointConfig(protocol="gvl")
    with pytest.raises(UserError, match="protocol=done is unknown to endpoint"):
        EndpointConfig(protocol="done")
    with pytest.raises(UserError, match="engine=vllm does not tell"):
        ProcvlmConfig(protocol="done", engine="vllm")
    options = ["--model.path=http://127.0.0.1:9/v1", "--model.options=[hindsight=true]"]
    assert main(["score", f"--dataset.root={toy.root}", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# -- a real model, small -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(toy: EpisodeDataset, tiny_vlm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a `procvlm` that took its scale from the toy episodes."""
    output = tmp_path_factory.mktemp("done") / "run"
    call(
        "train",
        [
            *(f"--dataset.root={toy.root}", f"--output_dir={output}", f"--cache_dir={output}-cache"),
            *("--model.type=procvlm", f"--model.vlm={tiny_vlm}", "--model.query_s=0.5", "--model.window=2"),
            *("--model.protocol=done", "--model.lora_rank=4"),
        ],
    )
    return output


def test_a_probability_on_the_scale_of_the_demonstrations(
    done: Path, episode: EpisodeFeatures, toy: EpisodeDataset, contract: Any, cut_after: Any
) -> None:
    [[low, high]] = progress_rm.load_model(done).config.done_scale
    assert low < high <= 0
    model: Any = progress_rm.load_model(done, options=["done_scale=[[-200.0,0.0]]"])
    track = model.track(episode)
    assert ((track.progress > 0) & (track.progress <= 1)).all()
    assert len(np.unique(track.progress)) > 1
    cut: Any = cut_after(toy, 12)
    after = model.track(replace(episode, source=(cut, 1)))
    np.testing.assert_allclose(after.progress[:13], track.progress[:13], atol=1e-5)
    for t, live in contract.live(model, toy, 1, True):
        contract.assert_equal(live, track, t)


def test_nothing_is_stretched(
    done: Path, episode: EpisodeFeatures, toy: EpisodeDataset, tmp_path: Path
) -> None:
    """The scale is where demonstrations begin and end; an episode that never gets there does not reach 1."""
    model: Any = progress_rm.load_model(done)
    labelled = load_sources([(toy, 0), (toy, 1), (toy, 3)], FeatureCache(tmp_path, None), model.config)
    ends = iter([[-6.0, -1.0], [-4.0, -2.0]])
    model._log_done = lambda questions: next(ends)
    model.learn_statistics(TrainingData(labelled, model.config.tasks))
    assert model.config.done_scale == [[-5.0, -1.5]]
    said = iter(np.linspace(-7, -3.6, 100))
    model._log_done = lambda questions: [float(next(said)) for _ in questions]
    progress = model.track(episode).progress
    assert progress[0] == 0
    assert progress.max() < 0.5
    failures = [e for e in labelled if not e.labels.done.any()]
    assert failures
    with pytest.raises(UserError, match="is complete, so protocol=done has no scale"):
        model.learn_statistics(TrainingData(failures, model.config.tasks))


def test_the_probability_is_the_models(done: Path, episode: EpisodeFeatures) -> None:
    from progress_rm.models.glimpses import look

    model: Any = progress_rm.load_model(done)
    assert isinstance(model, ProcvlmRewardModel)
    seen = look(episode, ["left", "right"], [0, 5, 10], 32)
    questions = [Question("slide and lift", 0, seen[:n]) for n in (1, 3)]
    assert "complete now" in messages(questions[0], "done")[0]["content"][-1]["text"]
    found = log_probabilities(model.vlm, model.chat, questions, "done", "True")
    for question, value in zip(questions, found, strict=True):
        read = model.chat.prompts([question], ["done"])
        total = 0.0
        for token in model.chat.encode("True"):
            with torch.no_grad():
                last = model.vlm(**read).logits[0, -1].double().log_softmax(-1)
            total += float(last[token])
            for name, more in (("input_ids", token), ("attention_mask", 1), ("mm_token_type_ids", 0)):
                if name in read:
                    read[name] = torch.cat([read[name], torch.full_like(read[name][:, :1], more)], dim=1)
        assert value == pytest.approx(total, abs=1e-3)
    with pytest.raises(UserError, match="protocol=done has no scale yet"):
        progress_rm.load_model(done, options=["done_scale=[]"]).track(episode)


def test_a_local_model_says_percentages_of_shuffled_frames(done: Path, episode: EpisodeFeatures) -> None:
    model: Any = progress_rm.load_model(done, options=[*SHUFFLED, "window=2"])
    track = model.track(episode)
    assert model.unread == 0
    assert track.progress[0] == 0
    assert ((track.progress >= 0) & (track.progress <= 1)).all()
    said = progress_rm.load_model(done, options=[*SHUFFLED, "window=2", "estimate=said"]).track(episode)
    np.testing.assert_allclose(said.progress * 100, np.round(said.progress * 100), atol=1e-4)
