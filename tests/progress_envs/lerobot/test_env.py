"""`--env.type=progress`: LeRobot evaluates a policy on our tasks, unmodified."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.envs.utils import NEW_ROLLOUT_OPTION, env_to_policy_features
from lerobot.scripts import lerobot_eval

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_envs import collect
from progress_envs.expert import Expert, make_expert
from progress_envs.lerobot import ProgressEnvConfig
from progress_envs.task import load_task


def small(**options: Any) -> ProgressEnvConfig:
    return ProgressEnvConfig(
        image_size=32, views=["front", "wrist"], render="raycast", render_size=32, **options
    )  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def policy(save_act: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ACT that has learned nothing."""
    folder = tmp_path_factory.mktemp("policy")
    features = env_to_policy_features(small())
    action = features.pop("action")
    save_act(folder, features, action)
    return folder


def test_lerobot_eval_writes_success_and_recordings(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    options = [
        "--env.discover_packages_path=progress_envs",
        "--env.type=progress",
        "--env.task=PickPlace",
        "--env.split=test",
        "--env.vary=[pose,light]",
        "--env.views=[front,wrist]",
        "--env.image_size=32",
        "--env.render=raycast",
        "--env.episode_length=5",
        f"--policy.path={policy}",
        "--policy.device=cpu",
        "--eval.n_episodes=2",
        "--eval.batch_size=2",
        "--eval.use_async_envs=false",
        "--eval.recording=true",
        f"--output_dir={out}",
    ]
    monkeypatch.setattr(sys, "argv", ["lerobot-eval", *options])
    lerobot_eval.main()
    info = json.loads((out / "eval_info.json").read_text())
    assert info["overall"]["n_episodes"] == 2
    assert info["per_task"][0]["metrics"]["successes"] == [False, False]
    # LeRobot writes one dataset an env.
    recorded = EpisodeDataset(out / "recordings" / "progress_0" / "env_0")
    assert (recorded.num_episodes, recorded.length(0), recorded.fps) == (1, 5, 10)
    assert recorded.task(0) == load_task("PickPlace").instruction
    assert recorded.column("observation.state", 0).shape == recorded.column("action", 0).shape == (5, 6)
    assert recorded.views == ("front", "wrist")
    assert next(recorded.frames(0, "front")).shape == (32, 32, 3)


class Oracle(torch.nn.Module):
    """A policy that plays the expert in every env."""

    def __init__(self, envs: Any) -> None:
        super().__init__()
        self.envs = envs

    def reset(self) -> None:
        self.experts: list[Expert] = []

    def select_action(self, batch: dict[str, Any]) -> torch.Tensor:
        assert batch["observation.state"].shape == (2, 6)
        assert batch["observation.images.front"].shape == (2, 3, 32, 32)
        assert batch["task"] == [load_task("PickPlace").instruction] * 2
        if not self.experts:
            self.experts = [make_expert(env, "expert", seed=k) for k, env in enumerate(self.envs.envs)]
        return torch.from_numpy(np.stack([expert.act() for expert in self.experts]))


def test_a_rollout_counts_success_once() -> None:
    config = small()
    envs = config.create_envs(2)["progress"][0]
    before, after = config.get_env_processors()
    done = lerobot_eval.rollout(
        envs, Oracle(envs), before, after, lambda batch: batch, lambda action: action, seeds=[3, 4]
    )
    assert done["success"].any(dim=1).tolist() == [True, True]
    assert done["reward"].sum(dim=1).tolist() == [1, 1]
    lengths = done["done"].float().argmax(dim=1).tolist()
    assert lengths[0] != lengths[1], "one waits for the other"
    envs.close()


def test_envs_are_what_lerobot_asks_for_and_rest_after_their_episode() -> None:
    envs = small(episode_length=3).create_envs(1)["progress"][0]
    first, _ = envs.reset(seed=[3], options={NEW_ROLLOUT_OPTION: True})
    assert first["observation.state"].shape == (1, 6)
    assert envs.call("task") == ("PickPlace",)
    assert envs.metadata["render_fps"] == 10
    for _ in range(3):
        envs.step(np.zeros((1, 6), np.float32))
    data = envs.envs[0].unwrapped.world.data
    time = data.time
    envs.step(np.zeros((1, 6), np.float32))
    assert data.time == time
    again, _ = envs.reset(seed=[3], options={NEW_ROLLOUT_OPTION: True})
    np.testing.assert_array_equal(again["observation.state"], first["observation.state"])
    assert envs.call("render")[0].shape == (32, 32, 3)
    envs.close()


@pytest.mark.parametrize(("given", "steps"), [(7, 7), (None, 300), (1000, 300)])
def test_an_episode_ends_after_its_length_or_the_tasks_time_limit(given: int | None, steps: int) -> None:
    envs = small(episode_length=given).create_envs(1)["progress"][0]
    assert envs.call("_max_episode_steps") == (steps,)
    envs.reset(seed=[0])
    if given == 7:
        action = np.zeros((1, 6), np.float32)
        assert [bool(envs.step(action)[3][0]) for _ in range(7)] == [False] * 6 + [True]
    envs.close()


def test_a_policy_sees_what_collect_records(tmp_path: Path) -> None:
    config = collect.Config(
        output_dir=tmp_path / "demos", episodes=1, image_size=32, workers=1, render="raycast", fps=5
    )
    collect.run(config)
    recorded = EpisodeDataset(tmp_path / "demos").features
    seen = ProgressEnvConfig(image_size=32, fps=5).features
    assert {name: tuple(recorded[name]["shape"]) for name in seen} == {
        name: feature.shape for name, feature in seen.items()
    }
    assert set(recorded) >= {"observation.images.front", "observation.images.top", "observation.images.wrist"}


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match=r"choose one of .*PickPlace"):
        ProgressEnvConfig(task="Foo").create_envs(1)
    with pytest.raises(UserError, match="views='side' is unknown"):
        ProgressEnvConfig(views=["side"]).create_envs(1)
    with pytest.raises(UserError, match="at least 1 step"):
        ProgressEnvConfig(episode_length=0).create_envs(1)


def test_our_own_code_does_not_import_lerobots_plug_ins() -> None:
    code = (
        "import sys, progress_envs, progress_envs.collect, progress_envs.env\n"
        "assert not {'lerobot', 'torch', 'progress_envs.lerobot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_policy_without_pictures_sees_the_state_that_collect_records(tmp_path: Path) -> None:
    config = collect.Config(
        output_dir=tmp_path / "demos",
        episodes=1,
        image_size=32,
        views=["top"],
        workers=1,
        render="raycast",
        environment_state=True,
    )
    collect.run(config)
    recorded = EpisodeDataset(tmp_path / "demos")
    seen = ProgressEnvConfig(obs_type="state")
    assert {name: tuple(recorded.features[name]["shape"]) for name in seen.features} == {
        name: feature.shape for name, feature in seen.features.items()
    }
    envs = seen.create_envs(1)["progress"][0]
    first, _ = envs.reset(seed=[int(str(recorded.info(0)["seed"]))])
    states = recorded.column("observation.environment_state", 0)
    np.testing.assert_array_equal(first["environment_state"][0], states[0])
    assert len(states) == recorded.length(0)
    assert (states[-1] != states[0]).any()
    envs.close()
