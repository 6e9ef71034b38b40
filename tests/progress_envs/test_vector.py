"""Envs copied and beside each other, in this process or in others, live the same episodes; and nothing grows."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import VectorEnv

from progress_envs import arm
from progress_envs.expert import make_expert
from progress_envs.names import env_id, task_names

OPTIONS: dict[str, Any] = {"image_size": 16, "render": "raycast", "split": "train"}


def single(name: str, **options: Any) -> Any:
    return gymnasium.make(env_id(name), disable_env_checker=True, **{**OPTIONS, **options}).unwrapped


def vector(mode: str) -> VectorEnv:
    # Forking a process with threads is asking for trouble.
    options = {"context": "spawn"} if mode == "async" else {}
    return gymnasium.make_vec(
        env_id("PickPlace"), num_envs=2, vectorization_mode=mode, vector_kwargs=options, **OPTIONS
    )


def flat(observation: dict[str, Any]) -> dict[str, np.ndarray]:
    pixels = {f"pixels.{view}": picture for view, picture in observation.get("pixels", {}).items()}
    return {**{key: value for key, value in observation.items() if key != "pixels"}, **pixels}


def random_actions(steps: int, envs: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(arm.LOW, arm.HIGH, (steps, envs, 6)).astype(np.float32)


@pytest.mark.parametrize("name", task_names())
def test_a_pickled_env_lives_the_same_episode(name: str) -> None:
    env = single(name, views=("front",), control="ee_delta")
    env.reset(seed=1)
    env.step(env.action_space.sample())
    copy = pickle.loads(pickle.dumps(env))  # noqa: S301 -- our own, made a moment ago
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 6)).astype(np.float32)
    runs = [[e.reset(seed=3), *((o, i) for o, _, _, _, i in map(e.step, actions))] for e in (env, copy)]
    for (one, info_one), (two, info_two) in zip(*runs, strict=True):
        assert info_one == info_two
        assert all(np.array_equal(flat(one)[key], flat(two)[key]) for key in flat(one))
    assert copy.task_description == env.task_description


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_vector_of_envs_does_what_each_does_alone(mode: str) -> None:
    envs = vector(mode)
    try:
        alone = [single("PickPlace") for _ in range(2)]
        observations, infos = envs.reset(seed=7)
        expected = [env.reset(seed=7 + k) for k, env in enumerate(alone)]
        rewards, ends = np.zeros(2), np.zeros((2, 2), dtype=bool)
        for actions in random_actions(6, 2):
            assert observations in envs.observation_space
            assert rewards.shape == (2,)
            for key, values in flat(observations).items():
                assert np.array_equal(values, [flat(seen)[key] for seen, _ in expected])
            for key in ("progress", "stage", "is_success"):
                assert list(infos[key]) == [info[key] for _, info in expected]
                assert np.all(infos[f"_{key}"])
            assert not ends.any()
            assert actions in envs.action_space
            observations, rewards, terminated, truncated, infos = envs.step(actions)
            expected = [(o, i) for o, _, _, _, i in (e.step(a) for e, a in zip(alone, actions, strict=True))]
            ends = np.array([terminated, truncated])
    finally:
        envs.close()


def test_a_vector_of_envs_starts_anew_after_success() -> None:
    envs = gymnasium.make_vec(env_id("PickPlace"), num_envs=2, vectorization_mode="sync", obs_type="state")
    envs.reset(seed=1)
    experts = [make_expert(env, "expert", 1) for env in envs.envs]
    terminated = np.zeros(2, dtype=bool)
    while not terminated.any():
        actions = np.stack([expert.act() for expert in experts])
        _, rewards, terminated, _, infos = envs.step(actions)
    assert np.array_equal(rewards, terminated)
    assert np.array_equal(infos["progress"] == 1, terminated)
    _, rewards, _, _, infos = envs.step(actions)
    assert np.all(infos["progress"][terminated] < 0.01)
    assert np.all(rewards[terminated] == 0)


SOAK = """
import resource, gymnasium, progress_envs
from progress_envs.variation import FACTORS
env = gymnasium.make("progress/{name}-v0", views=("top",), image_size=8, render="raycast", split="train", vary=FACTORS,
    disable_env_checker=True)
for episode in range(2001):
    env.reset(seed=episode)
    env.step(env.action_space.sample())
    if episode in (200, 2000):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("name", ["PickPlace", "SortByColor"])
def test_memory_stays_flat_over_two_thousand_resets(name: str) -> None:
    """The process's greatest use of memory, in KiB (bytes on macOS), does not grow by a hundredth."""
    answer = subprocess.run(
        [sys.executable, "-c", SOAK.format(name=name)], capture_output=True, text=True, check=True
    )
    early, late = map(int, answer.stdout.split())
    assert late < 1.01 * early
