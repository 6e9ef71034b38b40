"""One HTML page on one run or on several: curves of success with intervals, where the time went, a video."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from progress_datasets.errors import UserError

TITLE = "Learning from progress"
STYLE = (
    "body{font:15px system-ui;max-width:760px;margin:2em auto;color:#222}td,th{padding:.2em .8em;text-align:left}"
    "i{display:inline-block;width:1em;height:.6em;margin-right:.4em}video{width:300px;margin-right:1em}"
)
WIDTH, HEIGHT, EDGE = 720, 300, 44
COLOURS = ("#1b7f3b", "#7a7a7a", "#d98c00", "#c22f2f", "#2f62c2", "#8a3fa0", "#0f8f8f", "#7a5230")


def compare(runs: Sequence[str], output: str) -> dict[str, Any]:
    """Write `output`/report.html on finished runs; prints and returns their final success by name.

    Raises:
        UserError: a folder holds no finished run, or the page exists.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        file = Path(run) / "training.json"
        if not file.exists():
            raise UserError(f"--compare: {run} holds no finished run; let 'progress-rm rl' finish it first")
        found[run] = json.loads(file.read_text(encoding="utf-8"))
    target = Path(output) / "report.html"
    if target.exists():
        raise UserError(f"{target} exists already; choose another --output_dir or remove it")
    write_page(target, found, Path(runs[0]))
    summary = {"report": str(target), "success": {name: run["success"] for name, run in found.items()}}
    print(json.dumps(summary))
    return summary


def write_page(path: Path, runs: Mapping[str, Mapping[str, Any]], films: Path) -> None:
    """Write the page, whole or not at all.

    Args:
        path: where.
        runs: by name, what their `training.json` holds.
        films: a run whose `videos` are shown.
    """
    names = [html.escape(name) for name in runs]
    rows = "".join(_row(name, run, i) for i, (name, run) in enumerate(zip(names, runs.values(), strict=True)))
    shown = "".join(_film(file) for file in sorted((films / "videos").glob("*.mp4")))
    titles = ("run", "reward", "progress", "before", "after", "95 % interval", "rollouts to 80 %")
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{TITLE}</title><style>{STYLE}</style>',
        "<h1>Success by rollouts</h1><p>Share of evaluation episodes that succeed by the environment's own word; bands "
        "are Wilson's 95 % intervals. The first number is the cloned demonstrations'.</p>",
        _chart(list(runs.values())),
        "<table><tr>" + "".join(f"<th>{title}" for title in titles) + f"</tr>{rows}</table>",
        "<h1>Where the time went</h1><table>" + _shares(names, list(runs.values())) + "</table>",
        "<h1>In the end</h1>" + shown if shown else "",
    ]
    text = "\n".join([*parts, "</html>\n"])
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def rollouts_to(evaluations: Sequence[Mapping[str, Any]], share: float) -> int | None:
    """Rollouts at the first evaluation with that share of successes; None if there is none."""
    return next((int(e["rollouts"]) for e in evaluations if e["success"] >= share), None)


def _row(name: str, run: Mapping[str, Any], i: int) -> str:
    first, last = run["evaluations"][0], run["evaluations"][-1]
    to80 = rollouts_to(run["evaluations"], 0.8)
    cells = [
        f'<i style="background:{_colour(i)}"></i>{name}',
        run["reward"],
        run["progress"],
        f"{first['success']:.0%}",
        f"{last['success']:.0%}",
        f"{last['low']:.0%} – {last['high']:.0%}",
        "–" if to80 is None else str(to80),
    ]
    return "<tr><td>" + "<td>".join(cells) + "</tr>"


def _shares(names: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> str:
    parts = list(dict.fromkeys(part for run in runs for part in run["shares"]))
    head = "<tr><th>run<th>" + "<th>".join(part.replace("_", " ") for part in parts) + "</tr>"
    rows = [
        f"<tr><td>{name}<td>" + "<td>".join(f"{run['shares'].get(part, 0):.1%}" for part in parts) + "</tr>"
        for name, run in zip(names, runs, strict=True)
    ]
    return head + "".join(rows)


def _chart(runs: Sequence[Mapping[str, Any]]) -> str:
    most = max(1, *(e["rollouts"] for run in runs for e in run["evaluations"]))

    def at(rollouts: float, share: float) -> str:
        x = EDGE + (WIDTH - 2 * EDGE) * rollouts / most
        return f"{x:.1f},{HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * share:.1f}"

    marks = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        left, right = at(0, share), at(most, share)
        marks.append(f'<polyline points="{left} {right}" stroke="#ddd" fill="none"/>')
        y = left.partition(",")[2]
        marks.append(f'<text x="{EDGE - 6}" y="{y}" text-anchor="end" font-size="12">{share:.0%}</text>')
    for rollouts in (0, most // 2, most):
        x = at(rollouts, 0).partition(",")[0]
        label = f'y="{HEIGHT - EDGE + 18}" text-anchor="middle" font-size="12">{rollouts}</text>'
        marks.append(f'<text x="{x}" {label}')
    for i, run in enumerate(runs):
        curve = run["evaluations"]
        band = [at(e["rollouts"], e["low"]) for e in curve]
        band += [at(e["rollouts"], e["high"]) for e in reversed(curve)]
        line = " ".join(at(e["rollouts"], e["success"]) for e in curve)
        marks.append(f'<polygon points="{" ".join(band)}" fill="{_colour(i)}" opacity=".13"/>')
        marks.append(f'<polyline points="{line}" stroke="{_colour(i)}" stroke-width="2" fill="none"/>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(marks)}</svg>'


def _film(file: Path) -> str:
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return f'<video controls loop src="data:video/mp4;base64,{data}"></video>'


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]
