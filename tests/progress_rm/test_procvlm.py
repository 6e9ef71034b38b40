"""`procvlm`: replies that always parse, learned from stage annotations, causal, and the same live as offline."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call
from progress_rm.data import EpisodeFeatures, FeatureCache, TrainingData
from progress_rm.labels import EpisodeLabels
from progress_rm.models.base import TaskSpec
from progress_rm.models.glimpses import Glimpse, asked_frames, shrink
from progress_rm.models.procvlm.configuration_procvlm import ProcvlmConfig
from progress_rm.models.procvlm.engines import Said
from progress_rm.models.procvlm.grammar import Choices, ReplyGrammar, pattern
from progress_rm.models.procvlm.modeling_procvlm import ProcvlmRewardModel
from progress_rm.models.procvlm.questions import (
    current_stage,
    progress_text,
    read_reply,
    remaining_text,
    reply_parts,
)
from progress_rm.trainer import load_sources

TASK = TaskSpec("tidy up", ["reach", "grasp", "lift"], [0.2, 0.3, 0.5], [1.0, 1.0, 1.0], 3.0)
NAMES = st.lists(
    st.text("abc é漢-_", min_size=1, max_size=8).map(str.strip).filter(bool),
    min_size=1,
    max_size=5,
    unique=True,
)


def pairs(text: str) -> list[int]:
    """A tokenizer for tests: two letters a token, one where the number of letters is odd."""
    return [sum(ord(c) * 70_000**i for i, c in enumerate(text[at : at + 2])) for at in range(0, len(text), 2)]


NUMBERS = ReplyGrammar.numbers(lambda texts: [pairs(text) for text in texts])
END = 1


@given(st.floats(0, 1))
def test_a_number_is_read_as_it_was_written(progress: float) -> None:
    reply = read_reply(remaining_text(["reach", "grasp"]) + progress_text(progress))
    assert reply is not None
    assert reply.progress == pytest.approx(progress, abs=5.1e-5)
    assert reply.remaining == ("reach", "grasp")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "about half",
        "<progress>42.00%</progress>",
        "Remaining: grasp",
        "Remaining: grasp\n<progress>half</progress>",
        "Remaining: grasp\n<progress>142.00%</progress>",
        "Remaining: grasp\n<progress>-1.00%</progress>",
        "Remaining: grasp\n<progress>42.00</progress>",
        "Remaining: grasp\n<progress>42.00%</progress> or so",
    ],
)
def test_what_is_no_reply_is_no_number(text: str) -> None:
    assert read_reply(text) is None


def test_the_stage_is_the_first_that_remains() -> None:
    for remaining, progress, stage in (
        (("grasp", "lift"), 0.9, 1),
        (("dance", "Lift"), 0.0, 2),
        ((), 1.0, 2),
        (("dance",), 0.3, 1),
        (("<odd>", "lift"), 0.3, 2),
    ):
        reply = read_reply(remaining_text(remaining) + progress_text(progress))
        assert reply is not None
        assert current_stage(reply, TASK) == stage


def test_labels_become_replies() -> None:
    labels = EpisodeLabels(
        progress=np.array([0.0, 0.1, 0.3, 0.3, 0.75, 1.0], np.float32),
        stage=np.array([0, 0, 1, -1, 2, 2]),
        within=np.zeros(6, np.float32),
        done=np.array([False] * 5 + [True]),
    )
    assert reply_parts("progress", TASK, labels, [0, 2]) == (
        "Remaining: grasp; lift\n",
        "<progress>30.00%</progress>",
    )
    assert reply_parts("progress", TASK, labels, [3])[0] == "Remaining: grasp; lift\n"
    assert reply_parts("progress", TASK, labels, [5]) == (
        "Remaining: none\n",
        "<progress>100.00%</progress>",
    )
    assert reply_parts("planning", TASK, labels, [0]) == ("Next: grasp; lift",)
    assert reply_parts("planning", TASK, labels, [5]) == ("Next: none",)
    assert reply_parts("segmentation", TASK, labels, range(6)) == (
        "Actions: reach; reach; grasp; none; lift; none",
    )


@given(NAMES, st.integers(0, 5), st.integers(0, 10_000))
def test_the_grammar_allows_every_reply(stages: list[str], first: int, number: int) -> None:
    grammar = ReplyGrammar(pairs, END, stages, NUMBERS)
    line, value = remaining_text(stages[min(first, len(stages)) :]), progress_text(number / 10_000)
    tokens = [*pairs(line), *pairs(value), END]
    for i, token in enumerate(tokens):
        assert token in grammar.allowed(tokens[:i])
    assert grammar.allowed([*tokens, END]) == [END]
    assert len(tokens) <= grammar.longest
    assert re.fullmatch(pattern(stages), line + value)


@given(NAMES, st.integers(0, 2**32))
def test_whatever_it_chooses_can_be_read(stages: list[str], seed: int) -> None:
    grammar, rng = ReplyGrammar(pairs, END, stages, NUMBERS), np.random.default_rng(seed)
    said: list[int] = []
    while not said or said[-1] != END:
        said.append(int(rng.choice(grammar.allowed(said))))
    text = "".join(chr(t % 70_000) + (chr(t // 70_000) if t >= 70_000 else "") for t in said[:-1])
    reply = read_reply(text)
    assert reply is not None
    assert re.fullmatch(pattern(stages), text)


def test_the_posterior_is_exact_where_choices_are_few() -> None:
    """Three replies, told apart by the first token: the posterior is the probabilities of that token."""
    numbers = Choices([[5, 6], [7, 8], [9, 10]])
    grammar = ReplyGrammar(lambda text: [len(text), 3], END, ["a", "bb"], numbers)
    shares = {0: [0.2, 0.3, 0.5], 2: [0.1, 0.6, 0.3]}
    lines, values = grammar.posterior(
        [*grammar.parts[0]._table[1].tolist(), 7, 8],
        lambda step, tokens: np.array(shares.get(step, [1.0]))[: len(tokens)],
    )
    np.testing.assert_allclose(lines[grammar.parts[0].order], [0.2, 0.3, 0.5])
    np.testing.assert_allclose(values, [0.1, 0.6, 0.3])


def test_the_posterior_sums_to_one() -> None:
    grammar, rng = ReplyGrammar(pairs, END, ["reach", "grasp", "grip"], NUMBERS), np.random.default_rng(0)
    said = [*pairs(remaining_text(["grasp", "grip"])), *pairs(progress_text(0.42))]
    for found in grammar.posterior(said, lambda step, tokens: rng.dirichlet(np.ones(len(tokens)))):
        assert found.sum() == pytest.approx(1)
        assert (found >= 0).all()


@given(st.lists(st.floats(0.01, 0.7), min_size=1, max_size=40), st.floats(0.05, 2))
def test_questions_keep_their_pace(gaps: list[float], every: float) -> None:
    times = np.cumsum([0.0, *gaps])
    asked = asked_frames(times, every)
    assert asked[0] == 0
    assert (np.diff(asked) > 0).all()
    for upto in range(1, len(times)):
        assert asked_frames(times[:upto], every) == [t for t in asked if t < upto]
    waits = np.diff(times[asked])
    assert (waits <= every + max(gaps) + 1e-3).all()


def test_frames_shrink_to_their_longer_side() -> None:
    assert shrink(np.zeros((30, 60, 3), np.uint8), 20).shape == (10, 20, 3)
    assert shrink(np.zeros((30, 60, 3), np.uint8), 60).shape == (30, 60, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "vlm"}, "engine=vlm is unknown"),
        ({"dtype": "int8"}, "dtype=int8"),
        ({"questions": {"weather": 1.0}}, "there is no 'weather'"),
        ({"questions": {"progress": 0.0}}, "positive share"),
        ({"query_s": 0.0}, "must be positive"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ProcvlmConfig(**options)


# -- a real model, small -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_vlm(toy: EpisodeDataset, tiny_vlm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a `procvlm` trained for a few steps on toy episodes."""
    output = tmp_path_factory.mktemp("procvlm") / "run"
    call(
        "train",
        [
            *(f"--dataset.root={toy.root}", f"--output_dir={output}", f"--cache_dir={output}-cache"),
            *("--model.type=procvlm", f"--model.vlm={tiny_vlm}", "--model.query_s=0.5", "--model.window=2"),
            *("--model.learning_rate=0.01", "--model.train_batch=8", "--steps=20", "--validate_every=20"),
        ],
    )
    return output


@pytest.fixture(scope="module")
def model(trained_vlm: Path) -> ProcvlmRewardModel:
    loaded = progress_rm.load_model(trained_vlm)
    assert isinstance(loaded, ProcvlmRewardModel)
    return loaded


def test_training_halves_the_loss(model: ProcvlmRewardModel, toy: EpisodeDataset, tmp_path: Path) -> None:
    fresh = ProcvlmRewardModel(model.config).eval()
    labelled = load_sources([(toy, e) for e in range(4)], FeatureCache(tmp_path, None), model.config)
    data = TrainingData(labelled, model.config.tasks)
    batch = fresh.sample(data, np.random.default_rng(0), 16)
    with torch.no_grad():
        before, after = (float(m(batch)[0]) for m in (fresh, model.eval()))
    assert after < before / 2


def test_labels_follow_what_is_seen(model: ProcvlmRewardModel, toy: EpisodeDataset, tmp_path: Path) -> None:
    """Without features, visual change is read off the frames: in the first stage only the left view moves."""
    from progress_rm.frames import thumbnails

    [episode] = load_sources([(toy, 0)], FeatureCache(tmp_path, None), model.config)
    assert episode.labels is not None
    assert (np.diff(episode.labels.progress) >= 0).all()
    assert (episode.labels.progress[0], episode.labels.progress[-1]) == (0, 1)
    moved = {view: np.abs(np.diff(rows, axis=0)).sum() for view, rows in thumbnails(toy, 0).items()}
    assert set(moved) == {"left", "right"}
    steps = np.diff(episode.labels.progress[: toy.segments(0)[0].end])
    assert steps.std() > 0


def test_a_checkpoint_holds_what_was_learned(model: ProcvlmRewardModel, trained_vlm: Path) -> None:
    assert model.state_dict()
    assert all(".lora_" in name for name in model.state_dict())
    weights = trained_vlm / "best" / "model.safetensors"
    assert weights.stat().st_size < 0.5 * 4 * sum(p.numel() for p in model.vlm.parameters())
    config = json.loads((trained_vlm / "best" / "config.json").read_text())
    assert config["tasks"][0]["stages"] == ["slide", "lift"]
    assert 0 < config["spread"] <= 1


def test_an_ensemble_holds_what_its_members_learned(model: ProcvlmRewardModel) -> None:
    from progress_rm.models.ensemble.modeling_ensemble import EnsembleRewardModel

    ensemble = EnsembleRewardModel.of([model, model])
    weights = ensemble.state_dict()
    assert sum(name.startswith("members.") for name in weights) == 2 * len(model.state_dict())
    ensemble.load_state_dict(weights)
    with pytest.raises(RuntimeError, match="Missing key"):
        ensemble.load_state_dict({name: value for name, value in weights.items() if "members.0" in name})


class Changed:
    """A dataset whose frames after t are noise."""

    def __init__(self, dataset: EpisodeDataset, after: int) -> None:
        self._dataset, self._after = dataset, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def frames(self, episode: int, view: str) -> Any:
        rng = np.random.default_rng(0)
        for t, frame in enumerate(self._dataset.frames(episode, view)):
            yield frame if t <= self._after else rng.integers(0, 255, frame.shape, dtype=np.uint8)


def test_the_future_changes_nothing(model: ProcvlmRewardModel, episode: EpisodeFeatures) -> None:
    before = model.track(episode)
    for t in (0, 7, len(episode) - 2):
        other: Any = Changed(episode.source[0], t)
        after = model.track(replace(episode, source=(other, 1)))
        for field in ("progress", "uncertainty", "success", "stage_probs"):
            np.testing.assert_allclose(
                getattr(after, field)[: t + 1], getattr(before, field)[: t + 1], atol=1e-5
            )
    assert not np.array_equal(
        model.track(replace(episode, source=(Changed(episode.source[0], 0), 1))).uncertainty,
        before.uncertainty,
    )  # type: ignore[arg-type]


def test_live_equals_offline(
    model: ProcvlmRewardModel, episode: EpisodeFeatures, toy: EpisodeDataset, contract: Any
) -> None:
    offline = model.track(episode)
    for stamped in (True, False):
        for t, live in contract.live(model, toy, 1, stamped):
            contract.assert_equal(live, offline, t)


def test_backwards_is_the_video_backwards(model: ProcvlmRewardModel, episode: EpisodeFeatures) -> None:
    frames = list(range(0, len(episode), 3))
    seen = episode.backwards().pixels("left", frames)
    everything = list(episode.source[0].frames(1, "left"))[::-1]
    for t, frame in zip(frames, seen, strict=True):
        np.testing.assert_array_equal(frame, everything[t])
    assert len(model.track(episode.backwards())) == len(episode)


def test_answers_are_answers_in_batches_or_alone(
    model: ProcvlmRewardModel, trained_vlm: Path, episode: EpisodeFeatures
) -> None:
    track = model.track(episode)
    for values in (track.progress, track.uncertainty, track.success):
        assert values.dtype == np.float32
        assert ((values >= 0) & (values <= 1)).all()
    np.testing.assert_allclose(track.stage_probs.sum(1), 1, atol=1e-5)
    alone = progress_rm.load_model(trained_vlm, options=["ask_batch=1"]).track(episode)
    np.testing.assert_allclose(alone.progress, track.progress, atol=1e-4)
    said = progress_rm.load_model(trained_vlm, options=["estimate=said"]).track(episode)
    np.testing.assert_allclose(said.progress * 10_000, np.round(said.progress * 10_000), atol=1e-2)


def test_views_may_be_missing(model: ProcvlmRewardModel) -> None:
    stream = model.stream("slide and lift")
    frame = np.zeros((32, 32, 3), np.uint8)
    for i, frames in enumerate(({"left": frame, "right": frame}, {"right": frame}, {"other": frame})):
        assert 0 <= stream.step(frames, timestamp=float(i)).progress <= 1
    with pytest.raises(UserError, match="no view to look at"):
        stream.step({}, timestamp=9.0)
    with pytest.raises(UserError, match="does not come after"):
        stream.step({"left": frame}, timestamp=1.0)


def test_lerobots_batches_are_answered(model: ProcvlmRewardModel) -> None:
    batch = {
        "observation.images.left": torch.rand(2, 2, 3, 32, 32),
        "observation.images.right": torch.rand(2, 2, 3, 32, 32),
        "task": ["slide and lift"] * 2,
    }
    for rows in (batch, {k: v[:, -1] if isinstance(v, torch.Tensor) else v for k, v in batch.items()}):
        rewards = model.compute_reward(rows)
        assert rewards.shape == (2,)
        assert ((rewards >= 0) & (rewards <= 1)).all()
    with pytest.raises(UserError, match="train it with 'progress-rm train'"):
        model.forward({"observation.images.left": torch.rand(2, 3, 32, 32)})


class Mumbling:
    """An engine that says one half, and sometimes nothing that can be read."""

    def __init__(self, bad: Sequence[int]) -> None:
        self._bad, self._count = set(bad), 0

    def reply(self, questions: Sequence[Any], grammars: Sequence[Any], constrained: bool) -> list[Said]:
        texts = []
        for _ in questions:
            texts.append(
                "er…" if self._count in self._bad else "Remaining: lift\n<progress>50.00%</progress>"
            )
            self._count += 1
        return [Said(text) for text in texts]


def test_what_cannot_be_read_is_counted_and_is_no_number(
    trained_vlm: Path, episode: EpisodeFeatures, caplog: pytest.LogCaptureFixture
) -> None:
    model: Any = progress_rm.load_model(trained_vlm)
    model.engine = Mumbling([2])
    track = model.track(episode)
    assert (track.progress == 0.5).all()
    assert set(track.stage) == {"lift"}
    np.testing.assert_array_equal(track.uncertainty == 1, (np.arange(len(episode)) // 5) == 2)
    assert (model.replies, model.unread) == (len(range(0, len(episode), 5)), 1)
    assert "1 of" in caplog.text
    model.engine = Mumbling([0])
    with pytest.raises(UserError, match="first reply"):
        model.track(episode)
    model.engine = Mumbling([0])
    stream, frame = model.stream(), np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(UserError, match="first reply"):
        stream.step({"left": frame})
    assert stream.step({"left": frame}).progress == 0.5


def test_without_constraints_a_random_model_mumbles(
    trained_vlm: Path, tiny_vlm: Path, model: ProcvlmRewardModel, episode: EpisodeFeatures
) -> None:
    config = replace(model.config, constrained=False, max_new_tokens=8)
    with pytest.raises(UserError, match="constrained decoding"):
        ProcvlmRewardModel(config).track(episode)


def test_scores_and_measures_by_the_usual_verbs(
    trained_vlm: Path, toy: EpisodeDataset, tmp_path: Path
) -> None:
    call(
        "evaluate",
        [
            *(f"--dataset.root={toy.root}", f"--model.path={trained_vlm}", f"--cache_dir={tmp_path}"),
            *(f"--output={tmp_path / 'metrics.json'}", "--model.options=[query_s=2,window=1]"),
        ],
    )
    summary = json.loads((tmp_path / "metrics.json").read_text())["summary"]
    assert 0 <= summary["mse"] < 0.5
    assert summary["voc_reversed"] is not None


def test_a_model_can_be_asked_as_it_is(tiny_vlm: Path, toy: EpisodeDataset, tmp_path: Path) -> None:
    call(
        "train",
        [
            *(f"--dataset.root={toy.root}", f"--output_dir={tmp_path / 'run'}", f"--cache_dir={tmp_path}"),
            *("--model.type=procvlm", f"--model.vlm={tiny_vlm}", "--model.window=1", "--steps=0"),
        ],
    )
    said = progress_rm.load_model(tmp_path / "run").stream().step({"left": np.zeros((32, 32, 3), np.uint8)})
    assert said.stage in ("slide", "lift")


def test_merged_weights_answer_alike(model: ProcvlmRewardModel, toy: EpisodeDataset, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    from progress_rm.models.asking import Question
    from progress_rm.models.procvlm.weights import export_merged

    glimpse = Glimpse(0.0, {"left": next(iter(toy.frames(0, "left")))})
    prompts = model.chat.prompts([Question("slide and lift", 0, [glimpse])], ["progress"])
    with torch.no_grad():
        before = model.vlm(**prompts).logits
        export_merged(model.vlm, model.chat.processor, tmp_path / "merged")
        exported = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
        torch.testing.assert_close(exported(**prompts).logits, before, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(model.vlm(**prompts).logits, before, atol=1e-3, rtol=1e-3)


def test_what_is_missing_is_said(
    tiny_vlm: Path,
    trained_vlm: Path,
    episode: EpisodeFeatures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match=r"engine vllm is not installed"):
        progress_rm.load_model(trained_vlm, options=["engine=vllm"]).track(episode)
    with pytest.raises(UserError, match="no vision-language model can be loaded"):
        ProcvlmRewardModel(ProcvlmConfig(tasks=[TASK], vlm=str(tmp_path)))
    with pytest.raises(UserError, match="knows no task yet"):
        ProcvlmRewardModel(ProcvlmConfig(vlm=str(tiny_vlm)))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"progress-rm\[vlm\]"):
        ProcvlmRewardModel(ProcvlmConfig(tasks=[TASK], vlm=str(tiny_vlm)))


def test_vllm_is_asked_the_same(
    trained_vlm: Path, episode: EpisodeFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for vLLM: the merged model is there, and prompts, pictures and the form of replies are given."""
    asked: list[tuple[Any, Any]] = []

    class LLM:
        def __init__(self, model: str, **options: Any) -> None:
            assert (Path(model) / "model.safetensors").exists()

        def generate(self, prompts: list[Any], options: list[Any]) -> list[Any]:
            asked.extend(zip(prompts, options, strict=True))
            text = "Remaining: slide; lift\n<progress>12.50%</progress>"
            return [SimpleNamespace(outputs=[SimpleNamespace(text=text)]) for _ in prompts]

    vllm, parameters = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    vllm.LLM, vllm.SamplingParams = LLM, lambda **given: SimpleNamespace(**given)  # type: ignore[attr-defined]
    parameters.StructuredOutputsParams = lambda regex: regex  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", parameters)
    model = progress_rm.load_model(trained_vlm, options=["engine=vllm"])
    track = model.track(episode)
    assert (track.progress == np.float32(0.125)).all()
    assert (track.uncertainty == np.float32(model.config.spread)).all()
    prompt, options = asked[-1]
    assert prompt["prompt"].count("<|image_pad|>") == len(prompt["multi_modal_data"]["image"]) == 6
    assert re.fullmatch(options.structured_outputs, "Remaining: none\n<progress>100.00%</progress>")


def test_models_of_another_kind_answer_too(tiny_vlm: Path, tmp_path: Path) -> None:
    """A LLaVA, whose processor and image tokens are unlike Qwen's, replies and learns."""
    from transformers import (
        AutoTokenizer,
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    from progress_rm.models.asking import Question

    words: Any = AutoTokenizer.from_pretrained(tiny_vlm)
    size: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(num_hidden_layers=2, image_size=32, patch_size=8, **size),
        text_config=LlamaConfig(vocab_size=len(words), num_hidden_layers=2, **size),
        image_token_index=words.convert_tokens_to_ids("<|image_pad|>"),
    )
    eye = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = LlavaProcessor(
        eye,
        words,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=(tiny_vlm / "chat_template.jinja").read_text(),
        image_token="<|image_pad|>",
        num_additional_image_tokens=1,
    )
    LlavaForConditionalGeneration(config).save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    model = ProcvlmRewardModel(ProcvlmConfig(tasks=[TASK], vlm=str(tmp_path), lora_rank=4, device="cpu"))
    frame = np.zeros((32, 32, 3), np.uint8)
    glimpses = [Glimpse(float(t), {"left": frame, "right": frame + np.uint8(t)}) for t in range(3)]
    questions = [Question("tidy up", 0, glimpses[:1]), Question("tidy up", 0, glimpses)]
    answers = model.eval().ask(questions)
    assert all(answer is not None and 0 <= answer.progress <= 1 for answer in answers)
    prompts = model.chat.prompts(questions, ["progress", "planning"])
    loss, _ = model.train()(model.chat.with_replies(prompts, [("Remaining: none\n", "100"), ("Next: none",)]))
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
