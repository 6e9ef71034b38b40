"""What a result must say of where it comes from."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path


def provenance(argv: Sequence[str]) -> dict[str, str]:
    """The command, the commit, the machine and the day."""
    here = Path(__file__).parent
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=False
    )
    return {
        "command": " ".join(["python", f"benchmarks/{Path(argv[0]).name}", *argv[1:]]),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}, Python {platform.python_version()}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def without_folders(argv: Sequence[str]) -> list[str]:
    """The arguments but for where things lie, which is nobody else's business."""
    kept: list[str] = []
    skip = False
    for word in argv:
        folder = word.split("=")[0] in ("--output_dir", "--results", "--rows")
        if not folder and not skip:
            kept.append(word)
        skip = folder and "=" not in word
    return kept
