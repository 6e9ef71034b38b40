"""`progress-rm sim-robot`: a simulated arm on a serial port, for LeRobot's own driver and commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from progress_datasets.errors import UserError


@dataclass
class Config:
    """Run a simulated arm that LeRobot's drivers cannot tell from a real one, until Ctrl-C."""

    robot: str = "so101"
    """Whose servos and driver: so101 (Feetech) or koch (Dynamixel); the links are the SO-101's."""
    id: str = "simulated"
    """LeRobot's id of it."""
    calibration_dir: Path | None = None
    """Where its calibration lies as ID.json, for two arms that share one place; none for its folder."""
    task: str = "PickPlace"
    """What stands on the table: a task, by name."""
    folder: Path = Path("sim_robot")
    """Where its serial port, its cameras, its calibration and its servos' memory lie."""
    tell: str = ""
    """Tell the robot that runs in that folder something, and return: 'reset 3', reset, truth, unplug, plug, power,
    middle, ranges (a hand leads the limp arm to its middle, or through its ranges), quit."""
    seed: int = 0
    """Decides the first episode, and so all that follow."""
    split: str | None = None
    """train, test (other episodes) or shifted (unseen colours, light, cameras); none for the plain scene."""
    vary: list[str] | None = None
    """What differs between episodes: pose, size, colour, light, camera, distractors, arm, background."""
    views: list[str] = field(default_factory=lambda: ["front", "top", "wrist"])
    """Cameras, of front, top and wrist."""
    image_size: int = 96
    """Side of the square images, in pixels."""
    camera_fps: int = 30
    """Pictures a second."""
    render: str = "auto"
    """How to draw: auto, egl, osmesa or raycast (needs no OpenGL)."""
    arm: int = 0
    """Which arm of this kind: in each the servos are mounted otherwise."""
    calibrated: bool = True
    """Calibrated already; otherwise as from the box, for lerobot-calibrate."""
    wire_time: bool = True
    """Replies take as long as on a real wire."""
    seconds: float | None = None
    """Switch it off after so long; none for never."""
    background: bool = False
    """Leave it running and return as soon as it does; --tell=quit ends it."""


def run(config: Config) -> None:
    """Run it, or tell a running one something.

    Raises:
        UserError: an option is wrong, or another robot runs in the folder.
    """
    if config.tell:
        tell(config.folder, config.tell)
        return
    from progress_envs.hardware import simulated
    from progress_envs.hardware.server import Options, Server
    from progress_envs.hardware.written_config import write_config

    if config.camera_fps < 1 or config.image_size < 8:
        raise UserError("give at least --camera_fps=1 and --image_size=8")
    config.folder.mkdir(parents=True, exist_ok=True)
    options = Options(
        folder=str(config.folder),
        robot=config.robot,
        id=config.id,
        calibration_dir=str(config.calibration_dir or ""),
        task=config.task,
        seed=config.seed,
        split=config.split,
        vary=config.vary,
        views=config.views,
        image_size=config.image_size,
        camera_fps=config.camera_fps,
        render=config.render,
        arm=config.arm,
        calibrated=config.calibrated,
        wire_time=config.wire_time,
    )
    if config.background:
        simulated.start_in_background(options, config.seconds)
    else:
        server = Server(options, say=lambda text: print(text, flush=True))
    path = write_config(options)
    print(f"port      {config.folder / 'port'}")
    print(
        f"cameras   {', '.join(config.views)}, {config.image_size} x {config.image_size}, {config.camera_fps} fps"
    )
    print(f"LeRobot   --config_path={path} --robot.discover_packages_path=progress_envs")
    if config.background:
        print(f"ends with progress-rm sim-robot --folder={config.folder} --tell=quit")
        return
    print("Type reset, reset SEED, middle, ranges, unplug, plug, power or quit; Ctrl-C ends it.", flush=True)
    try:
        server.run(config.seconds)
    except KeyboardInterrupt:
        print("switched off")


def tell(folder: Path, words: str) -> None:
    """Send a request to the robot that runs in `folder`; print its answer.

    Raises:
        UserError: none runs there, or it does not understand.
    """
    import json

    from progress_envs.hardware.control import words_to_request
    from progress_envs.hardware.simulated import RobotControl

    control = RobotControl(folder)
    try:
        answer = control.ask(**json.loads(words_to_request(words)))
    finally:
        control.close()
    print("done" if answer is None else json.dumps(answer))
