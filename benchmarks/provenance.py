"""What a result must say of where it comes from."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PLACES = ("--output_dir", "--results", "--rows")
"""Options whose value says where something lies."""


def provenance(script: str, argv: Sequence[str] | None = None) -> dict[str, str]:
    """The command, the commit, the machine and the day.

    Args:
        script: the benchmark's `__file__`.
        argv: its arguments; those of the process if None.
    """
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    words = without_places(sys.argv[1:] if argv is None else argv)
    return {
        "command": " ".join(["python", f"benchmarks/{Path(script).name}", *words]),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, Python {platform.python_version()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def without_places(argv: Sequence[str]) -> list[str]:
    """The arguments but for where things lie, which is nobody else's business."""
    kept: list[str] = []
    words = list(argv)
    while words:
        option = [words.pop(0)]
        # A value may stand in a word of its own; of several the first.
        if option[0].startswith("--") and "=" not in option[0] and words and not words[0].startswith("--"):
            option.append(words.pop(0))
        name, _, value = "=".join(option).partition("=")
        if name not in PLACES and "/" not in value:
            kept += option
    return kept
