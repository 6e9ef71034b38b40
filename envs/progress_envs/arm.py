"""The arm: SO-101's joints, names, ranges, link lengths and servos, drawn with primitive shapes.

Lengths and joint ranges are those of TheRobotStudio/SO-ARM100 (Simulation/SO101, "new calibration"); signs and units
are LeRobot's: degrees for the five joints, 0 (closed) to 100 (open) for the gripper. Positive shoulder_lift leans
forward, positive elbow_flex and wrist_flex bend down, positive shoulder_pan turns right seen from above. The one
difference: the moving jaw slides instead of swinging, which keeps the jaws parallel at every opening.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
NAMES = tuple(f"{joint}.pos" for joint in JOINTS)
"""Names of state and action entries, as LeRobot's SO-101 drivers call them."""

LOW = np.array([-110.0, -100.0, -96.8, -95.0, -157.2, 0.0])
HIGH = np.array([110.0, 100.0, 96.8, 95.0, 162.8, 100.0])
"""[6] joint ranges: degrees, and 0..100 for the gripper."""
_LOW, _HIGH = LOW.tolist(), HIGH.tolist()

OPENING = 0.070
"""Distance between the jaws in metres when the gripper is at 100."""

FIXED_JAW = 0.014
"""Where the fixed jaw's inner face is, along the jaw axis from the roll axis, in metres."""

_UNIT = np.array([math.pi / 180] * 5 + [OPENING / 100])
"""[6] LeRobot's units in MuJoCo's: radians in a degree, metres in a hundredth of the opening."""

_SHOULDER = (0.0304, 0.1166)
_UPPER = (0.0280, 0.1126)
_FORE = (0.1349, 0.0052)
_HAND = 0.1592
_UPPER_LENGTH = math.hypot(*_UPPER)
_FORE_LENGTH = math.hypot(*_FORE)
_UPPER_ANGLE = math.atan2(_UPPER[1], _UPPER[0])
_FORE_ANGLE = math.atan2(_FORE[1], _FORE[0])

WHITE = "0.93 0.93 0.90 1"
DARK = "0.16 0.16 0.18 1"
JAW = "0.10 0.80 0.85 1"


@dataclass(frozen=True)
class Pose:
    """A pose of the tool centre, the point midway along the jaws.

    Attributes:
        x, y, z: metres; the origin lies under the shoulder on the table, x forward, y left, z up.
        pitch: degrees below the horizontal; 90 points straight down.
        yaw: degrees; direction of the jaw axis about the vertical (0: along y), when pointing down.
        gripper: 0 (closed) to 100 (open).
    """

    x: float
    y: float
    z: float
    pitch: float = 90.0
    yaw: float = 0.0
    gripper: float = 100.0

    @property
    def position(self) -> NDArray[np.float64]:
        """float64 [3], metres."""
        return np.array([self.x, self.y, self.z])


def inverse(pose: Pose) -> NDArray[np.float64]:
    """Joint positions that reach `pose`, or come nearest to it: float64 [6], LeRobot's units, within the joint ranges.

    A pose too far away for its pitch is reached with a flatter hand; one out of reach altogether as nearly as can be.
    """
    nearest, distance = _bend(pose, pose.pitch)
    pitch = pose.pitch - 2.5
    while distance > 1e-6 and pitch > 5:
        joints, missed = _bend(pose, pitch)
        if missed < distance:
            nearest, distance = joints, missed
        pitch -= 2.5
    return np.array(nearest)


def _bend(pose: Pose, pitch: float) -> tuple[list[float], float]:
    """Joints for `pose` at this pitch, and by how many metres they miss it because of ranges or reach."""
    pan = math.atan2(pose.y, pose.x)
    out, up = _wrist(math.hypot(pose.x, pose.y), pose.z, pitch)
    far = math.hypot(out, up)
    distance = min(max(far, 0.03), _UPPER_LENGTH + _FORE_LENGTH - 1e-6)
    cosine = (_UPPER_LENGTH**2 + distance**2 - _FORE_LENGTH**2) / (2 * _UPPER_LENGTH * distance)
    upper = math.atan2(up, out) + math.acos(min(max(cosine, -1.0), 1.0))
    out, up = out * distance / max(far, 1e-9), up * distance / max(far, 1e-9)
    fore = math.atan2(up - _UPPER_LENGTH * math.sin(upper), out - _UPPER_LENGTH * math.cos(upper))
    lift = math.degrees(_UPPER_ANGLE - upper)
    elbow = math.degrees(_FORE_ANGLE - fore) - lift
    roll = pose.yaw - math.degrees(pan)
    joints = [-math.degrees(pan), lift, elbow, pitch - lift - elbow, roll, pose.gripper]
    joints = [min(max(joint, low), high) for joint, low, high in zip(joints, _LOW, _HIGH, strict=True)]
    return joints, math.dist(_place(*joints[:4]), (pose.x, pose.y, pose.z))


def forward(joints: NDArray[np.floating]) -> Pose:
    """The pose of the tool centre at `joints` [6] (LeRobot's units): the inverse of `inverse` within reach."""
    pan, lift, elbow, flex, roll, gripper = joints.tolist()
    x, y, z = _place(pan, lift, elbow, flex)
    return Pose(x, y, z, pitch=lift + elbow + flex, yaw=roll - pan, gripper=gripper)


def _wrist(reach: float, height: float, pitch: float) -> tuple[float, float]:
    """The wrist's place in the arm's vertical plane, metres out and up from the shoulder_lift axis."""
    angle = math.radians(pitch)
    return reach - _HAND * math.cos(angle) - _SHOULDER[0], height + _HAND * math.sin(angle) - _SHOULDER[1]


def _place(pan: float, lift: float, elbow: float, flex: float) -> tuple[float, float, float]:
    """Where the tool centre is at these joint positions, degrees: x, y, z in metres."""
    upper = _UPPER_ANGLE - math.radians(lift)
    fore = _FORE_ANGLE - math.radians(lift + elbow)
    hand = math.radians(lift + elbow + flex)
    out = _SHOULDER[0] + _UPPER_LENGTH * math.cos(upper) + _FORE_LENGTH * math.cos(fore)
    up = _SHOULDER[1] + _UPPER_LENGTH * math.sin(upper) + _FORE_LENGTH * math.sin(fore)
    out, up = out + _HAND * math.cos(hand), up - _HAND * math.sin(hand)
    angle = math.radians(-pan)
    return out * math.cos(angle), out * math.sin(angle), up


def clip(joints: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest joint positions [6] (LeRobot's units) within the ranges."""
    return np.asarray(np.minimum(np.maximum(joints, LOW), HIGH))


def to_units(positions: NDArray[np.floating]) -> NDArray[np.float64]:
    """MuJoCo joint positions (radians, metres of opening) [..., 6] in LeRobot's units [..., 6]."""
    return np.asarray(positions / _UNIT)


def from_units(units: NDArray[np.floating]) -> NDArray[np.float64]:
    """LeRobot's units [..., 6] as MuJoCo control targets (radians, metres of opening) [..., 6]."""
    return np.asarray(units * _UNIT)


def _joint(name: str, axis: str) -> str:
    k = JOINTS.index(name)
    return f'<joint name="{name}" class="servo" axis="{axis}" range="{LOW[k]} {HIGH[k]}"/>'


DEFAULTS = f"""
<default class="servo"><joint damping="0.6" frictionloss="0.05" armature="0.028"/></default>
<default class="link"><geom contype="4" conaffinity="1" density="500" rgba="{WHITE}"/></default>
<default class="motor"><geom contype="4" conaffinity="1" density="900" rgba="{DARK}"/></default>
<default class="jaw"><geom type="box" contype="4" conaffinity="1" friction="1.6 0.02 0.0005" condim="4"
  density="600" rgba="{JAW}"/></default>
"""

BODY = f"""
<body name="base">
  <geom class="motor" type="box" contype="0" conaffinity="0" size="0.045 0.032 0.012" pos="-0.015 0 0.012"/>
  <geom class="link" type="box" contype="0" conaffinity="0" size="0.028 0.026 0.018" pos="-0.008 0 0.042"/>
  <body name="shoulder" pos="0 0 0.0624">
    {_joint("shoulder_pan", "0 0 -1")}
    <geom class="link" type="cylinder" contype="0" conaffinity="0" size="0.026 0.010" pos="0 0 0.008"/>
    <geom class="link" type="box" contype="0" conaffinity="0" size="0.020 0.024 0.022" pos="0.020 0 0.036"/>
    <body name="upper_arm" pos="0.0304 0 0.0542">
      {_joint("shoulder_lift", "0 1 0")}
      <geom class="motor" type="cylinder" contype="0" conaffinity="0" size="0.018 0.027" zaxis="0 1 0"/>
      <geom class="link" type="capsule" size="0.014" fromto="0 0 0 {_UPPER[0]} 0 {_UPPER[1]}"/>
      <body name="lower_arm" pos="{_UPPER[0]} 0 {_UPPER[1]}">
        {_joint("elbow_flex", "0 1 0")}
        <geom class="motor" type="cylinder" size="0.016 0.023" zaxis="0 1 0"/>
        <geom class="link" type="capsule" size="0.013" fromto="0 0 0 {_FORE[0]} 0 {_FORE[1]}"/>
        <body name="wrist" pos="{_FORE[0]} 0 {_FORE[1]}">
          {_joint("wrist_flex", "0 1 0")}
          <geom class="motor" type="cylinder" size="0.014 0.021" zaxis="0 1 0"/>
          <geom class="link" type="box" size="0.024 0.016 0.014" pos="0.034 0 0"/>
          <body name="hand" pos="0.0611 0 0">
            {_joint("wrist_roll", "-1 0 0")}
            <geom class="motor" type="box" size="0.020 0.026 0.014" pos="0.020 -0.006 0"/>
            <geom class="jaw" name="palm" size="0.005 0.046 0.011" pos="0.044 -0.024 0"/>
            <geom class="jaw" name="fixed_jaw" size="0.030 0.004 0.008" pos="0.0791 {FIXED_JAW + 0.004} 0"/>
            <site name="tool" pos="0.0981 0 0" size="0.004" group="4"/>
            <camera name="wrist" pos="0.030 -0.020 0.062" xyaxes="0 -1 0 0.57 0 0.82" fovy="72"/>
            <body name="moving_jaw" pos="0.0791 {FIXED_JAW - 0.004} 0">
              <joint name="gripper" type="slide" axis="0 -1 0" range="0 {OPENING}" damping="6" armature="0.15"/>
              <geom class="jaw" name="moving_jaw" size="0.030 0.004 0.008"/>
            </body>
          </body>
        </body>
      </body>
    </body>
  </body>
</body>
"""


def _servo(name: str) -> str:
    k = JOINTS.index(name)
    limits = f"{math.radians(LOW[k])} {math.radians(HIGH[k])}"
    return f'<position name="{name}" joint="{name}" kp="120" kv="5" forcerange="-3.35 3.35" ctrlrange="{limits}"/>'


ACTUATORS = (
    "\n".join(_servo(name) for name in JOINTS[:5])
    + f"""
<position name="gripper" joint="gripper" kp="400" kv="16" forcerange="-4 4" ctrlrange="0 {OPENING}"/>
"""
)
