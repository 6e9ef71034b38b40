"""LeRobot's reward models and endpoints answer as ours do: causally, or not at all."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call, main
from progress_rm.data import EpisodeFeatures
from progress_rm.models.asking import AskingModel
from progress_rm.models.base import ProgressRewardModel

KINDS = ["robometer", "topreward", "reward_classifier"]
HALF = "Remaining: lift\n<progress>50.00%</progress>"


@pytest.fixture(scope="module")
def checkpoints(tiny_vlm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By kind, a folder as LeRobot saves it, with random weights."""
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.rewards.classifier.configuration_classifier import RewardClassifierConfig
    from lerobot.rewards.classifier.modeling_classifier import Classifier
    from lerobot.rewards.classifier.processor_classifier import make_classifier_processor
    from lerobot.rewards.robometer.configuration_robometer import RobometerConfig
    from lerobot.rewards.robometer.modeling_robometer import RobometerRewardModel
    from lerobot.rewards.sarm.configuration_sarm import SARMConfig
    from lerobot.rewards.topreward.configuration_topreward import TOPRewardConfig
    from transformers import ResNetConfig, ResNetModel

    root = tmp_path_factory.mktemp("lerobot")
    folders = {kind: root / kind for kind in [*KINDS, "sarm"]}
    for folder in folders.values():
        folder.mkdir()
    torch.manual_seed(0)
    left: dict[str, Any] = {"image_key": "observation.images.left", "torch_dtype": "float32", "device": "cpu"}
    robometer = RobometerConfig(pretrained_path=None, base_model_id=str(tiny_vlm), **left)
    RobometerRewardModel(robometer).save_pretrained(folders["robometer"])
    TOPRewardConfig(vlm_name=str(tiny_vlm), **left)._save_pretrained(folders["topreward"])
    SARMConfig(device="cpu")._save_pretrained(folders["sarm"])
    eye = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1], layer_type="basic")
    ResNetModel(eye).save_pretrained(root / "resnet")
    keys = [f"observation.images.{view}" for view in ("left", "right")]
    classifier = RewardClassifierConfig(
        model_name=str(root / "resnet"),
        input_features={key: PolicyFeature(FeatureType.VISUAL, (3, 128, 128)) for key in keys},
        num_cameras=2,
    )
    Classifier(classifier).save_pretrained(folders["reward_classifier"])
    stats = {key: {"mean": torch.full((3, 1, 1), 0.2), "std": torch.full((3, 1, 1), 0.3)} for key in keys}
    for processor in make_classifier_processor(classifier, stats):
        processor.save_pretrained(folders["reward_classifier"])
    return folders


@pytest.fixture(scope="module")
def models(checkpoints: dict[str, Path]) -> dict[str, ProgressRewardModel]:
    return {
        kind: progress_rm.load_model(
            checkpoints[kind], options=[] if kind == "reward_classifier" else ["query_s=0.5", "window=3"]
        )
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_lerobots_models_are_causal_and_the_same_live(
    kind: str,
    models: dict[str, ProgressRewardModel],
    episode: EpisodeFeatures,
    toy: EpisodeDataset,
    contract: Any,
    cut_after: Any,
) -> None:
    model = models[kind]
    track = model.track(episode)
    assert ((track.progress >= 0) & (track.progress <= 1)).all()
    assert len(np.unique(track.progress)) > 1
    other: Any = cut_after(episode.source[0], 7)
    after = model.track(replace(episode, source=(other, 1)))
    np.testing.assert_allclose(after.progress[:8], track.progress[:8], atol=1e-5)
    assert not np.allclose(after.progress[8:], track.progress[8:], atol=1e-6)
    for t, live in contract.live(model, toy, 1, True):
        contract.assert_equal(live, track, t)


@pytest.mark.filterwarnings("ignore:.max_length. is ignored")
def test_their_numbers_are_theirs(
    models: dict[str, ProgressRewardModel], checkpoints: dict[str, Path], toy: EpisodeDataset
) -> None:
    """What LeRobot's own classes say of the same frames."""
    from lerobot.rewards.factory import make_reward_pre_post_processors
    from lerobot.rewards.robometer.modeling_robometer import RobometerRewardModel
    from lerobot.rewards.topreward.modeling_topreward import TOPRewardModel

    frames = np.stack(list(toy.frames(1, "left"))[:11])
    picked = torch.from_numpy(frames[[0, 5, 10]]).permute(0, 3, 1, 2)[None].float() / 255
    for kind, theirs in (("robometer", RobometerRewardModel), ("topreward", TOPRewardModel)):
        model = theirs.from_pretrained(checkpoints[kind])
        prepare = make_reward_pre_post_processors(model.config)[0]
        batch = {"observation.images.left": picked, "task": ["slide and lift"]}
        expected = float(model.compute_reward(prepare(batch))[0])
        stream = models[kind].stream("slide and lift")
        for t in range(11):
            said = stream.step({"left": frames[t]}, timestamp=t / 10)
        assert said.progress == pytest.approx(np.exp(expected) if kind == "topreward" else expected, abs=1e-4)


def test_sarm_is_refused_with_a_reason(
    checkpoints: dict[str, Path], toy: EpisodeDataset, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="reads the future"):
        progress_rm.load_model(checkpoints["sarm"])
    assert main(["score", f"--dataset.root={toy.root}", f"--model.path={checkpoints['sarm']}"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "multiview_sarm" in message


def test_a_view_that_is_not_there_is_named(
    checkpoints: dict[str, Path], models: dict[str, ProgressRewardModel]
) -> None:
    frame = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(UserError, match=r"looks at the view 'left'.*views=\[NAME\]"):
        models["robometer"].stream("x").step({"right": frame}, timestamp=0.0)
    other = progress_rm.load_model(checkpoints["robometer"], options=["views=[right]"])
    assert 0 <= other.stream("x").step({"right": frame}, timestamp=0.0).progress <= 1
    with pytest.raises(UserError, match="name as many"):
        progress_rm.load_model(checkpoints["reward_classifier"], options=["views=[front]"])
    with pytest.raises(UserError, match="knows no task, so say which"):
        other.stream()
    with pytest.raises(UserError, match="give their timestamp"):
        other.stream("x").step({"right": frame})


def test_they_are_measured_without_stages(
    checkpoints: dict[str, Path], toy: EpisodeDataset, tmp_path: Path
) -> None:
    output = tmp_path / "metrics.json"
    call(
        "evaluate",
        [
            *(f"--dataset.root={toy.root}", f"--model.path={checkpoints['reward_classifier']}"),
            *(f"--output={output}", f"--cache_dir={tmp_path}"),
        ],
    )
    metrics = json.loads(output.read_text())
    page = tmp_path / "report.html"
    scores = next((tmp_path / "metrics.scores").glob("*[!s].parquet"))
    call("report", [f"--dataset.root={toy.root}", f"--scores=[{scores}]", f"--output={page}"])
    assert page.exists()
    assert metrics["summary"]["mse"] is not None
    assert metrics["summary"]["stage_accuracy"] is None
    assert metrics["overall"]["clock_hindsight"]["stage_accuracy"] is not None


def test_told_of_tasks_they_name_stages_and_are_calibrated(
    checkpoints: dict[str, Path], toy: EpisodeDataset, tmp_path: Path
) -> None:
    call(
        "train",
        [
            *(f"--dataset.root={toy.root}", f"--output_dir={tmp_path / 'run'}", f"--cache_dir={tmp_path}"),
            *("--model.type=lerobot", f"--model.checkpoint={checkpoints['reward_classifier']}"),
            *("--model.window=1", "--model.query_s=0.1"),
        ],
    )
    model = progress_rm.load_model(tmp_path / "run")
    assert model.config.tasks[0].stages == ["slide", "lift"]
    assert not model.state_dict()
    assert model.config.spread != 0.2


# -- endpoints ---------------------------------------------------------------------------------------


@pytest.fixture
def endpoint(loopback: Any) -> Any:
    loopback.replies[:] = [HALF]
    return loopback


def test_an_endpoint_is_asked_over_http(
    endpoint: Any, toy: EpisodeDataset, episode: EpisodeFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    monkeypatch.setenv("A_KEY", "secret")
    model = progress_rm.load_model(
        endpoint.url, options=["query_s=0.5", "window=2", "ask_batch=1", "api_key_env=A_KEY"]
    )
    track = model.track(episode)
    assert (track.progress == 0.5).all()
    assert set(endpoint.keys) == {"Bearer secret"}
    asked = endpoint.asked[-1]
    assert asked["model"] == "a-model"
    content = asked["messages"][0]["content"]
    pictures = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert len(pictures) == 6
    assert "slide and lift" in content[0]["text"]
    sent = cv2.imdecode(np.frombuffer(base64.b64decode(pictures[-1].split(",")[1]), np.uint8), 1)
    now = list(toy.frames(1, "right"))[len(range(0, len(episode), 5)) * 5 - 5]
    np.testing.assert_array_equal(cv2.cvtColor(sent, cv2.COLOR_BGR2RGB), now)
    assert "secret" not in json.dumps(model.config.__dict__, default=str)


def test_replies_that_cannot_be_read_are_counted(endpoint: Any, episode: EpisodeFeatures) -> None:
    endpoint.replies[:] = [HALF, "I would say a half.", HALF]
    model = progress_rm.load_model(endpoint.url, options=["query_s=0.5", "window=1", "ask_batch=1"])
    assert isinstance(model, AskingModel)
    track = model.track(episode)
    assert model.unread == 1
    np.testing.assert_array_equal(track.uncertainty == 1, np.arange(len(episode)) // 5 == 1)


def test_a_busy_endpoint_is_asked_again_and_a_broken_one_is_named(
    endpoint: Any, episode: EpisodeFeatures
) -> None:
    options = ["query_s=5", "window=1", "ask_batch=1"]
    endpoint.replies[:] = [503, HALF]
    assert progress_rm.load_model(endpoint.url, options=options).track(episode).progress[0] == 0.5
    endpoint.replies[:] = [401]
    with pytest.raises(UserError, match="is the key in OPENAI_API_KEY right"):
        progress_rm.load_model(endpoint.url, options=options).track(episode)
    with pytest.raises(UserError, match="is it running"):
        progress_rm.load_model("http://127.0.0.1:9/v1", options=[*options, "retries=0"]).track(episode)
    with pytest.raises(UserError, match="no address of an endpoint"):
        progress_rm.load_model("ftp://127.0.0.1/v1")


def test_an_endpoint_scores_by_the_usual_verb(endpoint: Any, toy: EpisodeDataset, tmp_path: Path) -> None:
    output = tmp_path / "scores.parquet"
    options = [f"--dataset.root={toy.root}", f"--model.path={endpoint.url}", f"--output={output}"]
    call("score", [*options, "--model.options=[query_s=2,window=1]", f"--cache_dir={tmp_path}"])
    assert output.exists()
