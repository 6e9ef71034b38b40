"""What differs between episodes: each factor alone, seeded, and the splits apart."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_datasets.errors import UserError
from progress_envs.names import env_id
from progress_envs.scene import DISTRACTORS
from progress_envs.variation import FACTORS, SPLITS, factors, split_seed


def make(**options: Any) -> Any:
    options = {"obs_type": "state", "render": "raycast", **options}
    return gymnasium.make(env_id("PickPlace"), disable_env_checker=True, **options).unwrapped


def looks(env: Any) -> dict[str, np.ndarray]:
    """What a factor can change, by the factor's name."""
    model = env.world.model
    arm = model.body_rootid[model.geom_bodyid] == model.body("base").id
    table = np.isin(np.arange(model.ngeom), [model.geom("table").id, model.geom("floor").id])
    away = np.isin(
        np.arange(model.ngeom),
        [model.geom(n).id for n in DISTRACTORS if "distractors" in env.variation.factors],
    )
    return {
        "pose": env.world.position("red cube")[:2].copy(),
        "size": np.array(env.world.things["red cube"].size),
        "colour": model.geom_rgba[~arm & ~table & ~away].copy(),
        "light": np.concatenate([model.light_dir.ravel(), model.light_diffuse.ravel()]),
        "camera": np.concatenate([model.cam_pos.ravel(), model.cam_quat.ravel()]),
        "distractors": env.world.data.mocap_pos[-3:, :2].copy(),
        "arm": model.geom_rgba[arm].copy(),
        "background": model.geom_rgba[table].copy(),
    }


def differs(factor: str, one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    return one[factor].shape != two[factor].shape or not np.array_equal(one[factor], two[factor])


@pytest.mark.parametrize("split", [None, *SPLITS])
@pytest.mark.parametrize("factor", FACTORS)
def test_each_factor_changes_what_it_says_and_nothing_else(factor: str, split: str | None) -> None:
    env = make(vary=[factor], split=split)
    seen = []
    for seed in range(12):
        env.reset(seed=seed)
        seen.append(looks(env))
    changed = {name for name in FACTORS if any(differs(name, seen[0], other) for other in seen[1:])}
    # A bin's place is a pose too, so where there are no distractors to look at the bin's is looked at.
    assert changed - {"distractors"} == {factor} - {"distractors"}
    if factor == "distractors":
        assert "distractors" in changed


def test_the_same_seed_looks_the_same_on_a_used_env() -> None:
    options = {"vary": FACTORS, "split": "shifted", "obs_type": "pixels_state", "image_size": 32}
    first, second = make(**options), make(**options)
    for seed in range(4):
        second.reset(seed=seed)
    one, two = first.reset(seed=9)[0], second.reset(seed=9)[0]
    assert all(np.array_equal(one["pixels"][view], two["pixels"][view]) for view in one["pixels"])
    assert np.array_equal(one["agent_pos"], two["agent_pos"])


def test_splits_have_other_episodes_and_shifted_has_unseen_looks() -> None:
    assert len({split_seed(5, split) for split in SPLITS}) == 3
    envs = {split: make(split=split) for split in SPLITS}
    drawn: dict[str, list[dict[str, np.ndarray]]] = {split: [] for split in SPLITS}
    for split, env in envs.items():
        for seed in range(30):
            env.reset(seed=seed)
            drawn[split].append(looks(env))
    assert not np.array_equal(drawn["train"][0]["pose"], drawn["test"][0]["pose"])
    plain = make(vary=[])
    plain.reset(seed=0)
    nominal = looks(plain)

    def spread(split: str, name: str) -> np.ndarray:
        return np.array([np.abs(look[name] - nominal[name]).max() for look in drawn[split]])

    for name in ("light", "camera"):
        assert spread("shifted", name).min() > spread("train", name).max() > 0
        assert spread("test", name).max() <= spread("train", name).max() * 1.5


def test_distractors_stand_clear_of_things() -> None:
    env = make(vary=["pose", "distractors"])
    shown = 0
    for seed in range(20):
        env.reset(seed=seed)
        standing = [env.world.data.body(name).xpos.copy() for name in DISTRACTORS]
        standing = [place for place in standing if place[2] > 0]
        shown += len(standing)
        for place in standing:
            assert np.linalg.norm(place[:2] - env.world.position("red cube")[:2]) > 0.05
            assert np.abs(place[:2] - env.world.position("blue bin")[:2]).max() > 0.05
    assert shown >= 20


def test_a_mistake_says_what_there_is() -> None:
    with pytest.raises(UserError, match="split='dev' is unknown; choose one of train, test, shifted"):
        factors("dev", None)
    with pytest.raises(UserError, match="vary: 'weather' is unknown; choose from pose, size"):
        factors("train", ["weather"])
