"""What `evaluate` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from progress_rm.cases import CAUSAL, HINDSIGHT, UNKNOWN_QUALITY
from progress_rm.groups import PREDICTORS
from progress_rm.metrics import METRICS, Metric

NAMES = {"model": "model", HINDSIGHT: "clock t/T", CAUSAL: "clock, causal"}
WAYS = {"lower": "↓", "higher": "↑", "nominal": "→"}


def format_table(metrics: Mapping[str, Any]) -> str:
    """All numbers of all episodes with their intervals, then the headline numbers of every group, then the notes."""
    overall = metrics["overall"]
    title = f"overall: {overall['episodes']} episodes, {overall['frames']} frames"
    parts = [
        title,
        _all_numbers(overall),
        "",
        "by group (episodes)",
        _by_group(metrics),
        "",
        *metrics["notes"],
    ]
    return "\n".join(parts)


def _all_numbers(group: Mapping[str, Any]) -> str:
    """Metrics down, predictors across, each with its interval."""
    predictors = [name for name in PREDICTORS if name in group]
    rows = [["", *(word for name in predictors for word in (NAMES[name], ""))]]
    for metric in METRICS:
        row = [_name(metric)]
        for predictor in predictors:
            row.append(_number(group[predictor][metric.key]))
            row.append(_interval(group["intervals"][predictor][metric.key]))
        rows.append(row)
    return _aligned(rows, left=1)


def _by_group(metrics: Mapping[str, Any]) -> str:
    """Groups down, headline metrics across, the model's row above the clocks'."""
    groups = [("overall", metrics["overall"]), *metrics["per_quality"].items(), *metrics["per_task"].items()]
    columns = [metric for metric in METRICS if metric.headline]
    rows = [["", "", *(metric.label for metric in columns)]]
    for title, group in groups:
        if title == UNKNOWN_QUALITY:
            continue
        for place, predictor in enumerate(name for name in PREDICTORS if name in group):
            first = f"{_shorten(title)} ({group['episodes']})" if place == 0 else ""
            rows.append(
                [first, NAMES[predictor], *(_number(group[predictor][metric.key]) for metric in columns)]
            )
    return _aligned(rows, left=2)


def _aligned(rows: Sequence[Sequence[str]], left: int) -> str:
    """Columns of one width, the first `left` of them flush left, with a line below the first row."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _name(metric: Metric) -> str:
    best = "" if metric.nominal is None else f" {metric.nominal:.3f}"
    return f"{metric.label} {WAYS[metric.better]}{best}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"[{bounds[0]:.4f}, {bounds[1]:.4f}]"


def _shorten(title: str, width: int = 32) -> str:
    return title if len(title) <= width else title[: width - 1] + "…"
