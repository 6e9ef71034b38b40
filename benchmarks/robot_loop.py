"""Does the loop keep its rate, and how old is progress? 30 Hz, three cameras, real models, LeRobot's unmodified driver.

    python benchmarks/robot_loop.py [--quick] [--seconds=30] [--models=FOLDER]

A reward model of the default kind and LeRobot's ACT run on the simulated SO-101 (servo bus with the times of a real
wire, three cameras of 96 x 96), everything is recorded. Both models are trained for a moment only, as only the time
that they take matters here; with --models they are kept and used again.

- `period_error_p99_ms`: 99th percentile of |period - 1/30 s|.
- `latency_p99_ms`: 99th percentile of the time from the oldest of a tick's pictures being taken until the loop knows
  the progress that the reward model sees in them.

Prints one JSON object as its last line. The full run's is in `benchmarks/results/robot_loop.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance
from robot_hardware import hurry

from progress_envs.hardware.simulated import SimulatedRobot
from progress_rm import cli

FPS = 30
TASK = "put the cube into the bin"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Prepare the models, run, print and return what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three seconds with small models: does it run?")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to measure")
    parser.add_argument("--models", help="folder to keep the models in")
    options = parser.parse_args(argv)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="robot-loop-") as scratch:
        folder = Path(options.models or scratch)
        with redirect_stdout(sys.stderr):
            prepare(folder, options.quick)
        found = measure(folder, Path(scratch), 3.0 if options.quick else options.seconds)
    summary = {**found, "load_average": load, **provenance(__file__, argv)}
    print(json.dumps(summary))
    return summary


def prepare(folder: Path, quick: bool) -> None:
    """Models in `folder`, unless they are there."""
    size = 48 if quick else 96
    demos, model, policy = folder / "demos", folder / "reward", folder / "policy"
    if not demos.exists():
        cli.call("collect", [f"--output_dir={demos}", "--env=PickPlace", "--episodes=8", "--fps=25",
                             f"--image_size={size}", "--workers=1"])  # fmt: skip
    if not model.exists():
        cli.call("train", [f"--dataset.root={demos}", f"--output_dir={model}", "--steps=20", "--encoder_steps=10",
                           "--batch_size=16", "--validate_every=10"])  # fmt: skip
    if not (policy / "training.json").exists():
        small = (
            ["--policy.dim_model=32", "--policy.dim_feedforward=32", "--policy.n_heads=2"] if quick else []
        )
        cli.call("bc", [f"--dataset.root={demos}", f"--output_dir={policy}", "--policy.type=act", "--weigh_by=none",
                        "--policy.pretrained_backbone_weights=null", "--policy.device=cpu", "--steps=1",
                        "--batch_size=2", "--num_workers=0", *small])  # fmt: skip


def measure(folder: Path, scratch: Path, seconds: float) -> dict[str, Any]:
    """One attempt of so many seconds."""
    from progress_policies.run.config import Config
    from progress_policies.run.ending import EndingOptions
    from progress_policies.run.policy_worker import PolicyOptions
    from progress_policies.run.priority import first_claim
    from progress_policies.run.recorder import RecordingOptions
    from progress_policies.run.safety import SafetyOptions
    from progress_policies.run.session import Session
    from progress_rm.score import ModelOptions

    policy = folder / "policy" / "policy" / "checkpoints" / "last" / "pretrained_model"
    size = json.loads((policy / "config.json").read_text())["input_features"]["observation.images.front"][
        "shape"
    ][1]
    with SimulatedRobot("PickPlace", image_size=size, wire_time=True) as robot:
        session = Session(
            Config(
                robot=robot.robot_config(),
                policy=PolicyOptions(path=str(policy), device="cpu"),
                reward=ModelOptions(path=str(folder / "reward"), device="cpu"),
                task=TASK,
                fps=FPS,
                # Nothing but time ends it.
                ending=EndingOptions(success_s=1e9, stall_s=0, regression=0, time_limit_s=seconds),
                safety=SafetyOptions(hold_s=0.2, relax_s=0.0),
                recording=RecordingOptions(root=str(scratch / "recorded")),
            )
        )
        # Its first pictures take long.
        time.sleep(3.0)
        hurry(robot.pid)
        session.run()
    [attempt] = session.attempts
    if attempt.ended_by != "time":
        sys.exit(f"the attempt ended early: {attempt.fault or attempt.ended_by}")
    with first_claim() as claimed:
        pass
    p50, p99 = np.percentile(attempt.latency_ms, (50, 99))
    return {
        "period_error_p99_ms": attempt.pace["period_error_p99_ms"],
        "latency_p99_ms": float(p99),
        "period_error_p50_ms": attempt.pace["period_error_p50_ms"],
        "period_error_max_ms": attempt.pace["period_error_max_ms"],
        "latency_p50_ms": float(p50),
        "ticks": attempt.pace["ticks"],
        "late": attempt.pace["late"],
        "answers": len(attempt.latency_ms),
        "waited": attempt.waited,
        "image_size": size,
        "cameras": 3,
        "real_time_priority": claimed,
        "recorded_episodes": len(session.saved),
    }


if __name__ == "__main__":
    main()
