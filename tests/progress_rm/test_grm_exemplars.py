"""`grm` and the nearest moments of few demonstrations: how both are joined, and that it is the same live as offline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call
from progress_rm.data import EpisodeFeatures, FeatureCache, TrainingData, load_episodes
from progress_rm.models.grm.answers import blended
from progress_rm.models.grm.configuration_grm import GrmConfig
from progress_rm.models.grm.modeling_grm import GrmRewardModel
from progress_rm.models.grm.reconstruct import START, Hop, reconstruct
from progress_rm.stage_filter import StageEstimate

UNIT = st.floats(0, 1)
ASKED = "slide and lift"


@given(UNIT, UNIT, UNIT, st.floats(0, 100))
def test_they_are_joined_as_far_as_they_agree(
    hops: float, theirs: float, share: float, sharpness: float
) -> None:
    rows = [reconstruct(START, Hop(hops, 0.1), Hop(hops, 0.1), Hop(hops - 1, 0.1))] * 2
    near = [StageEstimate(theirs, 0.02, np.ones(1), 0.0), None]
    config = GrmConfig(exemplar_share=share, exemplar_sharpness=sharpness)
    progress, variance = blended(config, rows, near, "forward")
    weight = share * np.exp(-sharpness * (hops - theirs) ** 2)
    assert progress[0] == pytest.approx((1 - weight) * hops + weight * theirs)
    second = (1 - weight) * (hops**2 + 0.1**2) + weight * (theirs**2 + 0.02**2)
    assert variance[0] == pytest.approx(second - progress[0] ** 2, abs=1e-9)
    assert progress[1] == pytest.approx(hops)
    assert variance[1] == pytest.approx(0.1**2)


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match="exemplar_share=2"):
        GrmConfig(exemplar_share=2)
    with pytest.raises(UserError, match="exemplar_sharpness"):
        GrmConfig(exemplar_sharpness=-1)


@pytest.fixture(scope="module")
def few(make_toy: Any, tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    """Two demonstrations, and a third that the model does not see."""
    found: EpisodeDataset = make_toy(tmp_path_factory.mktemp("few") / "data", 2, task=ASKED, seed=4)
    return found


@pytest.fixture(scope="module")
def folder(few: EpisodeDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("model") / "run"
    call(
        "train",
        [
            *(f"--dataset.root={few.root}", f"--output_dir={output}", f"--cache_dir={output}-cache"),
            *("--model.type=grm", "--model.encoder=classical", "--model.hidden=16", "--model.layers=1"),
            *("--steps=4", "--validate_every=4", "--copies=1", "--batch_size=16"),
        ],
    )
    return output


@pytest.fixture(scope="module")
def grm_of_two(tiny_grm: Path) -> GrmRewardModel:
    return read(tiny_grm)


@pytest.fixture(scope="module")
def other(make_toy: Any, tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    found: EpisodeDataset = make_toy(tmp_path_factory.mktemp("other") / "data", 1, task=ASKED, seed=77)
    return found


def read(folder: Path, *options: str) -> GrmRewardModel:
    loaded = progress_rm.load_model(folder, options=list(options))
    assert isinstance(loaded, GrmRewardModel)
    return loaded


def episode_of(model: GrmRewardModel, dataset: EpisodeDataset, cache: Path) -> EpisodeFeatures:
    return load_episodes(dataset, FeatureCache(cache, model.encoder()), episodes=[0])[0]


def test_few_demonstrations_are_remembered_and_asked(
    folder: Path, other: EpisodeDataset, tmp_path: Path
) -> None:
    """After four steps the hops know nothing; where a new episode is among the demonstrations is seen at once."""
    model = read(folder)
    assert model.config.exemplar_rows[0] > 0
    episode = episode_of(model, other, tmp_path)
    truth = other.column("progress", 0).reshape(-1)
    errors = [
        float(
            np.mean(
                (
                    read(folder, f"exemplar_share={share}", "exemplar_sharpness=0").track(episode).progress
                    - truth
                )
                ** 2
            )
        )
        for share in (0, 1)
    ]
    assert errors[1] < 0.02 < errors[0]


def test_live_equals_offline(folder: Path, other: EpisodeDataset, tmp_path: Path, contract: Any) -> None:
    model = read(folder)
    offline = model.track(episode_of(model, other, tmp_path))
    for stamped in (True, False):
        for t, live in contract.live(model, other, 0, stamped):
            contract.assert_equal(live, offline, t)


def test_the_future_changes_nothing(
    folder: Path, other: EpisodeDataset, tmp_path: Path, contract: Any
) -> None:
    model = read(folder)
    episode = episode_of(model, other, tmp_path)
    before = model.track(episode)
    for t, changed in contract.other_futures(episode):
        after = model.track(changed)
        np.testing.assert_allclose(after.progress[: t + 1], before.progress[: t + 1], atol=1e-6)
        assert not contract.same(after, before, len(episode))


def test_views_that_no_demonstration_has_are_not_asked(
    folder: Path, other: EpisodeDataset, tmp_path: Path
) -> None:
    model = read(folder)
    episode = episode_of(model, other, tmp_path)
    unknown = replace(episode, features={"never seen": episode.features["left"]})
    follower = model.neighbours.start(0)
    assert follower.follow(unknown.features, unknown.timestamps) == [None] * len(unknown)
    assert np.isfinite(model.track(unknown).progress).all()
    one = {"left": episode.features["left"]}
    assert all(found is not None for found in follower.follow(one, episode.timestamps))


def test_only_tasks_adapted_to_are_followed(
    tiny_grm: Path, make_toy: Any, two_tasks: list[EpisodeDataset], tmp_path: Path, contract: Any
) -> None:
    """One after the other; what was remembered of the first is there after the second."""
    new = []
    for number, words in enumerate(("bring the green one there", "lift the yellow one")):
        new.append(make_toy(tmp_path / f"new{number}", 1, task=words, seed=90 + number))
        call(
            "adapt",
            [
                f"--model.path={tmp_path / f'run{number - 1}' if number else tiny_grm}",
                *(f"--dataset.root={new[-1].root}", f"--output_dir={tmp_path / f'run{number}'}"),
                *(f"--cache_dir={tmp_path}", "--steps=4", "--copies=2", "--batch_size=16"),
            ],
        )
    model = read(tmp_path / "run1")
    *old, first, second = model.config.exemplar_rows
    assert not any(old)
    assert [first, second] == [3 * demonstration.length(0) for demonstration in new]
    for number, demonstration in enumerate(new):
        episode = episode_of(model, demonstration, tmp_path)
        plain = read(tmp_path / "run1", "exemplar_share=0").track(episode)
        assert not contract.same(model.track(episode), plain, len(episode))
        followed = [
            [
                one.progress
                for one in m.neighbours.start(len(old) + number).follow(episode.features, episode.timestamps)
                if one
            ]
            for m in (read(tmp_path / f"run{number}"), model)
        ]
        assert len(followed[0]) == len(episode)
        np.testing.assert_allclose(followed[0], followed[1], atol=1e-6)
    known = episode_of(model, two_tasks[0], tmp_path)
    assert model.neighbours.start(0).follow(known.features, known.timestamps) == [None] * len(known)


def test_a_demonstration_that_completes_nothing_is_not_remembered(
    grm_of_two: GrmRewardModel, make_toy: Any, tmp_path: Path
) -> None:
    new = make_toy(tmp_path / "new", 1, task="bring the green one there", seed=90)
    episode = episode_of(grm_of_two, new, tmp_path)
    [spec] = grm_of_two.config.learn_tasks([new])
    [labelled] = load_episodes(
        new,
        FeatureCache(tmp_path, grm_of_two.encoder()),
        tasks=[spec],
        scheme="duration_prior",
        use_state=True,
    )
    assert labelled.labels is not None
    nowhere = replace(labelled.labels, within=np.full(len(labelled), np.nan, np.float32))
    data = TrainingData([replace(labelled, labels=nowhere)], [*grm_of_two.config.tasks, spec])
    model = grm_of_two.extended([spec], data)
    model.keep_exemplars(data)
    assert not any(model.config.exemplar_rows)
    assert np.isfinite(model.track(episode).progress).all()
