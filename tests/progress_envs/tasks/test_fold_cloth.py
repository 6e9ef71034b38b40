"""FoldCloth: folds in their order, undone when unfolded, and nothing held or half folded is a success."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_envs.cloth import CORNERS, SIDE, WIDTH
from progress_envs.expert import make_expert
from progress_envs.names import env_id


def make(**options: Any) -> Any:
    env = gymnasium.make(env_id("FoldCloth"), obs_type="state", disable_env_checker=True, **options).unwrapped
    env.reset(seed=3)
    return env


def play(env: Any, until: str | None = None, **style: Any) -> list[float]:
    """Let the expert work until it is done or the stage is `until`; progress at every step."""
    expert = make_expert(env, "expert", 3, style)
    progress, over = [env.status.progress], False
    while not over and env.task.stages[env.status.stage] != until:
        action = expert.act()
        if expert.done:
            break
        _, _, terminated, truncated, info = env.step(action)
        progress.append(info["progress"])
        over = terminated or truncated
    return progress


def lay(env: Any, folds: int) -> None:
    """Lay the cloth down folded that often, its layers on each other, as no hand could."""
    cloth, data = env.task.cloth, env.world.data
    places = cloth.vertices
    for moving, fixed in cloth._folds[:folds]:
        height = places[fixed, 2].max() + 0.004
        places[moving] = places[fixed]
        places[moving, 2] += height
    data.qpos[cloth._free] = places - cloth._rest
    data.qvel[:] = 0
    env.world.settle()


def test_a_cloth_at_rest_is_flat_square_and_not_stretched() -> None:
    env = make()
    for _ in range(10):
        env.step(env.target.astype(np.float32))
    corners = env.task.cloth.vertices[list(CORNERS)]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1)
    assert np.allclose(edges, WIDTH, rtol=0.01)
    assert np.ptp(env.task.cloth.vertices[:, 2]) < 0.002
    assert env.status.progress == pytest.approx(0, abs=1e-3)


def test_both_folds_are_earned_one_after_the_other_and_the_cloth_keeps_its_size() -> None:
    env = make()
    progress = play(env)
    assert progress[-1] == 1
    assert env.task.cloth.vertices[:, 2].max() < 0.03
    vertices = env.task.cloth.vertices.reshape(SIDE, SIDE, 3)
    sides = np.linalg.norm(np.diff(vertices, axis=0), axis=-1)
    assert np.allclose(sides, WIDTH / (SIDE - 1), rtol=0.12)


def test_the_second_fold_earns_nothing_before_the_first() -> None:
    env = make()
    first, second = env.task.cloth._folds
    env.task.cloth._folds = [second, first]
    lay(env, 1)
    env.task.cloth._folds = [first, second]
    assert env.task.cloth.apart(1) < 0.01
    assert max(env.task.completion()[2:]) < 0.1


def test_unfolding_takes_progress_away() -> None:
    env = make()
    play(env, until="grasp again")
    folded = env.status.progress
    assert env.task.completion()[:3] == (1.0, 1.0, 1.0)
    env.task.cloth.place(0.183, 0.0, 20.0)
    env.world.settle()
    assert env.task.status().progress < folded - 0.3
    assert env.task.stages[env.task.status().stage] == "grasp"


def test_folded_but_not_let_go_of_is_no_success() -> None:
    env = make()
    play(env, until="release again")
    target = env.target.astype(np.float32)
    for _ in range(5):
        *_, info = env.step(target)
    assert info["stage"] == "release again"
    assert 0.8 < info["progress"] < 1


@pytest.mark.parametrize("seed", range(2))
def test_what_fools_is_no_success(seed: int) -> None:
    env = make()
    env.reset(seed=seed)
    progress = play(env, fooling=True)
    assert 0.5 < progress[-1] < 1


def test_every_split_has_its_own_cloth_colour_and_distractors_keep_off_it() -> None:
    env = make(split="train", vary=["pose", "size", "colour", "distractors"])
    colours = set()
    for seed in range(4):
        env.reset(seed=seed)
        colours.add(tuple(env.world.model.flex_rgba[0]))
        for name in ("distractor box", "distractor disc", "distractor post"):
            place = env.world.position(name)
            if place[2] > 0:
                away = np.linalg.norm(env.task.cloth.vertices[:, :2] - place[:2], axis=1)
                assert away.min() > 0.03
        # Sizes were set, which makes MuJoCo derive its constants anew; the buttons are still sewn on.
        for _ in range(3):
            env.step(env.target.astype(np.float32))
        thread = env.world.position("red button")[:2] - env.task.cloth.corner(0)[:2]
        assert np.linalg.norm(thread) == pytest.approx(0.013, abs=0.001)
    assert len(colours) == 4
