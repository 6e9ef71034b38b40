"""`--robot.type=progress_env`, `--teleop.type=progress_expert`: LeRobot records our expert, unmodified."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lerobot.scripts import lerobot_record
from lerobot.utils.errors import DeviceAlreadyConnectedError, DeviceNotConnectedError

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_envs.arm import HIGH, NAMES
from progress_envs.env import ProgressEnv
from progress_envs.lerobot import (
    ProgressEnvRobot,
    ProgressEnvRobotConfig,
    ProgressExpert,
    ProgressExpertConfig,
)
from progress_envs.lerobot.robot import connected


def make_robot(**options: object) -> ProgressEnvRobot:
    return ProgressEnvRobot(
        ProgressEnvRobotConfig(image_size=16, views=["front", "wrist"], render="raycast", **options)  # type: ignore[arg-type]
    )


@pytest.fixture
def robot() -> Iterator[ProgressEnvRobot]:
    robot = make_robot()
    robot.connect()
    yield robot
    robot.disconnect()


@pytest.fixture
def expert() -> ProgressExpert:
    expert = ProgressExpert(ProgressExpertConfig())
    expert.connect()
    return expert


def test_lerobot_record_writes_what_the_expert_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [
        "--robot.discover_packages_path=progress_envs",
        "--robot.type=progress_env",
        "--robot.task=PickPlace",
        "--robot.views=[front,wrist]",
        "--robot.image_size=32",
        "--robot.render=raycast",
        "--robot.seed=5",
        "--teleop.discover_packages_path=progress_envs",
        "--teleop.type=progress_expert",
        "--teleop.quality=hesitant",
        "--dataset.repo_id=local/recorded",
        f"--dataset.root={tmp_path / 'recorded'}",
        "--dataset.fps=10",
        "--dataset.single_task=put the cube away",
        "--dataset.num_episodes=2",
        "--dataset.episode_time_s=1",
        "--dataset.reset_time_s=0.2",
        "--dataset.video=false",
        "--dataset.push_to_hub=false",
        "--play_sounds=false",
    ]
    monkeypatch.setattr(sys, "argv", ["lerobot-record", *options])
    lerobot_record.main()
    assert not connected
    recorded = EpisodeDataset(tmp_path / "recorded")
    assert (recorded.num_episodes, recorded.fps, recorded.task(1)) == (2, 10, "put the cube away")
    assert recorded.features["action"]["names"] == list(NAMES)
    assert recorded.views == ("front", "wrist")
    env = ProgressEnv("PickPlace", views=["front"], image_size=32, render="raycast")
    for episode, seed in enumerate([5, None]):
        state, action = (recorded.column(name, episode) for name in ("observation.state", "action"))
        assert 2 <= len(action) <= 10
        # Both episodes begin with a scene of their own, and the actions lead from each state to the next.
        observation, _ = env.reset(seed=seed)
        for t, image in enumerate(recorded.frames(episode, "front")):
            np.testing.assert_array_equal(observation["agent_pos"], state[t])
            np.testing.assert_array_equal(observation["pixels"]["front"], image)
            observation, *_ = env.step(action[t])
    env.close()


def test_the_expert_does_the_task_and_then_holds_still(
    robot: ProgressEnvRobot, expert: ProgressExpert
) -> None:
    for scene in (1, 2):
        robot.reset()
        for _ in range(200):
            robot.get_observation()
            sent = robot.send_action(expert.get_action())
        assert robot.env is not None
        assert robot.env.status.success
        assert robot.send_action(expert.get_action()) == sent
        assert robot.episode == scene
    expert.disconnect()


def test_observations_and_actions_are_as_declared(robot: ProgressEnvRobot) -> None:
    seen = robot.get_observation()
    assert list(seen) == list(robot.observation_features)
    assert {name: seen[name].shape for name in ("front", "wrist")} == dict.fromkeys(
        ["front", "wrist"], (16, 16, 3)
    )
    assert all(type(seen[name]) is float for name in NAMES)
    assert list(robot.action_features) == list(NAMES)
    sent = robot.send_action(dict.fromkeys(NAMES, 1000.0))
    assert sent == dict(zip(NAMES, HIGH, strict=True))
    moved = robot.get_observation()
    assert any(moved[name] != seen[name] for name in NAMES)


def test_features_are_known_before_connecting_and_devices_are_not_used_then() -> None:
    robot, expert = make_robot(), ProgressExpert(ProgressExpertConfig())
    assert set(robot.observation_features) == {*NAMES, "front", "wrist"}
    assert set(expert.action_features) == set(NAMES)
    assert robot.is_calibrated
    assert expert.is_calibrated
    for use in (robot.get_observation, lambda: robot.send_action({}), expert.get_action):
        with pytest.raises(DeviceNotConnectedError):
            use()
    robot.connect()
    with pytest.raises(DeviceAlreadyConnectedError):
        robot.connect()
    robot.disconnect()
    assert not robot.is_connected


def test_mistakes_are_named(robot: ProgressEnvRobot) -> None:
    with pytest.raises(UserError, match=r"the action lacks gripper\.pos"):
        robot.send_action(dict.fromkeys(NAMES[:5], 0.0))
    with pytest.raises(UserError, match=r"give --robot\.id another value"):
        make_robot().connect()
    other = ProgressExpert(ProgressExpertConfig(id="left"))
    other.connect()
    with pytest.raises(UserError, match="no simulated robot with id=left is connected"):
        other.get_action()
    novice = ProgressExpert(ProgressExpertConfig(quality="novice"))
    novice.connect()
    with pytest.raises(UserError, match="quality 'novice' is unknown"):
        novice.get_action()


def test_a_recording_at_another_rate_than_the_simulations_is_refused(robot: ProgressEnvRobot) -> None:
    logging.getLogger().setLevel(logging.INFO)
    logging.info("Recording episode 0")
    action = {name: robot.get_observation()[name] for name in NAMES}
    for _ in range(20):
        robot.send_action(action)
    with pytest.raises(UserError, match=r"--robot\.fps and --dataset\.fps the same value"):
        robot.send_action(action)


def test_a_task_that_asks_for_many_things_is_not_recorded_under_one_instruction(
    robot: ProgressEnvRobot, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert robot.env is not None
    monkeypatch.setattr(type(robot.env.task), "instructions", classmethod(lambda cls: ("one", "other")))
    robot.get_observation()
    robot.announce()
    with pytest.raises(UserError, match="use progress-rm collect"):
        robot.get_observation()
