"""How fast are the simulated tasks? Pictures a second, beside three other simulators that run the very same loop.

    python benchmarks/env_throughput.py [--quick] [--peers gym-hil ...]

Two cameras of 96 x 96 pixels, ten control steps a second of simulated time, random actions, one core, one process; see
`env_throughput_peer.py` for the loop. Each peer runs with its own MuJoCo in an environment that uv makes for it, at its
own defaults and once more with shadows, reflections and multisampling off. All sides use the same OpenGL, and they take
turns, so that whatever else the machine does troubles all alike.

Prints a table and, as its last line, one JSON object; exits with 1 when a peer could not be measured. The full run's
JSON is in `benchmarks/results/env_throughput.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from provenance import provenance

from progress_envs.render import choose_backend

WORKER = Path(__file__).with_name("env_throughput_peer.py")

PEERS = {
    "gym-hil": ("gym-hil==0.1.14", "mujoco<3.12"),
    "metaworld": ("metaworld==3.1.1", "mujoco<3.12", "packaging"),
    "gymnasium-robotics": ("gymnasium-robotics==1.4.2", "mujoco<3.12"),
}
"""What each peer's environment holds; from MuJoCo 3.12 on they break."""

NEWEST = "2026-11-01T00:00:00Z"
"""Packages published later are not considered."""

OURS = ("ours", "ours TidyTable", "ours ee_delta", "ours TidyTable ee_delta")
"""The first is what the peers are compared with; the others tell the overhead of other tasks and control."""

Result = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> Result:
    """Measure every side in turn, several rounds; print and return the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one round of short repeats: does it run?")
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=list(PEERS), help="which to compare with"
    )
    parser.add_argument("--seconds", type=float, help="how long a repeat takes, about")
    parser.add_argument("--rounds", type=int, help="how often every side has its turn")
    options = parser.parse_args(argv)
    rounds = options.rounds or (1 if options.quick else 5)
    seconds = options.seconds or (0.5 if options.quick else 3.0)
    backend = choose_backend("auto")
    if backend == "raycast":
        sys.exit("the comparison draws with OpenGL, and there is none here: install libegl1 or libosmesa6")
    load = os.getloadavg()[0]
    turns = [(side, "default") for side in OURS]
    turns += [(peer, mode) for peer in options.peers for mode in ("default", "tuned")]
    results: dict[tuple[str, str], list[Result]] = {turn: [] for turn in turns}
    for number in range(rounds):
        for side, mode in turns:
            print(f"round {number + 1} of {rounds}: {side}, {mode}", file=sys.stderr, flush=True)
            # What cannot be measured once will not be the next time either.
            if not any("error" in result for result in results[side, mode]):
                results[side, mode].append(measure(side, mode, backend, seconds, number))
    summary = {
        **summarise({turn: combine(runs) for turn, runs in results.items()}),
        "opengl_backend": backend,
        "load_average": load,
        **provenance(__file__, argv),
    }
    print(table(summary))
    print(json.dumps(summary))
    return summary


def measure(side: str, mode: str, backend: str, seconds: float, seed: int) -> Result:
    """What the worker says of one side in a process of its own, or {"error": why there is nothing}."""
    drawing = ("MUJOCO_GL", "PYOPENGL_PLATFORM")
    environment = {name: value for name, value in os.environ.items() if name not in drawing}
    if backend != "raycast":
        environment |= dict.fromkeys(drawing, backend)
    # One core: no library may start threads for others.
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    arguments = [str(WORKER), side, mode, f"--seconds={seconds}", "--repeats=2", f"--seed={seed}"]
    try:
        done = subprocess.run(
            [*interpreter(side), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            # MuJoCo leaves a log of its warnings where it runs.
            cwd=tempfile.gettempdir(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"error": type(error).__name__}
    return parse(done.stdout, done.stderr, done.returncode)


def interpreter(side: str) -> list[str]:
    """The command that runs Python with what this side needs."""
    if side not in PEERS:
        return [sys.executable]
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"
    packages = [part for package in PEERS[side] for part in ("--with", package)]
    flags = ("--isolated", "--no-project", "--python=3.12", f"--exclude-newer={NEWEST}")
    return [uv, "run", *flags, *packages, "python"]


def parse(output: str, complaints: str, code: int) -> Result:
    """The worker's JSON, or {"error": its last complaint without addresses and folders}."""
    lines = output.strip().splitlines()
    if code == 0 and lines:
        found: Result = json.loads(lines[-1])
        return found
    last = next((line for line in reversed(complaints.strip().splitlines()) if line.strip()), f"exit {code}")
    return {"error": re.sub(r"\w+://\S+|(?<!\w)/[\w./+-]+", "…", last.strip())[:300]}


def combine(runs: Sequence[Result]) -> Result:
    """One side's rounds in one: rates together, the median of the times, what it ran on as it was last."""
    failed = next((run for run in runs if "error" in run), None)
    if failed:
        return failed
    rates = [rate for run in runs for rate in run["steps_per_s"]]
    middle = {
        name: statistics.median(run[name] for run in runs)
        for name in ("physics_ms", "render_ms", "rest_ms", "overhead_fraction")
    }
    return {
        **runs[-1],
        "steps_per_s": statistics.median(rates),
        "slowest": min(rates),
        "fastest": max(rates),
        "repeats": len(rates),
        "steps_per_cpu_s": statistics.median(rate for run in runs for rate in run["steps_per_cpu_s"]),
        **middle,
    }


def summarise(sides: dict[tuple[str, str], Result]) -> Result:
    """The claims' numbers, then every side's own.

    A ratio compares medians and is None when no peer could be measured; `*_worst` compares our slowest repeat with the
    peers' fastest, `*_cpu` what the processes got done in a second of the core's time, whatever else it had to do.
    `overhead_fraction` is the largest of our tasks and controls.
    """
    own = sides[OURS[0], "default"]
    for side in OURS:
        if "error" in sides[side, "default"]:
            sys.exit(f"{side}: {sides[side, 'default']['error']}")
    summary: Result = {"steps_per_s": own["steps_per_s"], "frames_per_s": 2 * own["steps_per_s"]}
    more: Result = {}
    for mode in ("default", "tuned"):
        peers = {side: run for (side, m), run in sides.items() if m == mode and side not in OURS}
        measured = {side: run for side, run in peers.items() if "error" not in run}
        best = max(measured, key=lambda side: measured[side]["steps_per_s"], default=None)
        summary[f"vs_best_peer_{mode}"] = best and own["steps_per_s"] / measured[best]["steps_per_s"]
        summary[f"best_peer_{mode}"] = best
        fastest = max((run["fastest"] for run in measured.values()), default=None)
        more[f"vs_best_peer_{mode}_worst"] = fastest and own["slowest"] / fastest
        of_core = max((run["steps_per_cpu_s"] for run in measured.values()), default=None)
        more[f"vs_best_peer_{mode}_cpu"] = of_core and own["steps_per_cpu_s"] / of_core
    return {
        **summary,
        "overhead_fraction": max(sides[side, "default"]["overhead_fraction"] for side in OURS),
        **more,
        "errors": {f"{side}, {mode}": run["error"] for (side, mode), run in sides.items() if "error" in run},
        "sides": {f"{side}, {mode}": run for (side, mode), run in sides.items()},
    }


def table(summary: Result) -> str:
    """For people: frames a second, their spread, and where a control step's time goes."""
    head = f"{'':<36}{'frames/s':>10}{'slowest':>10}{'fastest':>10}{'physics':>10}{'render':>10}{'rest':>10}"
    lines = [head + "  (ms a control step)"]
    for name, run in summary["sides"].items():
        if "error" in run:
            lines.append(f"{name:<36}{run['error']}")
            continue
        rates = [2 * run[key] for key in ("steps_per_s", "slowest", "fastest")]
        times = [run[key] for key in ("physics_ms", "render_ms", "rest_ms")]
        lines.append(
            f"{name:<36}" + "".join(f"{r:>10.1f}" for r in rates) + "".join(f"{t:>10.2f}" for t in times)
        )
    for mode in ("default", "tuned"):
        ratio = summary[f"vs_best_peer_{mode}"]
        if ratio:
            lines.append(f"{ratio:.1f} times {summary[f'best_peer_{mode}']}, {mode}")
    lines.append(f"outside mj_step and rendering: {summary['overhead_fraction']:.1%} at most")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(1 if main()["errors"] else 0)
