"""What LeRobot's commands have to know of a simulated robot, in a file."""

from __future__ import annotations

import json
from pathlib import Path

from progress_envs.hardware.kinds import kind_of
from progress_envs.hardware.server import PORT, Options

CONFIG = "robot.yaml"
"""In the robot's folder: its config for LeRobot's commands."""

MAX_STEP = 20.0
"""`max_relative_target` of the configs that are made here: degrees, and hundredths of the gripper's opening."""


def write_config(options: Options) -> Path:
    """Write what LeRobot's commands need to know of this robot, as `--config_path` takes it, and its calibration."""
    import yaml

    folder, size = Path(options.folder).absolute(), options.image_size
    kind = kind_of(options.robot)
    if options.calibrated:
        calibration = options.calibrations / f"{options.id}.json"
        calibration.parent.mkdir(parents=True, exist_ok=True)
        calibration.write_text(json.dumps(kind.calibration(options.arm), indent=4) + "\n")
    robot = {
        "type": kind.type,
        "port": str(folder / PORT),
        "id": options.id,
        "calibration_dir": str(options.calibrations),
        **kind.options,
        "max_relative_target": MAX_STEP,
        "cameras": {
            view: {
                "type": "progress_camera",
                "source": str(folder / f"{view}.frames"),
                "width": size,
                "height": size,
                "fps": options.camera_fps,
            }
            for view in options.views
        },
    }
    path = folder / CONFIG
    path.write_text(yaml.safe_dump({"robot": robot}, sort_keys=False))
    return path
