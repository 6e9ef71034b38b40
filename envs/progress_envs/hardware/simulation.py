"""A task in real time: its arm is moved by servos, a physics step at a time, instead of by actions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm
from progress_envs.engine import mujoco
from progress_envs.env import ProgressEnv
from progress_envs.expert import Expert, make_expert
from progress_envs.hardware import mounting
from progress_envs.hardware.servo import Drive, Servo
from progress_envs.scene import TIMESTEP

Floats = NDArray[np.float64]

RATE = 50
"""How often a second the task is looked at, and the expert acts."""

_STEPS = round(1 / (RATE * TIMESTEP))

_STALL = np.array([3.35, 3.35, 3.35, 3.35, 3.35, 8.0])
"""[6] what the servos pull at most: newton metres, and newtons between the jaws. LeRobot allows the gripper half."""

_BRAKE = 0.4
"""Share of a servo's damping that its gears keep when it is limp, so that the arm sinks instead of falling."""

_JAM = 50.0
"""Friction of a joint that something blocks, newton metres or newtons."""


class Simulation(ProgressEnv):
    """The env of a task whose arm hangs on `servos` [6]; `tick` takes the place of `step`.

    Attributes:
        servos: in the order of the joints.
        succeeded: the task has been done in this episode.
        seconds: simulated time in this episode.
        jammed: joints that something blocks.
        hand: where a hand leads the limp arm, joint positions [6] for each tick; None: there is no hand.
    """

    def __init__(
        self, task: str, servos: Sequence[Servo], split: str | None, vary: Sequence[str] | None
    ) -> None:
        super().__init__(task, obs_type="state", fps=RATE, split=split, vary=vary)
        self.servos = list(servos)
        self.succeeded = False
        self.seconds = 0.0
        model = self.world.model
        self._gains = model.actuator_gainprm[:6].copy(), model.actuator_biasprm[:6].copy()
        self._friction = model.dof_frictionloss.copy()
        # A servo that is sent beyond its joint's stop pushes against it.
        model.actuator_ctrlrange[:6] = [-10, 10]
        self._dofs = [int(model.joint(name).dofadr[0]) for name in arm.JOINTS]
        self.jammed: tuple[str, ...] = ()
        self.hand: Iterator[Floats] | None = None
        self._expert: Expert | None = None
        self._action: Floats | None = None
        self._asked = -1.0
        self._ticks = 0

    def begin(self, seed: int | None) -> None:
        """Lay out an episode; the arm stands where the env would put it, and its servos want to be there."""
        self.reset(seed=seed)
        for servo, position in zip(self.servos, mounting.to_ticks(self.target), strict=True):
            servo.place(float(position))
        self.succeeded = False
        self.seconds = 0.0
        self._ticks = 0
        self._expert = self._action = self.hand = None

    def tick(self) -> None:
        """One physics step of 5 ms."""
        model, data = self.world.model, self.world.data
        # While a hand leads the arm, nothing else moves: it is to find its stops, not to sweep the table. It moves
        # before the servos look, so that nobody reads another place than the one where the arm is seen.
        if self.hand is not None:
            self._put(next(self.hand, None))
        positions = mounting.to_ticks(self.world.joints())
        speeds = (mounting.to_ticks(arm.to_units(data.qvel[self._dofs]) + mounting.MARKS)).tolist()
        loads = (data.actuator_force[:6] / _STALL).tolist()
        drives = [
            servo.step(TIMESTEP, *state)
            for servo, *state in zip(self.servos, positions.tolist(), speeds, loads, strict=True)
        ]
        self._apply(drives, positions)
        if self.hand is None:
            mujoco.mj_step(model, data)
        self.seconds += TIMESTEP
        self._ticks += 1
        if self._ticks % _STEPS == 0:
            self.world.settle()
            self._status = self.task.status()
            self.succeeded |= self._status.success
            self._demonstrate()

    def jam(self, joints: Sequence[str]) -> None:
        """Block these joints, and free all others."""
        self.jammed = tuple(joints)
        for name, dof in zip(arm.JOINTS, self._dofs, strict=True):
            self.world.model.dof_frictionloss[dof] = _JAM if name in joints else self._friction[dof]

    def hold_in_the_middle(self) -> None:
        """A hand puts every joint at its mark and holds it there until it is led elsewhere or pulls by itself."""
        self.hand = repeat(mounting.MARKS)

    def lead_through_ranges(self) -> None:
        """A hand leads every joint to one stop, to the other and back to its mark, and holds it there; takes 3.5 s.

        It rests half a second at the stops: LeRobot looks 30 times a second at best.
        """
        ways = [(mounting.MARKS, arm.LOW), (arm.LOW, arm.HIGH), (arm.HIGH, mounting.MARKS)]
        rest = round(0.5 / TIMESTEP)
        shares = np.append(np.linspace(0, 1, round(2 / 3 / TIMESTEP)), np.ones(rest))
        path = [start + share * (end - start) for start, end in ways for share in shares]
        self.hand = chain(path, repeat(mounting.MARKS))

    def _put(self, joints: Floats | None) -> None:
        """The arm is where a hand holds it, unless it pulls by itself."""
        if joints is None or any(servo.orders().torque for servo in self.servos):
            self.hand = None
            return
        data = self.world.data
        for name, place in zip(arm.JOINTS, arm.from_units(joints).tolist(), strict=True):
            data.joint(name).qpos[0], data.joint(name).qvel[0] = place, 0.0
        self.world.settle()

    def expert_action(self, quality: str, seed: int, style: Mapping[str, object] | None = None) -> Floats:
        """Joint targets [6] of an expert that began with this episode; it goes on for as long as it is asked."""
        if self._expert is None:
            self._expert = make_expert(self, quality, seed, style)
        if self._action is None:
            self._action = self._expert.act().astype(np.float64)
        self._asked = self.seconds
        return self._action

    def _demonstrate(self) -> None:
        """The expert's next step, unless nobody has followed it for a while."""
        if self._expert is not None and self.seconds - self._asked < 0.25:
            self._action = self._expert.act().astype(np.float64)

    def _apply(self, drives: Sequence[Drive], positions: Floats) -> None:
        model, (gains, biases) = self.world.model, self._gains
        on = np.array([drive.target is not None for drive in drives])
        targets = [
            place if drive.target is None else drive.target
            for drive, place in zip(drives, positions, strict=True)
        ]
        stiff = np.array([drive.stiffness for drive in drives]) * on
        damping = np.where(on, [drive.damping for drive in drives], _BRAKE)
        model.actuator_gainprm[:6, 0] = gains[:, 0] * stiff
        model.actuator_biasprm[:6, 1] = biases[:, 1] * stiff
        model.actuator_biasprm[:6, 2] = biases[:, 2] * damping
        limits = _STALL * np.where(on, [drive.torque for drive in drives], 1.0)
        model.actuator_forcerange[:6] = np.column_stack([-limits, limits])
        self.target = mounting.to_units(np.array(targets))
        self.world.data.ctrl[:6] = arm.from_units(self.target)
