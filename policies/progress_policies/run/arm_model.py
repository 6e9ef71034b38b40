"""The arm's MuJoCo model judges what may be asked of the real one: joint ranges, and where the arm would be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_envs import arm

_SO101 = f"""
<mujoco><compiler angle="degree" autolimits="true"/>
<default>{arm.DEFAULTS}</default>
<worldbody>{arm.BODY}</worldbody></mujoco>
"""
GRIPPER = "gripper"
"""The joint that LeRobot measures from 0 (closed) to 100 (open); all others are in degrees."""


@dataclass(frozen=True)
class Placement:
    """Where an arm is.

    Attributes:
        tool: [3] the tool's place in metres, in the model's frame (SO-101: under the shoulder on the table, z up).
        lowest: metres; no part that can touch something is lower.
    """

    tool: NDArray[np.float64]
    lowest: float


class ArmModel:
    """Kinematics of one arm, in LeRobot's units.

    Attributes:
        joints: names, in the order of the model.
        low, high: [n] ranges of the joints: degrees, and 0..100 for the gripper.
    """

    def __init__(self, model: mujoco.MjModel, tool: str) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self.joints = tuple(model.joint(k).name for k in range(model.njnt))
        self._unit = np.array([self._unit_of(k) for k in range(model.njnt)])
        ranges = model.jnt_range / self._unit[:, None]
        self.low, self.high = ranges[:, 0].copy(), ranges[:, 1].copy()
        self._tool = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, tool)
        touching = (model.geom_contype | model.geom_conaffinity) != 0
        self._solid = np.flatnonzero(touching & (model.geom_bodyid > 0))

    @classmethod
    def load(cls, path: str = "", tool: str = "tool") -> ArmModel:
        """The model in a MuJoCo XML file or URDF; by default the SO-101's.

        Raises:
            UserError: there is no such file, it is no model, a joint of it has no range, or it has no such site.
        """
        if not path:
            return _so101()
        if not Path(path).is_file():
            raise UserError(f"--safety.model={path}: there is no such file; give the MuJoCo XML of the arm")
        try:
            model = mujoco.MjModel.from_xml_path(path)
        except ValueError as error:
            raise UserError(f"--safety.model={path}: {' '.join(str(error).split())}") from error
        if not (model.jnt_limited.all() and model.njnt):
            raise UserError(f"--safety.model={path}: every joint needs a range, or nothing can be checked")
        if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, tool) < 0:
            raise UserError(
                f"--safety.model={path}: has no site '{tool}'; name the tool's with --safety.tool"
            )
        return cls(model, tool)

    def place(self, joints: NDArray[np.float64]) -> Placement:
        """Where the arm is at `joints` [n]."""
        data, model = self._data, self._model
        data.qpos[model.jnt_qposadr] = joints * self._unit
        mujoco.mj_kinematics(model, data)
        upward = data.geom_xmat.reshape(-1, 3, 3)[self._solid, 2]
        box = model.geom_aabb[self._solid]
        middle = data.geom_xpos[self._solid, 2] + (upward * box[:, :3]).sum(axis=1)
        bottoms = middle - (np.abs(upward) * box[:, 3:]).sum(axis=1)
        return Placement(data.site_xpos[self._tool].copy(), float(bottoms.min(initial=np.inf)))

    def _unit_of(self, k: int) -> float:
        """What one of LeRobot's units is in MuJoCo's."""
        joint = self._model.joint(k)
        if joint.name == GRIPPER:
            low, high = joint.range
            return float(high - low) / 100 if low == 0 else float(np.pi / 180)
        return float(np.pi / 180)


@cache
def _so101() -> ArmModel:
    return ArmModel(mujoco.MjModel.from_xml_string(_SO101), "tool")
