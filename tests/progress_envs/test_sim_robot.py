"""`progress-rm sim-robot`: started in the background, told things, ended; and its users' mistakes."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from progress_datasets.errors import UserError
from progress_envs.hardware.faults import Faults
from progress_envs.sim_robot import Config, run
from progress_rm import cli


def test_it_runs_in_the_background_and_does_what_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f"--folder={tmp_path / 'robot'}"
    start = ["sim-robot", folder, "--background", "--image_size=16", "--render=raycast", "--seconds=120"]
    assert cli.main(start) == 0
    said = capsys.readouterr().out
    assert f"port      {tmp_path / 'robot' / 'port'}" in said
    assert f"--config_path={tmp_path / 'robot' / 'robot.yaml'}" in said
    assert (tmp_path / "robot" / "port").is_symlink()
    assert cli.main(["sim-robot", folder, "--tell=reset 4"]) == 0
    capsys.readouterr()
    assert cli.main(["sim-robot", folder, "--tell=truth"]) == 0
    truth = json.loads(capsys.readouterr().out)
    assert truth["episode"] == 2
    assert cli.main(["sim-robot", folder, "--tell=dance"]) == 2
    assert "does not know 'dance'; it knows reset" in capsys.readouterr().err
    assert cli.main(start) == 2
    assert "runs there already" in capsys.readouterr().err
    assert cli.main(["sim-robot", folder, "--tell=quit"]) == 0
    end = time.monotonic() + 20
    while (tmp_path / "robot" / "control").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not (tmp_path / "robot" / "port").is_symlink()
    assert cli.main(["sim-robot", folder, "--tell=reset"]) == 2
    assert "start progress-rm sim-robot" in capsys.readouterr().err


def test_in_the_foreground_it_runs_for_as_long_as_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    interval = sys.getswitchinterval()
    run(Config(folder=tmp_path, image_size=16, render="raycast", views=["front"], seconds=0.2))
    sys.setswitchinterval(interval)
    said = capsys.readouterr().out
    assert "episode 1: Put the red cube into the blue bin." in said
    assert "cameras   front, 16 x 16, 30 fps" in said
    assert not (tmp_path / "control").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "PickPlaces"}, "PickPlace"),
        ({"views": ["rear"]}, "'rear' is unknown; choose one of front, top, wrist"),
        ({"render": "oil"}, "render='oil' is unknown"),
        ({"camera_fps": 0}, "give at least --camera_fps=1"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(Config(folder=tmp_path, **options))  # type: ignore[arg-type]
    assert not (tmp_path / "port").is_symlink()
    assert not (tmp_path / "control").exists()


def test_faults_that_do_not_exist_are_refused() -> None:
    with pytest.raises(UserError, match="give a probability"):
        Faults(drop=1.5)
    with pytest.raises(UserError, match="joint 'elbow' is unknown"):
        Faults(jammed=("elbow",))
    with pytest.raises(UserError, match="camera fault 'dirty' is unknown"):
        Faults(cameras={"front": "dirty"})
    with pytest.raises(UserError, match="fault 'gremlins' is unknown"):
        Faults.from_dict({"gremlins": 3})
    faults = Faults(drop=0.1, silent=("gripper",), temperatures={"gripper": 50.0})
    assert Faults.from_dict(json.loads(json.dumps(faults.as_dict()))) == faults
