"""The walk-through of `docs/new-task.md` is followed word by word: one file, and every verb knows the task."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

import progress_envs
from progress_datasets.episodes import EpisodeDataset
from progress_envs import tasks
from progress_envs.expert import make_expert
from progress_envs.names import env_id, task_names
from progress_rm import cli

PAGE = Path(__file__).parents[2] / "docs" / "new-task.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def eleventh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The task of the page, in a folder of its own beside the others."""
    (tmp_path / "push_cube.py").write_text(blocks("python")[0], encoding="utf-8")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    progress_envs.register()
    yield "PushCube"
    gymnasium.registry.pop(env_id("PushCube"))


def test_its_command_and_its_example_run(
    eleventh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert eleventh in task_names()
    monkeypatch.chdir(tmp_path)
    (command,) = blocks("bash")
    assert cli.main([*command.split()[1:], "--image_size=48"]) == 0
    dataset = EpisodeDataset(tmp_path / "pushes")
    assert dataset.num_episodes == 8
    assert dataset.stage_order(dataset.task(0)) == ("reach", "push")
    capsys.readouterr()
    exec(compile(blocks("python")[1], str(PAGE), "exec"), {})
    assert "'is_success': True" in capsys.readouterr().out


@pytest.mark.parametrize("split", ["train", "shifted"])
@pytest.mark.parametrize(("quality", "succeeds"), [("expert", True), ("clumsy", True), ("fooling", False)])
def test_its_demonstrators_do_as_they_should(eleventh: str, split: str, quality: str, succeeds: bool) -> None:
    env = gymnasium.make(env_id(eleventh), obs_type="state", split=split, disable_env_checker=True)
    for seed in range(8):
        env.reset(seed=seed)
        expert, info = make_expert(env, quality, seed), {"is_success": False}
        while not info["is_success"]:
            action = expert.act()
            if expert.done:
                break
            *_, truncated, info = env.step(action)
            assert not truncated
        assert info["is_success"] == succeeds
