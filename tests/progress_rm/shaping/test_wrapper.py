"""Wrappers: what they pay equals the theory on recorded rollouts, in one env, in a vector, with a model swapped."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from progress_datasets.errors import UserError
from progress_rm.models.base import ProgressEstimate
from progress_rm.shaping import (
    LearnedProgress,
    Progress,
    RandomProgress,
    ShapedReward,
    ShapedVectorReward,
    Shaping,
    SuccessRule,
    TrueProgress,
    replay,
)

GAMMA = 0.93


class Walk(gym.Env[Any, Any]):
    """A random walk on [0, 1] whose place is the progress; it succeeds above .95, fails below .02, ends at `limit`."""

    def __init__(self, limit: int = 12, as_dict: bool = False) -> None:
        self.limit, self.as_dict = limit, as_dict
        box = spaces.Box(0, 1, (2,), np.float32)
        self.observation_space = spaces.Dict({"place": box}) if as_dict else box
        self.action_space = spaces.Discrete(2)

    def _observe(self) -> Any:
        seen = np.array([self.place, self.time / 100], np.float32)
        return {"place": seen} if self.as_dict else seen

    def _info(self) -> dict[str, Any]:
        return {"progress": self.place, "is_success": self.place > 0.95}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.time = float(self.np_random.uniform(0.3, 0.7)), 0
        return self._observe(), self._info()

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        self.place = float(np.clip(self.place + self.np_random.uniform(-0.25, 0.25 + 0.1 * action), 0, 1))
        success, failure = self.place > 0.95, self.place < 0.02
        return self._observe(), float(success), success or failure, self.time >= self.limit, self._info()


class Peak:
    """Φ of the history: the running maximum of the place, less a constant that tells models apart."""

    def __init__(self, less: float = 0.0) -> None:
        self.less, self.peak, self.asked = less, 0.0, 0

    def reset(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        self.peak = 0.0
        return self.step(observation, info)

    def step(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        self.asked += 1
        self.peak = max(self.peak, float(info["progress"]))
        return Progress(self.peak - self.less, 0.0, self.peak)


def play(env: gym.Env[Any, Any], seed: int, swap_at: int | None = None) -> tuple[list[dict[str, Any]], bool]:
    """Rewards, Φ and infos of one episode, and whether it ended by itself."""
    observation, info = env.reset(seed=seed)
    steps = [{"reward": 0.0, "info": info, "seen": observation}]
    over = terminated = False
    while not over:
        if len(steps) == swap_at:
            env.source = Peak(less=0.3)  # type: ignore[attr-defined]
        observation, reward, terminated, truncated, info = env.step(len(steps) % 2)
        steps.append({"reward": float(reward), "info": info, "seen": observation})
        over = terminated or truncated
    return steps, terminated


@pytest.mark.parametrize("swap_at", [None, 1, 3])
def test_the_wrapper_pays_what_theory_says(swap_at: int | None) -> None:
    endings = set()
    for seed in range(60):
        env = ShapedReward(Walk(), Shaping(GAMMA, scale=2.0, shift=-0.25), Peak())
        steps, terminated = play(env, seed, swap_at)
        phi = [step["info"]["potential"] for step in steps]
        count = len(steps) - 1
        shaping = sum(
            GAMMA**t * (s["reward"] - s["info"]["unshaped_reward"]) for t, s in enumerate(steps[1:])
        )
        assert shaping == pytest.approx((0 if terminated else GAMMA**count * phi[-1]) - phi[0], abs=1e-6)
        for before, after in pairwise(steps):
            assert after["info"]["potential_before"] == before["info"]["potential"]
            assert after["reward"] == pytest.approx(
                after["info"]["unshaped_reward"] + after["info"]["shaping"], abs=1e-12
            )
        assert all(step["seen"][-1] == pytest.approx(step["info"]["potential"]) for step in steps)
        endings.add((terminated, bool(steps[-1]["info"]["unshaped_reward"])))
    assert endings == {(True, True), (True, False), (False, False)}


def test_each_observation_is_judged_once() -> None:
    source = Peak()
    steps, _ = play(ShapedReward(Walk(), Shaping(GAMMA), source), 0)
    assert source.asked == len(steps)


def test_relabelling_gives_both_ends_by_the_new_model() -> None:
    steps, _ = play(ShapedReward(Walk(), Shaping(GAMMA), Peak()), 4)
    recorded = [(step["seen"], step["info"]) for step in steps]
    old, new = replay(Peak(), recorded), replay(Peak(less=0.2), recorded)
    assert [answer.progress for answer in old] == [step["info"]["potential"] for step in steps]
    assert [answer.progress for answer in new] == pytest.approx([a.progress - 0.2 for a in old])


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("as_dict", [False, True])
def test_a_vector_never_shapes_across_an_autoreset(mode: AutoresetMode, as_dict: bool) -> None:
    """Every env of the vector pays what an env of its own pays, episode after episode."""
    shaping, count = Shaping(GAMMA), 3
    env = ShapedVectorReward(
        SyncVectorEnv([lambda: Walk(as_dict=as_dict)] * count, autoreset_mode=mode), shaping, lambda i: Peak()
    )
    alone = [ShapedReward(Walk(as_dict=as_dict), shaping, Peak()) for _ in range(count)]
    observations, infos = env.reset(seed=[1, 2, 3])
    singles = [one.reset(seed=seed) for one, seed in zip(alone, (1, 2, 3), strict=True)]
    over = np.zeros(count, bool)
    assert observations in env.observation_space
    finished = 0
    for step in range(60):
        if mode is AutoresetMode.DISABLED and over.any():
            observations, infos = env.reset(options={"reset_mask": over.copy()})
            for i in np.flatnonzero(over):
                singles[i] = alone[i].reset()
            over[:] = False
        observations, rewards, terminated, truncated, infos = env.step(np.full(count, step % 2))
        for i, one in enumerate(alone):
            if mode is AutoresetMode.NEXT_STEP and over[i]:
                seen, info = one.reset()
                assert rewards[i] == 0
                assert infos["potential"][i] == info["potential"]
            else:
                seen, reward, ended, cut, info = one.step(step % 2)
                assert rewards[i] == pytest.approx(reward, abs=1e-6)
                assert (terminated[i] or truncated[i]) == (ended or cut)
                assert infos["potential"][i] == pytest.approx(info["potential"])
                assert infos["potential_before"][i] == pytest.approx(info["potential_before"])
                if mode is AutoresetMode.SAME_STEP and (ended or cut):
                    assert same(infos["final_obs"][i], seen)
                    seen, info = one.reset()
                finished += ended or cut
            got = {k: v[i] for k, v in observations.items()} if as_dict else observations[i]
            assert same(got, seen)
        over = terminated | truncated
    assert finished > 8


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(np.allclose(a, b, atol=1e-6))


def test_success_by_a_reward_model_has_hysteresis() -> None:
    rule = SuccessRule(enter=0.9, leave=0.8, ticks=3)
    answers = [0.95, 0.85, 0.79, 0.85, 0.91, 0.85, 0.81, 0.5]
    found = []
    rule.reset()
    for success in answers:
        found.append(rule.step(Progress(0.0, 0.0, success)))
    assert found == [False, False, False, False, False, False, True, False]
    with pytest.raises(UserError, match="leave <= enter"):
        SuccessRule(enter=0.5, leave=0.6)


def test_success_by_a_reward_model_pays_and_ends_and_is_said() -> None:
    rule = SuccessRule(enter=0.7, leave=0.6, ticks=1, by="progress")
    seen = set()
    for seed in range(30):
        steps, terminated = play(ShapedReward(Walk(), Shaping(GAMMA), Peak(), rule), seed)
        last = steps[-1]["info"]
        assert {step["info"]["success_from"] for step in steps} == {"reward_model"}
        assert last["unshaped_reward"] == float(last["is_success"])
        assert not any(step["info"]["unshaped_reward"] for step in steps[1:-1])
        seen.add((terminated, last["is_success"], last["env_success"]))
    assert (True, True, False) in seen
    assert not any(found and not ended for ended, found, _ in seen)
    _, info = ShapedReward(Walk(), Shaping(GAMMA), Peak()).reset(seed=0)
    assert info["success_from"] == "env"


def test_sources() -> None:
    assert TrueProgress().step(None, {"progress": 0.4, "is_success": False}) == (0.4, 0.0, 0.0)
    with pytest.raises(UserError, match="progress of a reward model"):
        TrueProgress().reset(None, {})
    one, two, other = (RandomProgress(lambda o: o, seed) for seed in (0, 0, 1))
    places = np.random.default_rng(0).normal(size=(50, 4))
    values = [one.step(place, {}).progress for place in places]
    assert values == [two.reset(place, {}).progress for place in places]
    assert values != [other.step(place, {}).progress for place in places]
    assert 0 <= min(values) < 0.2
    assert 0.8 < max(values) <= 1


class Counter:
    """A reward model whose progress is the number of frames seen so far, a hundredth each."""

    def stream(self, task: str | None = None) -> Any:
        model = self

        class Stream:
            times: list[float] = []  # noqa: RUF012

            def step(self, frames: Any, state: Any, timestamp: float) -> ProgressEstimate:
                self.times = [*self.times, timestamp]
                model.last = (frames, state, timestamp)
                return ProgressEstimate(len(self.times) / 100, "a", {"a": 1.0}, 0.1, 0.3)

        return Stream()

    last: Any = None


def test_learned_progress_is_streamed_once_a_tick() -> None:
    model = Counter()
    source = LearnedProgress(model, frames=lambda o: {"front": o}, fps=5, state=lambda o: o[:1])  # type: ignore[arg-type]
    picture = np.zeros(3)
    assert source.reset(picture, {}) == (0.01, 0.1, 0.3)
    assert source.step(picture, {}).progress == 0.02
    assert model.last[1:] == (np.zeros(1), 0.2)
    assert source.reset(picture, {}).progress == 0.01
    late = LearnedProgress(model, frames=lambda o: {"front": o}, fps=5)  # type: ignore[arg-type]
    assert late.step(picture, {}).progress == 0.01


def test_observations_of_other_kinds_are_refused() -> None:
    env = Walk()
    env.observation_space = spaces.Box(0, 1, (2, 2), np.float32)
    with pytest.raises(UserError, match="append=False"):
        ShapedReward(env, Shaping(GAMMA), Peak())
    ShapedReward(env, Shaping(GAMMA), Peak(), append=False)
