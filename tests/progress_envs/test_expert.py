"""Scripted experts: they succeed, fail when told to, differ in manner and repeat themselves exactly."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_datasets.errors import UserError
from progress_envs.expert import make_expert
from progress_envs.names import env_id, task_names
from progress_envs.styles import Style, with_style

EPISODES = {"PickPlace": 12, "TidyTable": 3}
"""How many episodes of a task are played; few unless it says so here."""


def play(env: Any, quality: str, seed: int) -> tuple[bool, list[float], np.ndarray]:
    env.reset(seed=seed)
    expert = make_expert(env, quality, seed)
    progress, actions = [env.unwrapped.status.progress], []
    while True:
        action = expert.act()
        if expert.done:
            return False, progress, np.array(actions)
        *_, terminated, truncated, info = env.step(action)
        progress.append(info["progress"])
        actions.append(action)
        assert env.action_space.contains(action)
        if terminated or truncated:
            return info["is_success"], progress, np.array(actions)


def make(name: str, **options: Any) -> Any:
    return gymnasium.make(env_id(name), obs_type="state", disable_env_checker=True, **options)


@pytest.mark.parametrize("name", task_names())
@pytest.mark.parametrize("quality", ["expert", "hesitant", "clumsy"])
def test_demonstrations_succeed(name: str, quality: str) -> None:
    env, count = make(name), EPISODES.get(name, 3)
    assert all(play(env, quality, seed)[0] for seed in range(300, 300 + count))


@pytest.mark.parametrize("name", task_names())
def test_failing_ones_end_unfinished_at_varied_points(name: str) -> None:
    env, count = make(name), EPISODES.get(name, 5)
    ends = []
    for seed in range(count):
        success, progress, _ = play(env, "failing", seed)
        assert not success
        ends.append(progress[-1])
    assert max(ends) < 1
    assert np.ptp(ends) > 0.25


def test_manners_differ() -> None:
    env = make("PickPlace")
    runs = {
        quality: [play(env, quality, seed) for seed in range(8)]
        for quality in ("expert", "hesitant", "clumsy")
    }
    length = {quality: np.mean([len(progress) for _, progress, _ in kind]) for quality, kind in runs.items()}
    assert length["hesitant"] > 1.4 * length["expert"]
    lost = {q: np.mean([-np.minimum(np.diff(p), 0).sum() for _, p, _ in kind]) for q, kind in runs.items()}
    assert lost["clumsy"] > 0.1 > lost["expert"]


def test_same_seed_same_actions_on_a_used_env() -> None:
    env = make("PickPlace")
    _, _, first = play(env, "clumsy", 5)
    play(env, "expert", 6)
    _, _, again = play(env, "clumsy", 5)
    assert np.array_equal(first, again)


def test_it_acts_in_ee_delta_too() -> None:
    env = make("PickPlace", control="ee_delta")
    assert sum(play(env, "expert", seed)[0] for seed in range(6)) == 6


def test_unknown_quality() -> None:
    env = make("PickPlace")
    env.reset(seed=0)
    with pytest.raises(UserError, match="quality 'sleepy' is unknown"):
        make_expert(env, "sleepy", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"haste": 1}, "style: 'haste' is unknown; choose from speed"),
        ({"speed": -1}, r"style: speed=-1 cannot be; give a number from 0\.1 to 3"),
        ({"speed": "fast"}, "style: speed=fast cannot be"),
        ({"drop": float("nan")}, "style: drop=nan cannot be; give a number from 0 to 1"),
        ({"mishaps": 1.5}, "style: mishaps=1.5 cannot be; give a whole number"),
        ({"pause": [2.0, 1.0]}, "the shortest and the longest"),
        ({"fooling": 1}, "give true or false"),
    ],
)
def test_a_style_that_cannot_be(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_style(Style(), change)


def test_a_style_is_set_whatever_the_quality() -> None:
    env = make("PickPlace")
    env.reset(seed=0)
    expert = make_expert(env, "hesitant", 0, {"speed": 1.0, "pause": [0.1, 0.2], "stop_at": 0.3})
    assert (expert.style.speed, expert.style.stop_at) == (1.0, 0.3)
    env.reset(seed=0)
    assert make_expert(env, "fooling", 0).style.fooling
