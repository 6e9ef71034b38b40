"""The simulated robot as a process: physics in real time, the bus on its terminal, cameras, and a control socket."""

from __future__ import annotations

import json
import math
import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from progress_datasets.errors import UserError
from progress_envs import arm
from progress_envs.env import check_views
from progress_envs.hardware.cameras import Cameras
from progress_envs.hardware.control import CONTROL, Control
from progress_envs.hardware.faults import Faults
from progress_envs.hardware.kinds import kind_of
from progress_envs.hardware.servo import Servo
from progress_envs.hardware.simulation import Simulation
from progress_envs.hardware.terminal import Terminal
from progress_envs.render import choose_backend
from progress_envs.scene import TIMESTEP, VIEWS

PORT, EEPROM = "port", "eeprom.json"
"""Names in the robot's folder: the serial port, and what the servos remember."""

ROBOT_ID = "simulated"
"""LeRobot's id of the robot, unless told otherwise; its calibration is `calibration/simulated.json`."""

_PATIENCE = 0.25
"""Seconds that the simulation may be behind the clock before it gives them up."""

_TRACE = round(60 / TIMESTEP)


@dataclass
class Options:
    """What the robot is; paths are text, so that it can be handed on as JSON."""

    folder: str
    robot: str = "so101"
    id: str = ROBOT_ID
    calibration_dir: str = ""
    task: str = "PickPlace"
    seed: int = 0
    split: str | None = None
    vary: list[str] | None = None
    views: list[str] = field(default_factory=lambda: list(VIEWS))
    image_size: int = 96
    camera_fps: int = 30
    render: str = "auto"
    arm: int = 0
    calibrated: bool = True
    wire_time: bool = False
    faults: dict[str, Any] = field(default_factory=dict)

    @property
    def calibrations(self) -> Path:
        """Where LeRobot looks for `ID.json`."""
        return Path(self.calibration_dir or Path(self.folder) / "calibration").absolute()


class Server:
    """The running robot; `run` returns when it is told to quit.

    Args:
        attached: quit when standard input ends.
        say: is told what happens, in words.
    """

    def __init__(
        self, options: Options, attached: bool = False, say: Callable[[str], None] = lambda text: None
    ) -> None:
        check_views(options.views)
        backend, faults = choose_backend(options.render), Faults.from_dict(options.faults)
        self.options = options
        self._kind = kind_of(options.robot)
        self._say = say
        self.folder = Path(options.folder).absolute()
        self.servos = self._servos()
        self.simulation = Simulation(options.task, self.servos, options.split, options.vary)
        self._saved = [servo.saved for servo in self.servos]
        self._scribe = ThreadPoolExecutor(1)
        self._control = Control(self.folder / CONTROL, attached)
        self.terminal = Terminal(self._kind.bus(self.servos), self.folder / PORT, options.wire_time)
        self.cameras = Cameras(
            self.simulation.world,
            options.task,
            options.split,
            options.vary,
            options.views,
            options.image_size,
            backend,
            self.folder,
        )
        self.episodes = 0
        self.behind = 0.0
        self._trace: deque[list[float]] = deque(maxlen=_TRACE)
        self._quit = False
        self.reset(options.seed)
        self.inject(faults)

    def run(self, seconds: float | None = None) -> None:
        """Serve in real time until told to quit, or for so many seconds."""
        due = shown = time.monotonic()
        end = due + (math.inf if seconds is None else seconds)
        period = 1 / self.options.camera_fps
        try:
            with _first_in_line():
                while not self._quit and due < end:
                    self._wait(due)
                    now = time.monotonic()
                    self.terminal.serve(now)
                    if now - due > _PATIENCE:
                        self.behind += now - due
                        due = now
                    while due <= now:
                        self._tick(due)
                        due += TIMESTEP
                    if now >= shown and self.cameras.look():
                        shown = max(shown + period, now)
        finally:
            self.close()

    def close(self) -> None:
        """Give everything back."""
        self._save()
        self._scribe.shutdown()
        self.cameras.close()
        self.terminal.unplug()
        self._control.close()
        self.simulation.close()

    # -- what can be asked for ------------------------------------------------------------------------------------

    def handle(self, request: Mapping[str, Any]) -> Any:
        """Do what is asked; the answer, fit for JSON.

        Raises:
            UserError: nobody knows what that is.
        """
        what, rest = str(request.get("do")), {key: value for key, value in request.items() if key != "do"}
        known = {
            "reset": self.reset,
            "truth": self.truth,
            "trace": self.trace,
            "inject": lambda **faults: self.inject(Faults.from_dict(faults)),
            "expert": self.expert,
            "middle": self.simulation.hold_in_the_middle,
            "ranges": self.simulation.lead_through_ranges,
            "power": self.power_cycle,
            "quit": self.quit,
        }
        if what not in known:
            raise UserError(f"the robot does not know '{what}'; it knows {', '.join(known)}")
        try:
            return known[what](**rest)  # type: ignore[operator]
        except TypeError as error:
            raise UserError(f"{what}: {error}") from error

    def reset(self, seed: int | None = None) -> None:
        """Lay out another episode; without a seed, the next one of the last seed."""
        self.simulation.begin(seed)
        self.episodes += 1
        # Whoever looks after this sees the new episode.
        self.cameras.finish()
        self.cameras.look()
        self.cameras.finish()
        self._say(f"episode {self.episodes}: {self.simulation.task_description}")

    def inject(self, faults: Faults) -> None:
        """From now on these things are wrong, and no others."""
        self.faults = faults
        self.terminal.trouble(faults)
        if faults.unplugged:
            self.terminal.unplug()
        else:
            self.terminal.plug()
        self.cameras.faults = faults.cameras
        self.simulation.jam(faults.jammed)
        for name, servo in zip(arm.JOINTS, self.servos, strict=True):
            servo.silent = name in faults.silent
            servo.heat(faults.temperatures.get(name))
            servo.voltage = servo.supply if faults.voltage is None else faults.voltage

    def power_cycle(self) -> None:
        """Take the power from the servos and give it back: they are limp, and know only what their EEPROM holds."""
        for servo in self.servos:
            servo.power_up()

    def expert(self, quality: str = "expert", seed: int = 0) -> list[float]:
        """Joint targets [6] of a scripted expert that works on this episode."""
        return [float(value) for value in self.simulation.expert_action(quality, seed)]

    def quit(self) -> None:
        """End."""
        self._quit = True

    def truth(self) -> dict[str, Any]:
        """What the simulator knows: see `progress_envs.hardware.simulated.Truth`."""
        simulation, status = self.simulation, self.simulation.status
        return {
            "time": time.monotonic(),
            "seconds": simulation.seconds,
            "episode": self.episodes,
            "instruction": simulation.task_description,
            "progress": status.progress,
            "stage": simulation.task.stages[status.stage],
            "success": status.success,
            "succeeded": simulation.succeeded,
            "joints": simulation.world.joints().tolist(),
            "targets": simulation.target.tolist(),
            "torque": [servo.orders().torque for servo in self.servos],
            "loads": [servo.load for servo in self.servos],
            "temperatures": [servo.temperature for servo in self.servos],
            "overloaded": [servo.overloaded for servo in self.servos],
            "dropped": self.terminal.dropped,
            "corrupted": self.terminal.corrupted,
            "late": self.terminal.late,
            "lost": self.terminal.lost,
            "behind": self.behind,
        }

    def trace(self, since: float = 0.0) -> list[list[float]]:
        """Every tick after `since`: time, joints [6], torque [6]; see `SimulatedRobot.trace`."""
        return [row for row in self._trace if row[0] > since]

    # -- the loop -------------------------------------------------------------------------------------------------

    def _tick(self, due: float) -> None:
        succeeded = self.simulation.succeeded
        self.simulation.tick()
        if self.simulation.succeeded and not succeeded:
            self._say(f"success after {self.simulation.seconds:.1f} s")
        torque = [float(servo.orders().torque) for servo in self.servos]
        self._trace.append([due, *self.simulation.world.joints().tolist(), *torque])
        if [servo.saved for servo in self.servos] != self._saved:
            self._save()

    def _wait(self, due: float) -> None:
        """Sleep until the next tick, or until somebody wants something; answer what is on the control socket."""
        terminal = self.terminal.descriptor
        sources = self._control.sources + ([] if terminal is None else [terminal])
        until = due if self.terminal.due is None else min(due, self.terminal.due)
        ready, _, _ = select.select(sources, [], [], max(until - time.monotonic(), 0.0))
        self._control.serve(ready, self.handle)
        self._quit |= self._control.ended

    def _servos(self) -> list[Servo]:
        """New servos, or those that this folder remembers."""
        path, seed = self.folder / EEPROM, self.options.arm
        made = self._kind.calibration(seed)
        remembered = json.loads(path.read_text()) if path.exists() else {}
        servos = []
        for index, (name, mount) in enumerate(zip(arm.JOINTS, self._kind.mounts(seed), strict=True)):
            calibrated = self._kind.calibrated(index, made[name])
            known = calibrated if self.options.calibrated else None
            if name in remembered:
                known = bytes.fromhex(remembered[name])
                if len(known) != len(calibrated):
                    raise UserError(f"{self.folder}: its servos are another robot's; give another folder")
            servos.append(self._kind.servo(index, mount, known))
        return servos

    def _save(self) -> None:
        """Write down what the servos will know after a power cut; in a thread, as drivers wait 50 ms for a reply."""
        self._saved = [servo.saved for servo in self.servos]
        memory = {name: servo.eeprom.hex() for name, servo in zip(arm.JOINTS, self.servos, strict=True)}
        self._scribe.submit(_write_down, self.folder / EEPROM, json.dumps(memory, indent=1) + "\n")


def _write_down(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)


@contextmanager
def _first_in_line() -> Iterator[None]:
    """Drivers wait 50 ms for a reply, however busy the machine: where it is allowed, this thread goes first."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    allowed = False
    with suppress(AttributeError, PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
        allowed = True
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if allowed:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def main() -> None:
    """`python -m progress_envs.hardware.server '{"folder": …}' [SECONDS]`: run until standard input ends, or for so
    many seconds; first say that it is ready, or what is wrong, as one line of JSON."""
    options = Options(**json.loads(sys.argv[1]))
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else None
    try:
        server = Server(options, attached=seconds is None)
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        sys.exit(2)
    print(json.dumps({"ready": True}), flush=True)
    server.run(seconds)


if __name__ == "__main__":
    main()
