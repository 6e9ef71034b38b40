"""Instructions that differ in colours alone are one task, in exchanged colours."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from progress_datasets.segments import Outcome, StageSegment
from progress_datasets.write import EpisodeData, write_dataset
from progress_rm.cli import call
from progress_rm.colours import (
    COLOURS,
    Exchange,
    colours_of,
    exchange_between,
    exchange_colours,
    shares_of_colours,
    without_colours,
)
from progress_rm.data import FeatureCache, TrainingData, learn_tasks, load_episodes
from progress_rm.frames import FrameCache
from progress_rm.models import FAMILIES, MultiviewSarmConfig
from progress_rm.models.base import ProgressRewardModel, TaskSpec
from progress_rm.models.multiview_sarm.sampling import sample_frames
from progress_rm.models.wordings import wording_in_other_colours
from progress_rm.recoloured import as_known, in_wrong_colours, with_one_wording
from progress_rm.scores import read_scores
from progress_rm.trainer import load_mismatched, load_sources

ORDER = "Press the {}, then the {} button."


def plain(name: str, light: float = 1.0) -> np.ndarray:
    return (np.full((1, 4, 5, 3), COLOURS[name]) * light).astype(np.uint8)


def swap(a: str, b: str) -> Exchange:
    return Exchange("", ((a, b), (b, a)))


def test_instructions_are_alike_but_for_their_colours() -> None:
    assert colours_of("Red on blue, RED on green") == ("red", "blue", "green")
    assert without_colours(ORDER.format("red", "blue")) == without_colours(ORDER.format("Green", "red"))
    assert without_colours("red on red") != without_colours("red on blue")
    assert colours_of("the redder, the greenhouse, bored") == ()


def test_no_colour_gets_lost() -> None:
    same = exchange_between(ORDER.format("blue", "red"), ORDER.format("red", "blue"))
    assert same == Exchange(ORDER.format("red", "blue"), (("blue", "red"), ("red", "blue")))
    other = exchange_between(ORDER.format("yellow", "red"), ORDER.format("red", "blue"))
    assert dict(other.colours) == {"yellow": "red", "red": "blue", "blue": "yellow"}


@given(st.permutations(sorted(COLOURS)), st.permutations(sorted(COLOURS)), st.integers(1, 6))
def test_an_exchange_is_a_permutation(given_: list[str], known: list[str], named: int) -> None:
    text = " ".join(["{}"] * named)
    exchange = exchange_between(text.format(*given_[:named]), text.format(*known[:named]))
    befores, afters = {a for a, _ in exchange.colours}, {b for _, b in exchange.colours}
    assert befores == afters
    moved = dict(exchange.colours)
    assert [moved.get(colour, colour) for colour in given_[:named]] == known[:named]


@pytest.mark.parametrize(
    ("instruction", "known"),
    [
        (ORDER.format("red", "blue"), [ORDER.format("red", "blue"), ORDER.format("blue", "red")]),
        (ORDER.format("green", "blue"), [ORDER.format("red", "blue"), ORDER.format("blue", "red")]),
        ("Press the green button.", ["Push the red button."]),
        ("Press the button.", ["Press the red button."]),
        (None, ["Press the red button."]),
    ],
)
def test_what_is_known_or_not_known_by_just_one_wording_is_not_exchanged(
    instruction: str | None, known: list[str]
) -> None:
    tasks = [TaskSpec(other, ["press"], [1.0], [1.0], 1.0) for other in known]
    assert wording_in_other_colours(instruction, tasks) is None


@pytest.mark.parametrize("before", COLOURS)
@pytest.mark.parametrize("after", COLOURS)
def test_one_colour_becomes_the_other(before: str, after: str) -> None:
    np.testing.assert_allclose(exchange_colours(plain(before), swap(before, after)), plain(after), atol=8)
    assert shares_of_colours(plain(before)[0]) == {name: float(name == before) for name in COLOURS}


@given(st.integers(0, 235), st.integers(0, 2**32 - 1))
def test_greys_and_colours_not_named_are_kept_to_the_bit(grey: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = np.full((2, 6, 7, 3), grey, np.uint8) + rng.integers(0, 20, (2, 6, 7, 1)).astype(np.uint8)
    frames[:, 2:4] = COLOURS["orange"]
    np.testing.assert_array_equal(exchange_colours(frames, swap("red", "blue")), frames)


@given(st.floats(0.2, 1.0), st.sampled_from([("red", "blue"), ("green", "yellow"), ("blue", "green")]))
def test_shades_stay_shades_and_exchanging_back_restores(light: float, pair: tuple[str, str]) -> None:
    there = exchange_colours(plain(pair[0], light), swap(*pair))
    np.testing.assert_allclose(there, plain(pair[1], light), atol=14)
    np.testing.assert_allclose(exchange_colours(there, swap(*pair)), plain(pair[0], light), atol=14)


PUSH = "push the {} one along"


PAIRS = [("red", "blue"), ("blue", "red")]


def pushing(seed: int, colour: str, stage: str = "push", shown: str = "", beside: str = "") -> EpisodeData:
    """A square slides from left to right in two views; another one lies beside it."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(18, 26))
    frames = np.full((length, 32, 32, 3), 40, np.uint8) + rng.integers(0, 12, (length, 32, 32, 3), np.uint8)
    for t in range(length):
        left = int(t / (length - 1) * 24)
        frames[t, 16:24, left : left + 8] = COLOURS[shown or colour] if shown != "grey" else 128
    frames[:, 2:8, 2:8] = COLOURS[beside or "purple"]
    return EpisodeData(
        task=PUSH.format(colour),
        frames={"left": frames, "right": frames},
        state=np.zeros((length, 2), np.float32),
        action=np.zeros((length, 2), np.float32),
        segments=[StageSegment(stage, 0, length, Outcome.SUCCESS)],
    )


def dataset_of(root: Path, *episodes: EpisodeData) -> EpisodeDataset:
    return write_dataset(root, 10, episodes)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    """Three red and three blue ones."""
    folder = tmp_path_factory.mktemp("mixed")
    return dataset_of(folder / "data", *(pushing(i, ("red", "blue")[i % 2]) for i in range(6)))


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    """A colour that nobody demonstrated."""
    return dataset_of(tmp_path_factory.mktemp("green") / "data", pushing(10, "green"), pushing(11, "red"))


def test_wordings_become_one_and_show_its_colours(mixed: EpisodeDataset) -> None:
    [one] = with_one_wording([mixed])
    assert one.tasks == (PUSH.format("red"),)
    assert mixed.tasks == (PUSH.format("red"), PUSH.format("blue"))
    assert one.stage_order(PUSH.format("red")) == ("push",)
    assert one.fingerprint != mixed.fingerprint
    for episode in range(6):
        assert one.task(episode) == PUSH.format("red")
        assert one.segments(episode) == mixed.segments(episode)
        seen, recorded = (np.stack(list(d.frames(episode, "left"))) for d in (one, mixed))
        assert all(shares_of_colours(frame)["red"] > 0.05 for frame in seen)
        np.testing.assert_array_equal(seen[:, 3:7, 3:7], recorded[:, 3:7, 3:7])
        if episode % 2 == 0:
            np.testing.assert_array_equal(seen, recorded)


def test_wordings_of_different_stages_stay(tmp_path: Path) -> None:
    data = dataset_of(tmp_path / "data", pushing(0, "red", "push red"), pushing(1, "blue", "push blue"))
    assert with_one_wording([data]) == [data]


def test_wordings_stay_whose_stages_name_colours(tmp_path: Path) -> None:
    """What picks the blue cube up is no example of "pick red cube"."""
    data = dataset_of(tmp_path / "data", pushing(0, "red", "push red"), pushing(1, "blue", "push red"))
    assert with_one_wording([data]) == [data]
    tasks = learn_tasks([data], "duration_prior")[:1]
    assert MultiviewSarmConfig(tasks=tasks).exchange_for(PUSH.format("blue")) is None


def test_wordings_whose_colours_are_not_seen_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dataset_of(tmp_path / "data", pushing(0, "red"), pushing(1, "blue", shown="grey"))
    assert with_one_wording([data]) == [data]
    assert "50% of their episodes begin with all of these in sight" in capsys.readouterr().out


def test_wordings_in_different_datasets_become_one(tmp_path: Path) -> None:
    datasets = [dataset_of(tmp_path / c, pushing(0, c), pushing(1, c)) for c in ("red", "blue")]
    assert [d.tasks for d in with_one_wording(datasets)] == [(PUSH.format("red"),)] * 2


def test_a_single_wording_stays(green: EpisodeDataset, tmp_path: Path) -> None:
    data = dataset_of(tmp_path / "data", pushing(0, "red"))
    assert with_one_wording([data]) == [data]


def train(dataset: EpisodeDataset, output: Path, *options: str) -> ProgressRewardModel:
    call("train", [f"--dataset.root={dataset.root}", f"--output_dir={output}", *options])
    return progress_rm.load_model(output)


@pytest.fixture(scope="module")
def model(mixed: EpisodeDataset, tiny: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train(mixed, tmp_path_factory.mktemp("model") / "out", *tiny)


@pytest.fixture(scope="module")
def others(
    mixed: EpisodeDataset, tiny: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Models of other families, and an ensemble."""
    folder = tmp_path_factory.mktemp("others")
    small = ["--steps=2", "--batch_size=8", "--validate_every=2"]
    return {
        "ensemble": train(mixed, folder / "ensemble", *tiny, "--ensemble=2"),
        "sarm2": train(mixed, folder / "sarm2", *small, "--model.type=sarm2", "--model.encoder=classical"),
        "grm": train(mixed, folder / "grm", *small, "--model.type=grm", "--model.encoder=classical"),
        "perceptual": train(mixed, folder / "perceptual", "--model.type=perceptual"),
    }


def test_the_model_knows_one_task_and_finds_it_in_any_colour(model: Any) -> None:
    assert [task.instruction for task in model.config.tasks] == [PUSH.format("red")]
    assert model.config.find_task(PUSH.format("green")) == 0
    assert dict(model.config.exchange_for(PUSH.format("green")).colours) == {"green": "red", "red": "green"}


@pytest.mark.parametrize("family", ["multiview_sarm", "ensemble", "sarm2", "grm", "perceptual"])
def test_live_answers_are_those_of_scores_in_any_colour(
    model: Any, others: dict[str, Any], family: str, green: EpisodeDataset, tmp_path: Path
) -> None:
    asked = {"multiview_sarm": model, **others}[family]
    known = as_known(green, asked.config.exchange_for)
    features = FeatureCache(tmp_path, asked.encoder())
    [episode] = load_episodes(known, features, episodes=[0], views=asked.config.views)
    track = asked.track(episode)
    stream = asked.stream(green.task(0))
    left, right = (green.frames(0, view) for view in ("left", "right"))
    shown = zip(left, right, green.column("observation.state", 0), strict=True)
    live = [stream.step({"left": a, "right": b}, s) for a, b, s in shown]
    np.testing.assert_allclose([e.progress for e in live], track.progress, atol=5e-3)
    np.testing.assert_allclose([e.success for e in live], track.success, atol=5e-3)


def test_scores_keep_the_instruction_as_it_was_put(model: Any, green: EpisodeDataset, tmp_path: Path) -> None:
    from progress_rm.score import score_dataset

    file = score_dataset(model, green, tmp_path / "scores.parquet", cache=tmp_path / "cache")
    scores = read_scores(file, green)
    assert set(scores.tasks) == {PUSH.format("green"), PUSH.format("red")}


def test_frames_in_the_recorded_colours_are_refused(
    model: Any, green: EpisodeDataset, tmp_path: Path
) -> None:
    [episode] = load_episodes(green, FeatureCache(tmp_path, model.encoder()), episodes=[0])
    with pytest.raises(UserError, match="not read in those colours"):
        model.track(episode)


@pytest.mark.parametrize("family", ["multiview_sarm", "perceptual"])
def test_a_batch_of_lerobots_is_seen_in_the_known_colours(
    model: Any, others: dict[str, Any], family: str
) -> None:
    asked = {"multiview_sarm": model, **others}[family]
    pixels = np.stack([pushing(20, "green").frames["left"][9], pushing(20, "red").frames["left"][9]])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    batch = {
        "observation.images.left": images,
        "observation.images.right": images,
        "observation.state": torch.zeros(2, 2),
        "task": [PUSH.format("green"), PUSH.format("red")],
    }
    in_green, in_red = asked.compute_reward(batch).tolist()
    assert in_green == pytest.approx(in_red, abs=0.02)


def test_as_seen_every_wording_is_one_of_its_own(
    mixed: EpisodeDataset, green: EpisodeDataset, tiny: Sequence[str], tmp_path: Path
) -> None:
    plain_model = train(mixed, tmp_path / "out", *tiny, "--model.exchange_colours=false", "--steps=2")
    assert len(plain_model.config.tasks) == 2
    assert plain_model.config.exchange_for(PUSH.format("green")) is None
    assert as_known(green, plain_model.config.exchange_for) is green


def test_wrong_colours_show_what_was_not_asked_for(mixed: EpisodeDataset) -> None:
    [one] = with_one_wording([mixed])
    wrong = in_wrong_colours([(one, e) for e in range(5)], 0)
    assert [episode for _, episode in wrong] == [0, 1, 2, 3, 4]
    assert len({dataset.fingerprint for dataset in (mixed, one, wrong[0][0])}) == 3
    for dataset, episode in wrong:
        assert dataset.task(episode) == PUSH.format("red")
        assert all(shares_of_colours(frame)["blue"] > 0.05 for frame in dataset.frames(episode, "left"))
    assert in_wrong_colours([(mixed, 0)], 0) == []


def test_a_share_of_what_is_learned_from_is_mismatched(mixed: EpisodeDataset, tmp_path: Path) -> None:
    [one] = with_one_wording([mixed])
    sources = [(one, episode) for episode in range(6)]
    tasks = learn_tasks([one], "duration_prior")
    config = MultiviewSarmConfig(
        tasks=tasks, views=["left", "right"], image_size=32, state_dim=2, wrong_instruction=0.5, fps=10
    )
    nothing = FeatureCache(tmp_path, None)
    data = TrainingData(
        load_sources(sources, nothing, config), tasks, load_mismatched(sources, nothing, config, 0)
    )
    assert [e.labels for e in data.mismatched] == [None] * 6
    frames = FrameCache(tmp_path / "frames", 32)
    frames.fill([e.source for e in (*data.episodes, *data.mismatched)], config.views)
    batch = sample_frames(config, data, frames, np.random.default_rng(0), 200)
    assert 0.15 < 1 - batch["match"].float().mean() < 0.35
    for picture, match in zip(batch["frames"][:, 0, 0].numpy(), batch["match"].tolist(), strict=True):
        shown = shares_of_colours(picture)
        assert (shown["red"] > shown["blue"]) == match
    assert (batch["stage"][~batch["match"]] == -1).all()


def test_what_is_done_to_another_colour_is_no_progress(tmp_path: Path) -> None:
    both = [pushing(i, colour, beside=other) for i, (colour, other) in enumerate(PAIRS * 5)]
    data = dataset_of(tmp_path / "data", *both)
    model = train(data, tmp_path / "out", "--steps=150", "--model.encoder=classical", "--model.hidden=32")
    test = dataset_of(tmp_path / "test", pushing(40, "blue", beside="red"))
    left, right = (list(test.frames(0, view)) for view in ("left", "right"))
    reached = {}
    for colour in ("blue", "red"):
        stream = model.stream(PUSH.format(colour))
        for a, b in zip(left, right, strict=True):
            estimate = stream.step({"left": a, "right": b}, np.zeros(2, np.float32))
        reached[colour] = estimate.progress
    assert reached["blue"] > 0.7
    assert reached["red"] < reached["blue"] - 0.3


def test_only_families_that_learn_from_features_exchange_colours() -> None:
    able = {name for name, config in FAMILIES.items() if getattr(config, "exchange_colours", False)}
    assert able == {"multiview_sarm", "sarm2", "grm", "perceptual"}


def test_another_colour_of_a_known_task_is_no_new_task(
    others: dict[str, Any], mixed: EpisodeDataset, tmp_path: Path
) -> None:
    others["grm"].save_pretrained(tmp_path / "grm")
    root = dataset_of(tmp_path / "data", pushing(0, "green")).root
    with pytest.raises(UserError, match="already, as 'push the red one along' in other colours"):
        call(
            "adapt",
            [
                f"--model.path={tmp_path / 'grm'}",
                f"--dataset.root={root}",
                f"--output_dir={tmp_path / 'new'}",
            ],
        )


def test_members_are_joined_on_the_episodes_they_know(
    mixed: EpisodeDataset, tiny: Sequence[str], tmp_path: Path
) -> None:
    for name, seed in (("a", "0"), ("b", "0")):
        train(mixed, tmp_path / name, *tiny, "--steps=2", f"--seed={seed}")
    call(
        "train",
        [
            f"--members=[{tmp_path / 'a'},{tmp_path / 'b'}]",
            *(f"--dataset.root={mixed.root}", f"--output_dir={tmp_path / 'both'}"),
        ],
    )
    summary = json.loads((tmp_path / "both" / "training.json").read_text())
    assert summary["validation_episodes"] == 1
    assert progress_rm.load_model(tmp_path / "both").config.exchange_colours
