"""Every file in robot_configs/ is read by the installed LeRobot, is safe by itself, and sees what simulation sees."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import draccus
import lerobot.cameras.opencv
import lerobot.robots.bi_so_follower
import lerobot.robots.koch_follower
import lerobot.robots.lekiwi
import lerobot.robots.so_follower  # noqa: F401 -- these register the types of robots
import mujoco
import numpy as np
import pytest
import yaml
from lerobot.robots import RobotConfig, make_robot_from_config

import progress_envs.lerobot  # noqa: F401 -- registers the simulated cameras
from progress_envs import arm
from progress_envs.scene import VIEWS, mjcf

FOLDER = Path(__file__).parents[1] / "robot_configs"
FILES = sorted(FOLDER.glob("*.yaml"))
TYPES = {
    "so101": "so101_follower",
    "so100": "so100_follower",
    "koch_v1_1": "koch_follower",
    "lekiwi": "lekiwi",
    "bi_so101": "bi_so_follower",
    "simulated_so101": "so101_follower",
    "simulated_koch": "koch_follower",
    "simulated_bi_so101": "bi_so_follower",
}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content


def test_the_robots_that_are_promised_are_there_and_in_the_readme() -> None:
    assert {path.stem for path in FILES} == set(TYPES)
    listed = re.findall(r"^\| `(\w+)\.yaml` \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert set(listed) == set(TYPES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_lerobot_reads_it_and_makes_the_robot(path: Path, tmp_path: Path) -> None:
    content = read(path)
    assert {"robot", "safety"} <= set(content) <= {"robot", "safety", "start"}
    config = draccus.decode(RobotConfig, content["robot"])
    assert config.type.startswith(TYPES[path.stem][:4])
    assert type(config) is RobotConfig.get_choice_class(TYPES[path.stem])
    config.calibration_dir = tmp_path
    robot = make_robot_from_config(config)
    numbers = [name for name, kind in robot.action_features.items() if kind is float]
    assert numbers
    limited = content["safety"].get("joints", {})
    for name in limited:
        assert any(number.endswith((f"{name}.pos", name)) for number in numbers), name
    # Velocities have no limits in the arm's model.
    assert [number for number in numbers if not number.endswith(".pos") and number not in limited] == []


def steps(value: Any) -> list[float | None]:
    """Every `max_relative_target` in a robot's config."""
    if not isinstance(value, dict):
        return []
    own = [value.get("max_relative_target")] if "port" in value else []
    return own + [step for part in value.values() for step in steps(part)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_limits_are_set_and_narrower_than_the_arm(path: Path) -> None:
    content = read(path)
    safety, found = content["safety"], steps(content["robot"])
    assert found
    assert all(step is not None and 0 < step <= safety["lead"] for step in found)
    for name, (low, high) in safety.get("joints", {}).items():
        if name in arm.JOINTS:
            index = arm.JOINTS.index(name)
            assert arm.LOW[index] <= low < high <= arm.HIGH[index], name
        else:
            assert low < 0 < high, name
    low, high = np.array(safety["workspace_low"]), np.array(safety["workspace_high"])
    assert np.all(low < high)
    assert np.all(high <= 0.6)
    assert safety["floor"] <= low[2] + 0.02
    assert 0 < safety["speed"] <= 240
    assert 0 < safety["torque"] <= 100
    assert 40 <= safety["temperature"] < 70


def test_the_safety_options_are_those_of_the_verb_run() -> None:
    safety = pytest.importorskip("progress_policies.run.safety")
    for path in FILES:
        draccus.decode(safety.SafetyOptions, read(path)["safety"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_start_is_within_the_limits(path: Path) -> None:
    safety = pytest.importorskip("progress_policies.run.safety")
    start = pytest.importorskip("progress_policies.run.start")
    content = read(path)
    joints = content.get("start", {})
    assert bool(joints) == path.stem.startswith("simulated")
    if joints:
        options = draccus.decode(safety.SafetyOptions, content["safety"])
        limits = safety.limits_for([f"{joint}.pos" for joint in joints], options, 30)
        assert start.Start(joints, limits, 30)


def places() -> dict[str, str]:
    """Where the simulated cameras are, in the words that the files must use."""
    model = mujoco.MjModel.from_xml_string(mjcf((), ()))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    words = {}
    for view in VIEWS:
        camera = model.camera(view)
        x, _, z = 100 * data.cam_xpos[camera.id]
        down = np.degrees(np.arcsin(data.cam_xmat[camera.id].reshape(3, 3)[2, 2]))
        fovy = f"{float(camera.fovy[0]):.0f} degrees of view"
        if view == "wrist":
            ahead, aside, above = 100 * camera.pos
            behind = 100 * model.site("tool").pos[0] - ahead
            words[view] = (
                f"{above:.1f} cm above the axis it turns about and {behind:.1f} cm behind the middle of the jaws, "
                f"{-aside:.0f} cm to the side of the moving jaw, looking {down:.0f} degrees down .*{fovy}"
            )
        elif view == "top":
            words[view] = (
                f"{x:.0f} cm forward of the shoulder's axis, {z:.0f} cm above the table, looking straight down; {fovy}"
            )
        else:
            words[view] = (
                f"{x:.0f} cm forward of the shoulder's axis, in the middle, {z:.0f} cm above the table, .*"
                f"{down:.0f} degrees down; {fovy}"
            )
    return words


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.stem != "lekiwi"], ids=lambda path: path.stem
)
def test_cameras_stand_where_the_simulated_ones_do(path: Path) -> None:
    comments = re.sub(r"\s*\n\s*# ?", " ", path.read_text(encoding="utf-8"))
    for view, words in places().items():
        assert re.search(f"{view}: .*?{words}", comments), f"{view}: {words}"


@pytest.mark.parametrize(
    ("name", "robot", "folder"),
    [("simulated_so101", "so101", "sim_robot"), ("simulated_koch", "koch", "sim_koch")],
)
def test_the_simulated_robot_is_configured_as_sim_robot_writes_it(
    name: str, robot: str, folder: str, tmp_path: Path
) -> None:
    from progress_envs.hardware.server import Options
    from progress_envs.hardware.written_config import write_config

    (tmp_path / folder).mkdir()
    written = read(write_config(Options(folder=str(tmp_path / folder), robot=robot)))["robot"]
    committed = read(FOLDER / f"{name}.yaml")["robot"]

    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: short(part) for key, part in value.items()}
        return value.removeprefix(f"{tmp_path}/") if isinstance(value, str) else value

    assert short(written) == committed


def test_the_two_simulated_arms_are_configured_as_sim_robot_writes_each(tmp_path: Path) -> None:
    from progress_envs.hardware.server import Options
    from progress_envs.hardware.written_config import write_config

    both = read(FOLDER / "simulated_bi_so101.yaml")["robot"]
    for side in ("left", "right"):
        (tmp_path / f"sim_{side}").mkdir()
        place = str(tmp_path / both["calibration_dir"])
        options = Options(
            folder=str(tmp_path / f"sim_{side}"), id=f"{both['id']}_{side}", calibration_dir=place
        )
        one = read(write_config(options))["robot"]
        arm_config = both[f"{side}_arm_config"]
        assert one["port"] == str(tmp_path / arm_config["port"])
        assert one["max_relative_target"] == arm_config["max_relative_target"]
        assert {view: c["source"] for view, c in one["cameras"].items()} == {
            view: str(tmp_path / camera["source"]) for view, camera in arm_config["cameras"].items()
        }
        # Where LeRobot's driver of two arms looks for it.
        assert (tmp_path / both["calibration_dir"] / f"{both['id']}_{side}.json").exists()
