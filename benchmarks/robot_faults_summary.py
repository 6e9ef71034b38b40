"""What the runs of `robot_faults.py` say together."""

from __future__ import annotations

import collections
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]


def read_rows(path: Path | None) -> dict[int, Row]:
    """Runs that have been made."""
    if path is None or not path.exists():
        return {}
    return {row["seed"]: row for row in map(json.loads, path.read_text().splitlines())}


def summarise(rows: Sequence[Row]) -> Row:
    """The claim's numbers, then every kind's own."""
    made = [row for row in rows if not row.get("skipped")]
    reactions = [row["reaction_ms"] for row in made if row["reaction_ms"] is not None]
    kinds = {}
    for kind in dict.fromkeys(sorted(row["kind"] for row in made)):
        mine = [row for row in made if row["kind"] == kind]
        times = [row["reaction_ms"] for row in mine if row["reaction_ms"] is not None]
        noticed = [row["noticed_after_ms"] for row in mine if "noticed_after_ms" in row]
        kinds[kind] = {
            "runs": len(mine),
            "unsafe": sum(not row["safe"] for row in mine),
            "lost_episodes": sum(row["lost"] for row in mine),
            "worst_reaction_ms": max(times, default=None),
            "median_reaction_ms": float(np.median(times)) if times else None,
            "worst_noticed_after_ms": max(noticed, default=None),
            "ended_by": dict(collections.Counter(row["ended_by"] for row in mine)),
        }
    return {
        "runs": len(made),
        "unsafe": sum(not row["safe"] for row in made),
        "lost_episodes": sum(row["lost"] for row in made),
        "worst_reaction_ms": max(reactions, default=None),
        "skipped": len(rows) - len(made),
        "kinds": kinds,
        "complaints": [f"{row['seed']}: {text}" for row in made for text in row["complaints"]][:50],
    }


def spans(seeds: Sequence[int]) -> str:
    """[0, 1, 2, 7] → "0-2, 7-7"."""
    firsts = [seed for seed in seeds if seed - 1 not in seeds]
    lasts = [seed for seed in seeds if seed + 1 not in seeds]
    return ", ".join(f"{first}-{last}" for first, last in zip(firsts, lasts, strict=True))


def table(summary: Row) -> str:
    """For people."""
    names = ("runs", "unsafe", "lost", "reaction, worst", "median")
    lines = ["{:<22} {:>5} {:>6} {:>5} {:>16} {:>8}  ended by".format("what went wrong", *names)]
    for kind, values in summary["kinds"].items():
        worst, median = (
            "" if values[name] is None else f"{values[name]:.0f} ms"
            for name in ("worst_reaction_ms", "median_reaction_ms")
        )
        ended = ", ".join(f"{name} {count}" for name, count in values["ended_by"].items())
        lines.append(
            f"{kind:<22} {values['runs']:>5} {values['unsafe']:>6} {values['lost_episodes']:>5} "
            f"{worst:>16} {median:>8}  {ended}"
        )
    return "\n".join(lines)
