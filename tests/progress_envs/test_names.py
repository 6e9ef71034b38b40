"""A task is one file: putting it into the folder is all it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import pytest

import progress_envs
from progress_envs import tasks
from progress_envs.expert import make_expert
from progress_envs.names import env_id, modules, task_names

TOUCH_CUBE = '''
"""TouchCube: bring the hand to the cube."""

from progress_envs import carry
from progress_envs.scene import Thing
from progress_envs.task import Task

CUBE = Thing("green cube", "box", (0.014, 0.014, 0.014), "green")


class TouchCube(Task):
    instruction = "Bring the hand to the green cube."
    stages = ("reach",)
    seconds = (1.5,)
    time_limit = 10.0
    things = (CUBE,)
    bins = ()

    def reset(self, rng):
        self.world.place(CUBE.name, rng.uniform(0.16, 0.22), rng.uniform(-0.08, 0.08))
        self.world.settle()
        self._start = carry.reach_distance(self.world, CUBE.name)

    def completion(self):
        near = carry.reach_distance(self.world, CUBE.name) - carry.NEAR
        return [min(max(1 - near / (self._start - carry.NEAR), 0.0), 1.0)]

    def plan(self, expert):
        while not expert.success:
            yield from expert.bring(CUBE.name, "")
'''


def test_names_and_ids() -> None:
    assert modules()["PickPlace"] == "progress_envs.tasks.pick_place"
    assert env_id("TidyTable") == "progress/TidyTable-v0" == env_id("progress/TidyTable-v0")


def test_one_more_file_is_one_more_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "touch_cube.py").write_text(TOUCH_CUBE)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    assert "TouchCube" in task_names()
    progress_envs.register()
    try:
        env: Any = gymnasium.make(env_id("TouchCube"), obs_type="state", disable_env_checker=True)
        _, info = env.reset(seed=0)
        assert info == {"is_success": False, "progress": 0.0, "stage": "reach"}
        expert = make_expert(env, "expert", 0)
        terminated = False
        while not terminated:
            _, reward, terminated, truncated, info = env.step(expert.act())
            assert not truncated
        assert reward == info["progress"] == 1
    finally:
        del gymnasium.registry[env_id("TouchCube")]
