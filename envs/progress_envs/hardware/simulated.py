"""A simulated robot for programs: started in a process of its own, driven through LeRobot, looked into from here."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_envs.hardware.control import CONTROL
from progress_envs.hardware.faults import Faults
from progress_envs.hardware.kinds import kind_of
from progress_envs.hardware.server import PORT, ROBOT_ID, Options
from progress_envs.hardware.written_config import CONFIG, MAX_STEP, write_config


@dataclass(frozen=True)
class Truth:
    """What the simulator knows, and no real robot would tell. Lists are in the order of the joints.

    Attributes:
        time: when, seconds of `time.monotonic`.
        seconds: simulated time since the episode began.
        episode: how many there have been, this one included.
        instruction: what is asked for.
        progress, stage, success: of the task now; progress in [0, 1].
        succeeded: the task has been done at some time in this episode.
        joints: positions [6] in LeRobot's units.
        targets: where the servos pull to, [6] in LeRobot's units.
        torque: whether each servo pulls.
        loads: torques in [-1, 1] of what the servos can.
        temperatures: degrees Celsius.
        overloaded: whether each servo is held back because it pulled too hard for too long.
        dropped, corrupted, late: packets that met that fault since the start.
        lost: bytes of replies that nobody read.
        behind: seconds of real time that the simulation missed because the machine was busy.
    """

    time: float
    seconds: float
    episode: int
    instruction: str
    progress: float
    stage: str
    success: bool
    succeeded: bool
    joints: list[float]
    targets: list[float]
    torque: list[bool]
    loads: list[float]
    temperatures: list[float]
    overloaded: list[bool]
    dropped: int
    corrupted: int
    late: int
    lost: int
    behind: float


class RobotControl:
    """Speaks with a simulated robot that runs in `folder`, whoever started it.

    Raises:
        UserError: there is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).absolute()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(20)
        try:
            self._socket.connect(str(self.folder / CONTROL))
        except OSError as error:
            self._socket.close()
            raise UserError(
                f"{folder}: no simulated robot runs there; start progress-rm sim-robot"
            ) from error
        self._lines = self._socket.makefile("rb")

    def ask(self, do: str, **rest: Any) -> Any:
        """The answer to a request, see `progress_envs.hardware.server`.

        Raises:
            UserError: the robot does not understand it.
            ConnectionError: it is gone.
        """
        self._socket.sendall(json.dumps({"do": do, **rest}).encode() + b"\n")
        line = self._lines.readline()
        if not line:
            raise ConnectionError("the simulated robot has ended")
        reply = json.loads(line)
        if "error" in reply:
            raise UserError(reply["error"])
        return reply["answer"]

    def truth(self) -> Truth:
        """What the simulator knows now."""
        return Truth(**self.ask("truth"))

    def trace(self, since: float = 0.0) -> NDArray[np.float64]:
        """float64 [N, 13], one row for each 5 ms of the last minute after `since` (seconds of `time.monotonic`): the
        time, six joint positions in LeRobot's units, and six times whether the servo pulled (1) or not (0)."""
        return np.array(self.ask("trace", since=since), dtype=np.float64).reshape(-1, 13)

    @property
    def success(self) -> bool:
        """The task has been done in this episode."""
        return self.truth().succeeded

    def reset(self, seed: int | None = None) -> None:
        """Lay out another episode, by that seed or as the next one: things on the table, the arm at its start."""
        self.ask("reset", seed=seed)

    def inject(self, faults: Faults) -> None:
        """From now on these things are wrong and no others; `Faults()` heals all."""
        self.ask("inject", **faults.as_dict())

    def power_cycle(self) -> None:
        """Take the power from the servos for a moment."""
        self.ask("power")

    def expert_action(self, quality: str = "expert", seed: int = 0) -> NDArray[np.float64]:
        """float64 [6], LeRobot's units: what a scripted expert, which sees the simulator's state, wants now."""
        return np.array(self.ask("expert", quality=quality, seed=seed))

    def close(self) -> None:
        """End the conversation; the robot goes on."""
        self._lines.close()
        self._socket.close()


class SimulatedRobot(RobotControl):
    """A simulated arm on the table of a task, for as long as the `with` block lasts.

    Args:
        robot: "so101" or "koch": whose servos and protocol.
        id: LeRobot's id of it.
        calibration_dir: where LeRobot looks for its calibration; `calibration` in the folder if None.
        task: a task's name.
        seed: of the first episode.
        folder: where its port, pictures and calibration lie; a temporary one if None.
        split, vary: which episodes, see `ProgressEnv`.
        views: cameras, of front, top and wrist.
        image_size: height and width of a view in pixels.
        camera_fps: pictures a second.
        render: "auto", "egl", "osmesa" or "raycast".
        arm: another arm of the same kind: its servos are mounted otherwise.
        calibrated: its servos and LeRobot's calibration file know how they are mounted.
        wire_time: replies take as long as on a real wire.
        faults: what is wrong from the start.

    Raises:
        UserError: an option is wrong.

    Example: `with SimulatedRobot("PickPlace") as robot, make_robot_from_config(robot.robot_config()) as arm: …`
    """

    def __init__(
        self,
        task: str = "PickPlace",
        seed: int = 0,
        *,
        robot: str = "so101",
        id: str = ROBOT_ID,
        calibration_dir: Path | None = None,
        folder: Path | None = None,
        split: str | None = None,
        vary: Sequence[str] | None = None,
        views: Sequence[str] = ("front", "top", "wrist"),
        image_size: int = 96,
        camera_fps: int = 30,
        render: str = "auto",
        arm: int = 0,
        calibrated: bool = True,
        wire_time: bool = False,
        faults: Faults | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="sim-robot-") if folder is None else None
        place = Path(self._temporary.name) if self._temporary else Path(folder or "")
        place.mkdir(parents=True, exist_ok=True)
        self.options = Options(
            folder=str(place.absolute()),
            robot=robot,
            id=id,
            calibration_dir="" if calibration_dir is None else str(Path(calibration_dir).absolute()),
            task=task,
            seed=seed,
            split=split,
            vary=None if vary is None else list(vary),
            views=list(views),
            image_size=image_size,
            camera_fps=camera_fps,
            render=render,
            arm=arm,
            calibrated=calibrated,
            wire_time=wire_time,
            faults=(faults or Faults()).as_dict(),
        )
        write_config(self.options)
        self._process = subprocess.Popen(
            _command(self.options), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        try:
            _check_start(self._process.stdout.readline())
        except UserError:
            self._end()
            raise
        super().__init__(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> str:
        """The serial port to open."""
        return str(self.folder / PORT)

    @property
    def pid(self) -> int:
        """Of the robot's process."""
        return self._process.pid

    def robot_config(self, max_relative_target: float | dict[str, float] | None = MAX_STEP) -> Any:
        """LeRobot's config for it, an `SO101FollowerConfig` or `KochFollowerConfig`, with cameras and calibration."""
        from lerobot.robots import RobotConfig

        from progress_envs.lerobot.camera import SimulatedCameraConfig

        kind = kind_of(self.options.robot)
        import_module(kind.module)
        size, fps = self.options.image_size, self.options.camera_fps
        return RobotConfig.get_choice_class(kind.type)(
            port=self.port,
            id=self.options.id,
            calibration_dir=self.options.calibrations,
            max_relative_target=max_relative_target,
            cameras={
                view: SimulatedCameraConfig(
                    source=self.folder / f"{view}.frames", width=size, height=size, fps=fps
                )
                for view in self.options.views
            },
            **kind.options,
        )

    @property
    def config_path(self) -> Path:
        """The same as a file for `--config_path` of LeRobot's commands."""
        return self.folder / CONFIG

    def close(self) -> None:
        """Switch it off."""
        super().close()
        self._end()

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        if self._temporary:
            self._temporary.cleanup()


def start_in_background(options: Options, seconds: float | None) -> None:
    """Start a robot that outlives this process, for so many seconds or until it is told to quit; return when it runs.

    Raises:
        UserError: it could not be started.
    """
    log = Path(options.folder) / "log.txt"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*_command(options), str(math.inf if seconds is None else seconds)],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    while process.poll() is None and b"\n" not in log.read_bytes():
        time.sleep(0.05)
    first, *_ = [*log.read_bytes().splitlines(), b""]
    try:
        _check_start(first)
    except UserError:
        process.wait()
        raise
    # It is left to itself: nobody will wait for its end.
    process.returncode = 0


def _command(options: Options) -> list[str]:
    return [sys.executable, "-m", "progress_envs.hardware.server", json.dumps(asdict(options))]


def _check_start(said: bytes) -> None:
    """What the server says first."""
    answer = json.loads(said) if said.startswith(b"{") else {"error": "the simulated robot did not start"}
    if "error" in answer:
        raise UserError(answer["error"])
