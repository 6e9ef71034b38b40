"""SortByColor: the instruction decides which bin is the right one, and nothing else does."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_envs import carry
from progress_envs.expert import make_expert
from progress_envs.names import env_id
from progress_envs.task import load_task

TASK = load_task("SortByColor")


@pytest.fixture
def env() -> Any:
    made = gymnasium.make(env_id("SortByColor"), obs_type="state", disable_env_checker=True).unwrapped
    made.reset(seed=0)
    return made


def fill(env: Any, wrong: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every cube into its bin, those in `wrong` into the other one."""
    spots = {into: [(0.021, 0.0), (-0.021, 0.0), (0.0, 0.03)] for into in env.world.bins}
    for thing, into in env.task.errands:
        if thing in wrong:
            into = "right bin" if into == "left bin" else "left bin"
        x, y, _ = env.world.position(into)
        dx, dy = spots[into].pop(0)
        env.world.place(thing, x + dx, y + dy)
        env.world.data.qpos[env.world._free[thing] + 2] += 0.005
    for _ in range(3):
        *_, info = env.step(env.target.astype(np.float32))
    return dict(info)


def test_instructions_differ_between_episodes_and_in_their_words(env: Any) -> None:
    said = set()
    for seed in range(40):
        observation, _ = env.reset(seed=seed)
        said.add(env.task_description)
        left = [into == "left bin" for _, into in env.task.errands]
        assert np.array_equal(observation["environment_state"][-3:], left)
        named, _ = env.task_description.split(" into the left bin")
        few = sum(left) == len(named.split(" and "))
        assert few
        assert all(
            (thing.split()[0] in named) == here
            for (thing, _), here in zip(env.task.errands, left, strict=True)
        )
    assert said == set(TASK.instructions())
    # An encoder that does not know the order of words can still tell them apart.
    assert len({tuple(sorted(text.split())) for text in said}) == len(said) == 6


def test_pictures_of_the_start_do_not_tell_what_is_asked_for() -> None:
    env = gymnasium.make(
        env_id("SortByColor"), image_size=24, render="raycast", disable_env_checker=True
    ).unwrapped
    first, _ = env.reset(seed=0)
    env.task.errands = tuple((thing, "left bin") for thing, _ in env.task.errands)
    env.world.settle()
    for view in env.views:
        assert np.array_equal(first["pixels"][view], env.picture(view, 24))


def test_only_the_right_bin_counts(env: Any) -> None:
    assert fill(env)["is_success"]
    for k, (thing, _) in enumerate(env.task.errands):
        env.reset(seed=0)
        info = fill(env, wrong=(thing,))
        assert not info["is_success"]
        assert info["stage"] == f"pick {thing}"
        weights = env.task.weights
        assert 1 - weights[2 * k : 2 * k + 2].sum() - 1e-6 <= info["progress"] < 0.9
    env.reset(seed=0)
    assert fill(env, wrong=tuple(thing for thing, _ in env.task.errands))["progress"] < 0.1


def test_the_same_scene_done_by_another_instruction_is_no_success(env: Any) -> None:
    assert fill(env)["is_success"]
    swapped = {"left bin": "right bin", "right bin": "left bin"}
    env.task.errands = tuple((thing, swapped[into]) for thing, into in env.task.errands)
    *_, info = env.step(env.target.astype(np.float32))
    assert info["progress"] < 0.1


def test_what_fools_ends_with_every_cube_in_a_bin(env: Any) -> None:
    for seed in (1, 4):
        env.reset(seed=seed)
        expert = make_expert(env, "fooling", seed)
        while True:
            action = expert.act()
            if expert.done:
                break
            *_, truncated, _ = env.step(action)
            assert not env.status.success
            assert not truncated
        inside = [
            max(carry.depth_inside(env.world, thing, into) for into in env.world.bins)
            for thing in env.world.things
        ]
        assert min(inside) > 0


def test_a_cube_taken_out_and_one_brought_to_the_wrong_bin_are_mended(env: Any) -> None:
    fill(env, wrong=(env.task.errands[1][0],))
    expert = make_expert(env, "expert", 0)
    while not env.status.success:
        *_, truncated, _ = env.step(expert.act())
        assert not truncated
