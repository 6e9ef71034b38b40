"""The env as the policy meets it: chunks pay as their steps, demonstrations succeed, a buffer is relabelled exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from progress_envs.names import task_names
from progress_policies.rl import corrections
from progress_policies.rl.base import NoBase
from progress_policies.rl.corrections import with_corrections
from progress_policies.rl.episodes import demonstrate, demonstration_seeds, play, relabel
from progress_policies.rl.evaluation import evaluate, mean_action
from progress_policies.rl.replay import Replay
from progress_policies.rl.training import Training
from progress_policies.rl.world import Camera, Decisions, Held, PixelNumbers, Shift, StateNumbers, make_world
from progress_rm.shaping import Progress, Shaping


def no_base(world: Decisions) -> NoBase:
    shape = world.observation_space.shape
    assert shape is not None
    return NoBase(shape[0] - 1, 6)


def random_choice(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return lambda seen, leaning: rng.uniform(-1, 1, 6).astype(np.float32)


@pytest.mark.parametrize("name", task_names())
def test_every_task_is_seen_as_finite_numbers(name: str, make_config: Any) -> None:
    world = make_world(make_config(env=name), None)
    seen, info = world.reset(seed=1)
    assert seen in world.observation_space
    assert np.isfinite(seen).all()
    assert seen[-1] == np.float32(info["potential"])
    assert np.abs(seen).max() < 20


def test_numbers_are_relative(make_config: Any) -> None:
    """What matters does not change when everything is turned about the base: here, the thing from the hand."""
    world = make_world(make_config(env="PickPlace"), None)
    seen, _ = world.reset(seed=1)
    thing = next(iter(world.scene.world.things))
    away = world.scene.world.position(thing) - world.scene.world.tool()
    start = 2 + 1 + 1 + 3 + 2
    assert seen[start : start + 3] == pytest.approx(10 * away, abs=1e-4)


@pytest.mark.parametrize("reward", ["policy_invariant", "sparse"])
def test_a_decision_pays_as_its_control_steps(make_config: Any, reward: str) -> None:
    config = make_config(reward=reward, repeat=3, gamma=0.9)
    world = make_world(config, None)
    _, info = world.reset(seed=0)
    phi = [info["potential"]]
    for _ in range(5):
        _, paid, terminated, _, info = world.step(world.action_space.sample())
        assert info["potential_before"] == phi[-1]
        phi.append(info["potential"])
        wanted = config.shaping().reward(info["unshaped_reward"], phi[-2], phi[-1], terminated)
        assert paid == pytest.approx(float(wanted), abs=1e-9)


class Paying(gym.Env[Any, Any]):
    """Pays 1, 2, 3 …; the task is done at the fifth step, and the time is over at the eighth."""

    observation_space = action_space = gym.spaces.Box(-1, 1, (1,))

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        done = self.steps >= 5
        return np.zeros(1, np.float32), float(self.steps), done, self.steps == 8, {"is_success": done}


@pytest.mark.parametrize(("past_success", "lengths"), [(False, [3, 2]), (True, [3, 3, 2])])
def test_an_action_is_held_until_the_episode_ends(past_success: bool, lengths: list[int]) -> None:
    env = Held(Paying(), repeat=3, gamma=0.5, past_success=past_success)
    env.reset()
    paid = []
    for _ in lengths:
        _, reward, terminated, truncated, _ = env.step(np.zeros(1))
        paid.append(reward)
    assert terminated
    assert truncated == past_success
    steps = iter(range(1, 9))
    assert paid == pytest.approx([sum(next(steps) * 0.5 ** (i / 3) for i in range(n)) for n in lengths])


def test_demonstrations_succeed_and_are_those_of_collect(make_config: Any) -> None:
    config = make_config(env="PickPlace", demonstrations=2, episode_seconds=0.0)
    world = make_world(config, None)
    episodes = demonstrate(world, config, no_base(world))
    for episode in episodes:
        assert episode.success
        assert episode.columns["good"].all()
        assert not episode.columns["online"].any()
        assert episode.columns["after"][-1] == 1
        assert 10 < len(episode) < 60
    assert [e.columns["rollout"][0] for e in episodes] == [-1, -2]
    assert not np.array_equal(episodes[0].columns["seen"][0], episodes[1].columns["seen"][0])


def test_an_expert_takes_over_when_nothing_happens(make_config: Any) -> None:
    world = make_world(make_config(episode_seconds=25.0), None)
    still = lambda seen, leaning: np.zeros(6, np.float32)  # noqa: E731
    episode = play(world, no_base(world), still, seed=0, rollout=3, intervene_after=1.0)
    assert episode.interventions == 1
    assert episode.success
    assert episode.columns["online"].all()
    alone = play(world, no_base(world), still, seed=0, rollout=4)
    assert not alone.success
    assert not alone.columns["good"].any()


class Halved:
    """Another model: half of the true progress."""

    def reset(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        return self.step(observation, info)

    def step(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        return Progress(info["progress"] / 2, 0.1)


def test_a_new_model_relabels_the_whole_buffer_at_both_ends(make_config: Any) -> None:
    world = make_world(make_config(), None)
    replay = Replay(len(world.reset(seed=0)[0]) - 1, 6)
    for rollout in range(3):
        replay.add(play(world, no_base(world), random_choice(rollout), 50 + rollout, rollout).columns)
    old = {name: replay.columns[name].copy() for name in ("before", "after")}
    world.timed.source = Halved()
    relabel(world, replay, {rollout: 50 + rollout for rollout in range(3)})
    for name, values in old.items():
        assert replay.columns[name] == pytest.approx(values / 2, abs=1e-6)
        assert replay.columns[f"{name}_sd"] == pytest.approx(0.1)
    rows = np.arange(len(replay))
    phi, then = replay.potentials(Shaping(0.9, caution=1.0), rows)
    assert phi == pytest.approx(np.clip(old["before"] / 2 - 0.1, 0, 1), abs=1e-6)
    inner = ~replay.columns["last"][:-1]
    assert then[:-1][inner] == pytest.approx(phi[1:][inner])


class Eye:
    """A reward model whose encoder sees mean colours."""

    class config:
        views = ("front", "wrist")
        image_size = 32

    def encoder(self) -> Any:
        class Encoder:
            dim = 3

            def encode(self, frames: Any) -> Any:
                return frames.mean((1, 2)) / 255

        return Encoder()


def test_features_of_pixels(make_config: Any) -> None:
    world = make_world(make_config(render="raycast"), None)
    numbers = PixelNumbers(Camera(world.scene, 32), Eye(), width=8)  # type: ignore[arg-type]
    observation, _ = world.env.reset(seed=0)
    first = numbers(observation)
    assert first.shape == (6 + 6 + 2 * 8,)
    assert numbers.camera.seconds > 0
    other, _ = world.env.reset(seed=1)
    assert not np.allclose(first[12:], numbers(other)[12:])


def test_a_shifted_moment_is_seen_as_that_moment_is(make_config: Any) -> None:
    """A hand that is moved sees things, and what it holds, as one that was there."""
    world = make_world(make_config(env="PickPlace"), None)
    assert isinstance(world.numbers, StateNumbers)
    seen, _ = world.reset(seed=1)
    now = _now(world)
    still = Shift(np.zeros(3), 0.0, 0.0, np.zeros(2))
    np.testing.assert_array_equal(world.numbers(now, still), seen[:-1])
    hand = np.array([0.02, -0.01, 0.03])
    moved = world.numbers(now, Shift(hand, 0.0, 0.0, np.zeros(2)))
    there = dict(now)
    there["environment_state"] = now["environment_state"] + np.pad(
        hand.astype(np.float32), (0, len(now["environment_state"]) - 3)
    )
    world.scene.command = dataclasses.replace(
        world.scene.command,
        **dict(zip("xyz", (world.scene.command.position + hand).tolist(), strict=True)),
    )
    np.testing.assert_allclose(moved, world.numbers(there), atol=1e-5)


def test_how_a_peg_stands_to_its_hole(make_config: Any) -> None:
    world = make_world(make_config(env="InsertPeg"), None)
    numbers, scene = world.numbers, world.scene.world
    assert isinstance(numbers, StateNumbers)
    world.reset(seed=3)
    peg, block = "orange peg", "blue block"
    half = scene.things[peg].half_height
    place = scene.position(block)
    scene.place(peg, place[0] + 0.002, place[1], 0.0)
    scene.place(block, place[0], place[1], 10.0)
    scene.settle()
    found = numbers(_now(world))[-5:]
    height = scene.position(peg)[2] - half
    turn = np.radians(-40)
    wanted = [np.tanh(-0.2), 0.0, 10 * (scene.bins[block].wall - height), np.cos(turn), np.sin(turn)]
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_a_hole_moved_and_turned_is_seen_as_one_that_stands_there(make_config: Any) -> None:
    world = make_world(make_config(env="InsertPeg"), None)
    scene, block = world.scene.world, "blue block"
    world.reset(seed=3)
    x, y, _ = scene.position(block)
    front = scene.rotation(block)[:, 0]
    yaw = float(np.degrees(np.arctan2(front[1], front[0])))
    shift = Shift(np.zeros(3), 0.0, 0.0, np.array([0.02, -0.03]), turn=12.0)
    made_up = world.numbers(_now(world), shift)
    scene.place(block, float(x) + 0.02, float(y) - 0.03, yaw + 12.0)
    scene.settle()
    np.testing.assert_allclose(made_up, world.numbers(_now(world)), atol=1e-4)


def _now(world: Decisions) -> dict[str, Any]:
    return {
        "agent_pos": world.scene.world.joints().astype(np.float32),
        "environment_state": world.scene.environment_state(),
    }


def test_corrections_lead_back(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "COPIES", 5)
    config = make_config(env="PickPlace", demonstrations=1, episode_seconds=0.0)
    world = make_world(config, None)
    shown = demonstrate(world, config, no_base(world))
    seen, actions = with_corrections(world, shown, demonstration_seeds(config), 0)
    length, originals = len(shown[0]), corrections.ORIGINALS
    assert len(seen) == len(actions) == length * (originals + 5)
    np.testing.assert_array_equal(seen[:length], shown[0].columns["seen"])
    made = seen[originals * length :].reshape(length, 5, -1)
    back = actions[originals * length :].reshape(length, 5, -1)
    step = 10 * 0.30 * world.repeat / world.scene.fps
    for frame in (2, 3):
        elsewhere = made[frame, :, :2] - shown[0].columns["seen"][frame, :2]
        wanted = shown[0].columns["action"][frame, :2] - elsewhere / step
        np.testing.assert_allclose(back[frame, :, :2], np.clip(wanted, -1, 1), atol=1e-4)
        assert (back[frame, :, 5] == shown[0].columns["action"][frame, 5]).all()


def test_one_demonstration_makes_a_base_that_sometimes_succeeds(make_config: Any, tmp_path: Path) -> None:
    """Without corrections no episode of these did."""
    training = Training(make_config(env="PickPlace", episode_seconds=12.0), tmp_path)
    training.begin()
    found = evaluate(training.judge, mean_action(training.base, None), 12, 0)
    assert found.successes >= 2
