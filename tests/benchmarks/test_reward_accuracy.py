"""The accuracy benchmark: every judged model on toy episodes, LeRobot's SARM on shared features, a run and its page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment
from progress_datasets.write import EpisodeData, write_dataset

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = ("PickPlace", "TidyTable")
STAGES = ["slide", "lift"]


@pytest.fixture(scope="module")
def bench(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("reward_accuracy")


def toy(seed: int, task: str, quality: str) -> EpisodeData:
    """A square slides in one view, then another rises in the other; the demonstrator may stop early."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(10, 16, 2)
    x = np.concatenate([np.linspace(0, 1, first, endpoint=False), np.ones(second)])
    y = np.concatenate([np.zeros(first), np.linspace(0, 1, second)])
    whole = quality == "expert"
    if not whole:
        x, y = x[: first + 4], y[: first + 4]
    length = len(x)
    frames = {view: np.full((length, 32, 32, 3), 40, np.uint8) for view in ("left", "right")}
    for t in range(length):
        left, top = int(x[t] * 24), int((1 - y[t]) * 24)
        frames["left"][t, 12:20, left : left + 8, 0] = 250
        frames["right"][t, top : top + 8, 12:20, 0] = 250
    return EpisodeData(
        task=f"do {task}",
        frames=frames,
        state=np.stack([x + y, rng.normal(size=length)], 1).astype(np.float32),
        action=np.zeros((length, 2), np.float32),
        extra={"progress": ((x + y) / 2).astype(np.float32)},
        segments=[
            StageSegment("slide", 0, int(first), Outcome.SUCCESS),
            StageSegment("lift", int(first), length, Outcome.SUCCESS if whole else Outcome.PARTIAL),
        ],
        info={"quality": quality, "outcome": "success" if whole else "partial"},
    )


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[EpisodeDataset]]:
    """Two tasks in every set."""
    root = tmp_path_factory.mktemp("judge")
    kinds = {"train": ("expert", "failing"), "test": ("expert", "fooling"), "policy": ("policy",)}
    kinds["shifted"] = kinds["test"]
    found: dict[str, list[EpisodeDataset]] = {}
    for number, (group, qualities) in enumerate(kinds.items()):
        for task in NAMES:
            episodes = [
                toy(100 * number + i, task, qualities[i % len(qualities)])
                for i in range(10 if group == "train" else 4)
            ]
            data = write_dataset(root / group / task, 10, episodes, video=False, stage_order=STAGES)
            found.setdefault(group, []).append(data)
    return found


@pytest.fixture(scope="module")
def material(
    bench: ModuleType, datasets: dict[str, list[EpisodeDataset]], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    root = tmp_path_factory.mktemp("material")
    return bench.prepare(datasets["train"], "small_cnn", 0, 8, root / "encoder", root / "cache", 32)


@pytest.fixture(autouse=True)
def first_options_only(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tuning along every axis takes its time; here the first candidates do, in a small SARM."""
    from judge.models.goal_distance import GoalDistance
    from judge.models.lerobot_classifier import LerobotClassifier
    from judge.models.lerobot_sarm import LerobotSarm
    from judge.models.rewind import Rewind

    for kind in (GoalDistance, LerobotClassifier, Rewind):
        monkeypatch.setattr(kind, "axes", {name: values[:1] for name, values in kind.axes.items()})
    monkeypatch.setattr(GoalDistance, "axes", {**GoalDistance.axes, "embedding": ["shared", "vip"]})
    axes = {
        "gap_s": [0.3],
        "learning_rate": [1e-3],
        "views": ["all"],
        "episodes": ["all"],
        "size": [[32, 1, 2]],
    }
    monkeypatch.setattr(LerobotSarm, "axes", axes)


def budget() -> Any:
    from judge.adapter import Budget

    return Budget(samples=256, checks=2)


@pytest.mark.parametrize(
    "name",
    [
        "multiview_sarm",
        "lerobot_sarm",
        "lerobot_sarm_causal",
        "reward_classifier",
        "goal_distance",
        "rewind",
        "clock",
        "clock_hindsight",
        "grm",
        "grm:forward",
        "grm:no_state",
        "multiview_sarm:no_stages",
        "multiview_sarm:equal_budget",
        "multiview_sarm:no_state",
        "sarm2",
        "sarm2:no_estimator",
        "sarm2:multiview_sarm",
    ],
)
def test_a_model_trains_answers_and_is_kept(
    bench: ModuleType, material: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers = {**bench.ADAPTERS, **bench.ABLATION}
    episode = material.validation[0]
    answers = []
    for attempt in range(2):
        if attempt:
            # What was trained is loaded: no second training.
            monkeypatch.setattr(torch.optim.AdamW, "step", None)
        adapter = makers[name]()
        adapter.train(material, budget(), 0, tmp_path / "model", tmp_path / "choices")
        answers.append(adapter.track(episode))
    first, second = answers
    for field in ("progress", "success", "uncertainty"):
        values = getattr(first, field)
        assert values.shape == (len(episode),), field
        assert ((values >= 0) & (values <= 1)).all(), field
        np.testing.assert_allclose(values, getattr(second, field), atol=1e-6)
    assert set(first.stage) <= set(STAGES)
    assert adapter.name == name
    assert adapter.about.endswith(".")


def sarm(bench: ModuleType, material: Any, folder: Path, reading: str) -> tuple[Any, Any]:
    from judge.models.lerobot_sarm import LerobotSarm

    adapter = LerobotSarm()
    options = {name: values[0] for name, values in adapter.axes.items()}
    part = material.of_kind(NAMES[0])
    return adapter, replace(adapter.fit_task(part, options, budget(), 0, folder), reading=reading)


def test_lerobots_sarm_is_its_own_and_learns(bench: ModuleType, material: Any, tmp_path: Path) -> None:
    from judge.adapter import mean_error
    from lerobot.rewards.sarm.modeling_sarm import SARMRewardModel

    adapter, model = sarm(bench, material, tmp_path, "as_shipped")
    assert type(model.network) is SARMRewardModel
    part = material.of_kind(NAMES[0])
    before = replace(model, network=SARMRewardModel(model.network.config))
    errors = [
        mean_error([adapter.ask_model(m, e).progress for e in part.training], part.training)
        for m in (before, model)
    ]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize(("reading", "causal"), [("as_shipped", False), ("hold", True), ("last", True)])
def test_what_sarm_sees_of_the_future(
    bench: ModuleType, material: Any, tmp_path: Path, reading: str, causal: bool
) -> None:
    adapter, model = sarm(bench, material, tmp_path, reading)
    episode = material.of_kind(NAMES[0]).validation[0]
    now = len(episode) // 2
    features = {view: values.copy() for view, values in episode.features.items()}
    for values in features.values():
        values[now + 1 :] = 1.0
    before, after = (
        adapter.ask_model(model, e).progress for e in (episode, replace(episode, features=features))
    )
    same = np.abs(before[: now + 1] - after[: now + 1]).max() < 1e-5
    assert same == causal


def test_sarm_gets_the_features_of_its_pictures(bench: ModuleType, material: Any) -> None:
    from judge.models.lerobot_sarm import make_config
    from judge.models.sarm_shared_features import Frames, instead_of_clip
    from lerobot.rewards.sarm.processor_sarm import make_sarm_pre_post_processors

    episode = material.training[0]
    frames = Frames.of([episode], material.views, material.encoder)
    options = {"size": [32, 1, 2], "gap_s": 0.1, "learning_rate": 1e-3}
    config = make_config(options, frames.features.shape[1], 2, material.fps)
    stats = {"observation.state": {"mean": torch.zeros(2), "std": torch.ones(2)}}
    with instead_of_clip(frames.features):
        processor, _ = make_sarm_pre_post_processors(config, stats, None)
    for step in processor.steps:
        if hasattr(step, "eval"):
            step.eval()
    wanted = np.arange(13)[None] + 2
    batch = frames.windows(np.zeros(1, np.int64), wanted)
    seen = processor(batch | {"index": torch.tensor([6]), "task": [episode.task]})
    expected = np.concatenate([episode.features[view] for view in material.views], axis=1)
    np.testing.assert_allclose(seen["video_features"][0, :9].numpy(), expected[2:11])
    # What lies beyond the window is black to SARM.
    np.testing.assert_allclose(seen["video_features"][0, 9:].numpy(), frames.features[[0] * 4].numpy())


def test_tuning_goes_along_one_axis_after_the_other(bench: ModuleType, tmp_path: Path) -> None:
    from judge.adapter import tuned

    tried = []

    def error(options: dict[str, int]) -> float:
        tried.append(options)
        return abs(options["a"] - 2) + abs(options["b"] - 20)

    axes = {"a": [1, 2, 3], "b": [10, 20]}
    assert tuned(axes, error, tmp_path / "kept.json") == {"a": 2, "b": 20}
    assert len(tried) == 4
    assert tuned(axes, error, tmp_path / "kept.json") == {"a": 2, "b": 20}
    assert len(tried) == 4


def test_the_curve_from_distance_to_progress_only_rises(bench: ModuleType) -> None:
    from judge.models.goal_distance import monotone

    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    at, value = monotone(x, np.clip(x / 4 + 0.5, 0, 1) + rng.normal(size=500) * 0.1)
    assert (np.diff(at) >= 0).all()
    assert (np.diff(value) >= 0).all()
    assert value[0] < 0.25 < 0.75 < value[-1]


def test_a_policy_is_trained_and_recorded(bench: ModuleType, tmp_path: Path) -> None:
    from judge.policies import Practice, record_rollouts

    practice = Practice(demonstrations=2, stops=(5, 20), leads=(0.3,), patience=0.5)
    record_rollouts("PickPlace", tmp_path / "PickPlace", 2, 7, 32, practice)
    data = EpisodeDataset(tmp_path / "PickPlace")
    assert [data.info(e)["gradient_steps"] for e in range(2)] == [5, 20]
    assert data.views == ("front", "top", "wrist")
    for episode in range(2):
        progress = data.column("progress", episode)
        assert 20 < data.length(episode) == len(progress)
        assert 0 < progress.max() < 1
        assert data.segments(episode)


class approx:
    """Equal to a tree of numbers, within rounding, that may hold more than is asked for."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree

    def __eq__(self, other: object) -> bool:
        if isinstance(other, dict):
            return all(approx(self.tree[key]) == value for key, value in other.items())
        return bool(other == (None if self.tree is None else pytest.approx(self.tree)))


def test_a_run_is_measured_kept_and_shown(
    bench: ModuleType,
    datasets: dict[str, list[EpisodeDataset]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bench, "collect", lambda _, task, name, __: datasets[name][NAMES.index(task)])
    from judge.adapter import Budget
    from judge.sets import Sizes

    monkeypatch.setattr(bench, "QUICK", bench.Scale(Sizes(image_size=32), Budget(192, 1, 0.5), 4))
    models = ["multiview_sarm", "goal_distance", "clock", "clock_hindsight"]
    command = [
        *("--quick", "--tasks", *NAMES, "--models", *models, "--seeds", "0", "1"),
        f"--output_dir={tmp_path / 'out'}",
        f"--results={tmp_path / 'results'}",
    ]
    result = bench.main(command)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(json.dumps(result))
    assert (result["tasks"], result["seeds"]) == (2, 2)
    assert list(result["models"]) == models
    for row in result["models"].values():
        assert {"mse", "tau_a", "rho", "success_auroc", "failure_balanced_accuracy", "ece", "epic"} < set(row)
        assert row["shifted_mse"] > 0
    assert result["against_ours"]["clock"]["mse"]["of"] == 4
    text = (tmp_path / "results" / "reward_accuracy.md").read_text()
    assert all(f"`{name}`" in text for name in models)
    assert str(tmp_path) not in text + json.dumps(result)
    assert (tmp_path / "results" / "reward_accuracy.png").stat().st_size > 10_000
    monkeypatch.setattr(bench.Run, "_answer", None)
    assert bench.main(command)["models"] == result["models"]

    apart = [word for word in command[:-1] if word not in ("0", "1")]
    last = apart.pop()
    earlier = tmp_path / "earlier"
    bench.main([*apart, "0", last, f"--results={earlier}"])
    later = [
        *apart,
        "1",
        last,
        f"--results={tmp_path / 'merged'}",
        f"--with={earlier / 'reward_accuracy.json'}",
    ]
    merged = bench.main(later)
    assert merged["seeds"] == 2
    assert [part["seeds"]["clock"] for part in merged["made_by"]] == [["1"], ["0"]]
    for name, row in result["models"].items():
        assert {k: v for k, v in row.items() if k != "intervals"} == approx(merged["models"][name])
    assert merged["per_task"] == approx(result["per_task"])
    for key in ("difference", "ours_better", "of"):
        assert merged["against_ours"]["clock"]["mse"][key] == pytest.approx(
            result["against_ours"]["clock"]["mse"][key]
        )
    assert "`clock` 0 1" in (tmp_path / "merged" / "reward_accuracy.md").read_text()
    with pytest.raises(UserError, match="has seed 1 twice"):
        bench.main([*later[:-1], f"--with={tmp_path / 'merged' / 'reward_accuracy.json'}"])

    together = import_module("ensembles").main(
        ["--quick", "--tasks", *NAMES, "--seeds", "0", "1", f"--output_dir={tmp_path / 'out'}"]
    )
    rows = together["sets"]["shifted"]["metrics"]["mse"]
    alone = result["models"]["multiview_sarm"]
    assert rows["mean_member"] == pytest.approx(alone["shifted_mse"])
    assert together["models"]["multiview_sarm, seed 1"]["mse"] == pytest.approx(alone["seeds"]["1"]["mse"])
    assert rows["ensemble"] < max(rows["members"])
    assert rows["ensemble"] not in rows["members"]
