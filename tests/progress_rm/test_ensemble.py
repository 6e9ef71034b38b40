"""`ensemble`: members are what they would be alone, their mixture is causal, unsure where they disagree, calibrated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call
from progress_rm.data import EpisodeFeatures, FeatureCache, load_episodes
from progress_rm.models.base import ProgressTrack
from progress_rm.models.ensemble.configuration_ensemble import EnsembleConfig
from progress_rm.models.ensemble.encoders import SideBySide
from progress_rm.models.ensemble.modeling_ensemble import EnsembleRewardModel


@pytest.fixture(scope="module")
def ensemble(
    two_tasks: list[EpisodeDataset], tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Output folder of two tiny members with trained encoders, on the data of the fixture `trained`."""
    output = tmp_path_factory.mktemp("ensemble") / "run"
    roots = ",".join(str(dataset.root) for dataset in two_tasks)
    options = [f"--dataset.root=[{roots}]", f"--output_dir={output}", f"--cache_dir={output}-cache"]
    call("train", [*options, "--ensemble=2", *tiny])
    return output


@pytest.fixture(scope="module")
def model(ensemble: Path) -> EnsembleRewardModel:
    """The two together, loaded."""
    loaded = progress_rm.load_model(ensemble)
    assert isinstance(loaded, EnsembleRewardModel)
    return loaded


@pytest.fixture(scope="module")
def episodes(
    model: EnsembleRewardModel, two_tasks: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory
) -> list[EpisodeFeatures]:
    """The first task's episodes."""
    return load_episodes(two_tasks[0], FeatureCache(tmp_path_factory.mktemp("cache"), model.encoder()))


def test_a_member_is_what_it_would_be_alone(ensemble: Path, trained: Path) -> None:
    alone, first, second = (
        (folder / "best" / "model.safetensors").read_bytes()
        for folder in (trained, ensemble / "members" / "0", ensemble / "members" / "1")
    )
    assert first == alone
    assert second != alone
    summary = json.loads((ensemble / "training.json").read_text())
    assert len(summary["members_validation_mse"]) == 2
    assert summary["validation_mse"] is not None


def test_answers_are_those_of_the_members_together(
    model: EnsembleRewardModel,
    episodes: list[EpisodeFeatures],
    two_tasks: list[EpisodeDataset],
    tmp_path: Path,
) -> None:
    together = model.track(episodes[1])
    alone, weights = [], []
    for member, familiar in zip(model.members, model.familiarity, strict=True):
        cache = FeatureCache(tmp_path, member.encoder())  # type: ignore[operator]
        [seen] = load_episodes(two_tasks[0], cache, episodes=[1])
        alone.append(member.track(seen))  # type: ignore[operator]
        weights.append(familiar.weight(seen.features, len(seen)))  # type: ignore[operator]
    progress, shares = np.stack([track.progress for track in alone]), np.stack(weights) / np.sum(weights, 0)
    mean = (shares * progress).sum(0)
    np.testing.assert_allclose(together.progress, mean, atol=1e-6)
    assert progress.var(0).max() > 1e-6
    variance = (shares * ([t.uncertainty**2 for t in alone] + (progress - mean) ** 2)).sum(0)
    expected = model.config.uncertainty_scale * np.sqrt(variance)
    np.testing.assert_allclose(together.uncertainty, np.clip(expected, 0, 1), atol=1e-5)


def test_no_later_frame_changes_an_answer(
    model: EnsembleRewardModel, episodes: list[EpisodeFeatures], contract
) -> None:
    before = model.track(episodes[0])
    for t, changed in contract.other_futures(episodes[0]):
        assert contract.same(before, model.track(changed), t + 1)


def test_live_equals_offline(
    model: EnsembleRewardModel, episodes: list[EpisodeFeatures], two_tasks: list[EpisodeDataset], contract
) -> None:
    offline = model.track(episodes[0])
    for t, live in contract.live(model, two_tasks[0], 0, stamped=True):
        contract.assert_equal(live, offline, t)


@pytest.fixture(scope="module")
def joined(
    two_tasks: list[EpisodeDataset], trained: Path, tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Output folder of the fixture `trained`, a model with another encoder, and a clock, as one."""
    home = tmp_path_factory.mktemp("joined")
    shared = [f"--dataset.root=[{','.join(str(d.root) for d in two_tasks)}]", f"--cache_dir={home / 'cache'}"]
    call("train", [*shared, *tiny, "--model.encoder=classical", f"--output_dir={home / 'classical'}"])
    call("train", [*shared, "--model.type=clock", f"--output_dir={home / 'clock'}"])
    members = f"--members=[{trained},{home / 'classical'},{home / 'clock'}]"
    call("train", [*shared, members, f"--output_dir={home / 'run'}"])
    return home / "run"


def test_trained_models_of_any_kind_are_made_one(
    joined: Path, two_tasks: list[EpisodeDataset], tmp_path: Path, contract
) -> None:
    model = progress_rm.load_model(joined)
    assert isinstance(model, EnsembleRewardModel)
    assert [member["type"] for member in model.config.members] == [
        "multiview_sarm",
        "multiview_sarm",
        "clock",
    ]
    assert model.config.views == ["left", "right"]
    episodes = load_episodes(two_tasks[0], FeatureCache(tmp_path, model.encoder()))
    offline = model.track(episodes[0])
    for t, changed in contract.other_futures(episodes[0]):
        assert contract.same(offline, model.track(changed), t + 1)
    for t, live in contract.live(model, two_tasks[0], 0, stamped=True):
        contract.assert_equal(live, offline, t)
    seen = [model._encoders.seen_by(i, episodes[0]) for i in range(3)]
    progress = [m.track(one).progress for m, one in zip(model.members, seen, strict=True)]  # type: ignore[operator]
    weights = np.stack(
        [f.weight(e.features, len(e)) for f, e in zip(model.familiarity, seen, strict=True)]  # type: ignore[operator]
    )
    assert np.all(weights[2] == 1)
    expected = (weights * progress).sum(0) / weights.sum(0)
    np.testing.assert_allclose(offline.progress, expected, atol=1e-6)
    summary = json.loads((joined / "training.json").read_text())
    assert summary["validation_mse"] > 0


def test_models_that_do_not_belong_together_are_refused(
    trained: Path, two_tasks: list[EpisodeDataset], toy: EpisodeDataset, tmp_path: Path
) -> None:
    roots = f"--dataset.root=[{','.join(str(d.root) for d in two_tasks)}]"
    other = tmp_path / "other"
    call("train", [f"--dataset.root={toy.root}", "--model.type=clock", f"--output_dir={other}"])
    seeded = tmp_path / "seeded"
    call("train", [roots, "--model.type=clock", "--seed=1", f"--output_dir={seeded}"])
    for members, said in (
        ([trained], "two trained models or more"),
        ([trained, other], "knows other tasks"),
        ([trained, seeded], "was trained with --seed=1"),
        ([trained, tmp_path / "nowhere"], "there is no trained reward model"),
    ):
        words = ",".join(map(str, members))
        with pytest.raises(UserError, match=said):
            call("train", [roots, f"--members=[{words}]", f"--output_dir={tmp_path / 'run'}"])
    with pytest.raises(UserError, match="either"):
        call("train", [roots, "--ensemble=2", f"--members=[{trained},{trained}]", f"--output_dir={tmp_path}"])


class Says:
    """A member that always says the same."""

    def __init__(self, progress: float, success: float) -> None:
        self.answer = (progress, success)

    def track(self, length: int) -> ProgressTrack:
        progress, success = (np.full(length, value, np.float32) for value in self.answer)
        return ProgressTrack(["one"], progress, np.ones((length, 1), np.float32), 0.1 + 0 * progress, success)


def test_disagreement_is_uncertainty(model: EnsembleRewardModel) -> None:
    plain = replace(
        model.config, uncertainty_scale=1.0, success_scale=1.0, success_offset=0.0, success_levels=[]
    )
    before, model.config = model.config, plain
    try:
        one, other = Says(0.2, 0.1), Says(0.8, 0.9)
        alike = model._together(0, [one.track(3), one.track(3)], [{}, {}])
        apart = model._together(0, [one.track(3), other.track(3)], [{}, {}])
    finally:
        model.config = before
    np.testing.assert_allclose(alike.uncertainty, 0.1, atol=1e-6)
    np.testing.assert_allclose(apart.uncertainty, np.hypot(0.1, 0.3), atol=1e-6)
    np.testing.assert_allclose(apart.progress, 0.5, atol=1e-6)
    np.testing.assert_allclose(apart.success, 0.5, atol=1e-6)


def test_a_member_that_never_saw_the_like_says_little(model: EnsembleRewardModel) -> None:
    view = model.config.members[0]["views"][0]
    first, second = (f.mean[:1].half().numpy().repeat(3, 0) for f in model.familiarity)  # type: ignore[index, operator]
    tracks = [Says(0.2, 0.1).track(3), Says(0.8, 0.9).track(3)]
    familiar = model._together(0, tracks, [{view: first}, {view: second}])
    strange = model._together(0, tracks, [{view: first + 50}, {view: second}])
    np.testing.assert_allclose(familiar.progress, 0.5, atol=0.01)
    assert np.all(strange.progress > 0.7)
    assert np.all(strange.uncertainty < familiar.uncertainty)


def test_deviations_are_as_large_as_errors_where_it_was_calibrated(
    ensemble: Path, episodes: list[EpisodeFeatures]
) -> None:
    model = progress_rm.load_model(ensemble)
    model.config.uncertainty_scale = 7.0
    spec = model.config.tasks[0]
    labelled = []
    for episode in episodes:
        truth = np.linspace(0, 1, len(episode), dtype=np.float32)
        from progress_rm.labels import EpisodeLabels

        nothing = np.zeros(len(episode), np.int64)
        labels = EpisodeLabels(
            **{
                field: {"progress": truth, "done": truth > 0.9}.get(field, nothing)
                for field in EpisodeLabels.__dataclass_fields__
            }
        )
        labelled.append(replace(episode, labels=labels, task=spec.instruction))
    model.calibrate(labelled)
    tracks = [model.track(episode) for episode in labelled]
    error = np.concatenate([t.progress - e.labels.progress for t, e in zip(tracks, labelled, strict=True)])
    stated = np.concatenate([track.uncertainty for track in tracks])
    assert np.sqrt(np.mean(stated**2)) == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.1)


def test_encoders_with_the_same_key_are_asked_once() -> None:
    class Counting:
        name, dim, asked = "counting", 2, 0

        def __init__(self, key: str) -> None:
            self.key = key

        def encode(self, frames: np.ndarray) -> np.ndarray:
            Counting.asked += 1
            return np.full((len(frames), 2), float(self.key), np.float32)

    together = SideBySide([Counting("1"), Counting("2"), Counting("1"), None])
    rows = together.encode(np.zeros((3, 4, 4, 3), np.uint8))
    assert (together.dim, rows.shape, Counting.asked) == (4, (3, 4), 2)
    episode = EpisodeFeatures(
        **{
            "features": {"front": rows.astype(np.float16)},
            **dict.fromkeys(set(EpisodeFeatures.__dataclass_fields__) - {"features"}),
        }
    )
    for member, value in enumerate((1, 2, 1)):
        np.testing.assert_array_equal(
            together.seen_by(member, episode).features["front"], np.full((3, 2), value)
        )
    assert together.seen_by(3, episode).features == {}


def test_mistakes_are_named(toy: EpisodeDataset, tmp_path: Path) -> None:
    options = [f"--dataset.root={toy.root}", f"--output_dir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="at least 1"):
        call("train", [*options, "--ensemble=0"])
    with pytest.raises(UserError, match="name the members' family"):
        call("train", [*options, "--model.type=ensemble"])
    with pytest.raises(UserError, match="no members yet"):
        EnsembleRewardModel(EnsembleConfig(device="cpu"))


def test_goes_on_after_a_kill(
    toy: EpisodeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from progress_rm import train

    options = [f"--dataset.root={toy.root}", f"--output_dir={tmp_path / 'run'}", "--ensemble=2"]
    options += ["--model.type=clock"]
    fit, count = train._fit, []

    def dies(*given):  # type: ignore[no-untyped-def]
        count.append(given)
        if len(count) == 2:
            raise KeyboardInterrupt
        return fit(*given)

    monkeypatch.setattr(train, "_fit", dies)
    with pytest.raises(KeyboardInterrupt):
        call("train", options)
    call("train", options)
    assert len(count) == 3
    loaded = progress_rm.load_model(tmp_path / "run")
    [episode] = load_episodes(toy, FeatureCache(tmp_path, None), episodes=[0])
    track = loaded.track(episode)
    np.testing.assert_allclose(
        track.progress, np.clip(episode.timestamps / loaded.config.tasks[0].length_s, 0, 1), atol=1e-6
    )
    live = loaded.stream()
    assert [live.step({}, timestamp=t).progress for t in episode.timestamps] == pytest.approx(track.progress)
