"""`collect`: who demonstrates what, the same data however it is made, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_envs.collect import Config, plan, run
from progress_envs.recording import TAIL

SMALL: dict[str, Any] = {
    "episodes": 4,
    "image_size": 32,
    "views": ["top"],
    "render": "raycast",
    "qualities": ["expert", "failing"],
    "seed": 3,
}


def content(root: Path) -> list[dict[str, Any]]:
    """Everything of a dataset but its pictures."""
    dataset = EpisodeDataset(root)
    return [
        {
            "info": dataset.info(k),
            "segments": dataset.segments(k),
            **{c: dataset.column(c, k).tolist() for c in ("observation.state", "action", "progress")},
        }
        for k in range(dataset.num_episodes)
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("collect") / "one"
    run(Config(output_dir=root, workers=1, **SMALL))
    return root


def test_plan_is_proportional_shuffled_and_repeatable() -> None:
    config = Config(episodes=40, qualities=["expert:3", "failing"], seed=1)
    jobs = plan(config)
    assert jobs == plan(config)
    assert Counter(job.quality for job in jobs) == {"expert": 30, "failing": 10}
    assert {job.quality for job in jobs[:20]} == {"expert", "failing"}
    assert len({job.seed for job in jobs}) == 40
    assert not {job.seed for job in jobs} & {job.seed for job in plan(Config(episodes=40, seed=2))}
    assert plan(Config(episodes=10, seed=1))[3].seed == jobs[3].seed


def test_the_dataset(dataset: Path) -> None:
    read = EpisodeDataset(dataset)
    assert read.num_episodes == 4
    assert read.views == ("top",)
    assert read.fps == 10
    assert not dataset.with_name("one.partial").exists()
    for k in range(4):
        info, progress = read.info(k), read.column("progress", k)
        assert info["env_id"] == "progress/PickPlace-v0"
        assert (info["outcome"] == "success") == (info["quality"] == "expert") == (progress[-1] == 1)
        assert (
            read.column("observation.state", k).shape == read.column("action", k).shape == (read.length(k), 6)
        )
        segments = read.segments(k)
        assert segments[0].start == 0
        tail = round(TAIL * 10) if info["outcome"] == "success" else 0
        assert segments[-1].end == read.length(k) - tail
        assert (progress[len(progress) - tail :] == 1).all()
        assert next(iter(read.frames(k, "top"))).shape == (32, 32, 3)
    assert read.stage_order(read.task(0)) == ("reach", "grasp", "lift", "move", "release")
    assert "raycast" in (dataset / "meta" / "progress.json").read_text()


def test_killed_and_repeated_it_is_the_same_data(dataset: Path, tmp_path: Path) -> None:
    """Two workers, SIGKILL in the middle, the same command again: equal to one worker undisturbed."""
    root, partial = tmp_path / "two", tmp_path / "two.partial"
    options = {**SMALL, "output_dir": str(root), "workers": 2}
    code = (
        "import json, sys; from pathlib import Path; from progress_envs.collect import Config, run\n"
        "o = json.loads(sys.argv[1]); o['output_dir'] = Path(o['output_dir']); run(Config(**o))"
    )
    script = tmp_path / "collect_it.py"
    script.write_text(f"if __name__ == '__main__':\n    {code.replace(chr(10), chr(10) + '    ')}\n")
    process = subprocess.Popen(
        [sys.executable, str(script), json.dumps(options)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while not list(partial.glob("episode_*.npz")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not root.exists()
    before = {path: path.stat().st_mtime_ns for path in partial.glob("episode_*.npz")}
    run(Config(**{**options, "output_dir": root, "workers": 1}))
    assert before
    assert content(root) == content(dataset)
    assert not partial.exists()


def test_recorded_episodes_are_not_recorded_again(dataset: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from progress_envs import collect, workers

    root = tmp_path / "three"
    config = Config(**SMALL, output_dir=root, workers=1)
    real = workers.record
    recorded: list[int] = []

    def fail_at_the_third(env: Any, job: Any) -> Any:
        if len(recorded) == 2:
            raise KeyboardInterrupt
        recorded.append(job.index)
        return real(env, job)

    monkeypatch.setattr(workers, "record", fail_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        collect.run(config)
    assert not root.exists()
    monkeypatch.setattr(workers, "record", lambda env, job: (recorded.append(job.index), real(env, job))[1])
    collect.run(config)
    assert recorded == [0, 1, 2, 3]
    assert content(root) == content(dataset)


def test_killed_after_the_dataset_was_written(tmp_path: Path, monkeypatch: Any) -> None:
    from progress_envs import collect

    config = Config(**{**SMALL, "episodes": 1, "video": False}, output_dir=tmp_path / "five", workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(collect, "_summary", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            collect.run(config)
    before = {path: path.stat().st_mtime_ns for path in config.output_dir.rglob("*")}
    assert collect.run(config)["episodes"] == 1
    assert {path: path.stat().st_mtime_ns for path in config.output_dir.rglob("*")} == before
    assert not (tmp_path / "five.partial").exists()


def test_other_options_do_not_mix(tmp_path: Path) -> None:
    partial = tmp_path / "four.partial"
    partial.mkdir()
    (partial / "options.json").write_text("{}")
    with pytest.raises(UserError, match="made with other options"):
        run(Config(**SMALL, output_dir=tmp_path / "four"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env": "PickPlac"}, "--env=PickPlac: there is no such task; choose one of .*PickPlace"),
        ({"episodes": 0}, "--episodes=0"),
        ({"workers": -1}, "--workers=-1"),
        ({"seed": -1}, "--seed=-1"),
        ({"views": ["top", "top"]}, "at most once"),
        ({"views": ["back"]}, "views='back' is unknown"),
        ({"qualities": ["experts"]}, "'experts' is unknown; choose from expert"),
        ({"qualities": ["expert:x"]}, "no number after the colon"),
        ({"qualities": []}, "at least one quality"),
        ({"fps": 7}, "fps=7 does not divide"),
        ({"render": "metal"}, "render='metal' is unknown"),
    ],
)
def test_mistakes_are_one_line(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        run(Config(**{**SMALL, "output_dir": tmp_path / "out", "workers": 2, **options}))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_existing_output_is_refused(dataset: Path) -> None:
    with pytest.raises(UserError, match="exists already; choose another --output_dir or remove it"):
        run(Config(**SMALL, output_dir=dataset))


def test_states_and_actions_do_not_depend_on_the_renderer_or_views(dataset: Path, tmp_path: Path) -> None:
    run(
        Config(
            **{**SMALL, "views": ["front", "wrist"], "image_size": 16, "video": False},
            output_dir=tmp_path / "d",
            workers=1,
        )
    )
    assert content(tmp_path / "d") == content(dataset)
    assert np.asarray(next(iter(EpisodeDataset(tmp_path / "d").frames(0, "wrist")))).shape == (16, 16, 3)
