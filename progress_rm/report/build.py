"""Puts numbers, curves and films into the page."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_rm.cases import CAUSAL, HINDSIGHT, EpisodeCases, collect_cases
from progress_rm.metrics import METRICS
from progress_rm.report.choose import Moment, choose_episodes, episode_error, sort_for_display, worst_moments
from progress_rm.report.learning import Learning, learn_from
from progress_rm.report.pictures import Film, as_base64, film_episode
from progress_rm.scores import ScoredDataset

MOMENTS = 12
SCRIPTS = ("dom.js", "chart.js", "player.js", "numbers.js", "stages.js", "weights.js", "main.js")
ENCODERS = 2
"""Films encoded side by side; one thread each, for pictures are small."""


def write_report(
    path: Path | str,
    metrics: Mapping[str, Any],
    scored: Sequence[ScoredDataset],
    title: str = "Progress report",
    episodes: int = 3,
    learning: Learning | None = None,
) -> Path:
    """Write one self-contained HTML page to a temporary sibling of `path` and rename it.

    Args:
        path: the page to make.
        metrics: what `evaluate` returned for `scored`.
        scored: held-out episodes with their scores.
        title: headline of the page.
        episodes: how many to show of each quality of each task; those of the most wrong moments come on top.
        learning: what RA-BC would learn; by default with the default options.

    Raises:
        UserError: `path` exists, or a video is damaged.
    """
    target = Path(path)
    if target.exists():
        raise UserError(f"{target} exists already; remove it or choose another --output")
    cases = collect_cases(scored, metrics["reference"], metrics["clock_length_seconds"])
    moments = worst_moments(cases, MOMENTS)
    shown = sort_for_display(cases, [*choose_episodes(cases, episodes), *(m.case for m in moments)])
    films = _films(cases, scored, shown, moments)
    known = learning or learn_from(scored)
    payload = _payload(title, metrics, cases, shown, films, moments, known)
    page = _page(title, payload, [films[p].mp4 for p in shown])
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.writing")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(target)
    return target


def _films(
    cases: Sequence[EpisodeCases],
    scored: Sequence[ScoredDataset],
    shown: Sequence[int],
    moments: Sequence[Moment],
) -> dict[int, Film]:
    from tqdm import tqdm

    def film(place: int) -> Film:
        case = cases[place]
        stills = [m.frame for m in moments if m.case == place]
        return film_episode(scored[case.source].dataset, case.episode, stills)

    with ThreadPoolExecutor(ENCODERS) as pool:
        made = tqdm(pool.map(film, shown), total=len(shown), desc="report", unit="episode")
        return dict(zip(shown, made, strict=True))


def _payload(
    title: str,
    metrics: Mapping[str, Any],
    cases: Sequence[EpisodeCases],
    shown: Sequence[int],
    films: Mapping[int, Film],
    moments: Sequence[Moment],
    learning: Learning,
) -> dict[str, Any]:
    """What the page's script reads."""
    place_on_page = {place: number for number, place in enumerate(shown)}
    return {
        "title": title,
        "metrics": metrics,
        "columns": [
            {"key": m.key, "label": m.label, "better": m.better, "fair": m.fair, "explains": m.explains}
            for m in METRICS
            if m.headline
        ],
        "clocks": {HINDSIGHT: "clock t/T", CAUSAL: "causal clock"},
        "weights": learning.sets,
        "episodes": [_episode(cases[place], films[place], learning) for place in shown],
        "moments": [
            {
                "episode": place_on_page[m.case],
                "frame": m.frame,
                "error": round(m.error, 4),
                "picture": "data:image/jpeg;base64," + as_base64(films[m.case].stills[m.frame]),
            }
            for m in moments
        ],
    }


def _episode(case: EpisodeCases, film: Film, learning: Learning) -> dict[str, Any]:
    model = case.model
    clocks = {name: _rounded(clock.progress) for name, clock in case.clocks.items()}
    assert model.uncertainty is not None  # read_scores has made sure
    # A model that knows no stages names none.
    stage = np.full(len(model.progress), -1) if model.stage is None else model.stage
    return {
        "task": model.task,
        "quality": case.quality,
        "number": case.episode,
        "succeeded": model.succeeded,
        "fps": model.fps,
        "length": len(model.progress),
        "mse": episode_error(case),
        "stages": list(case.stages),
        "film": {"width": film.width, "height": film.height, "views": [list(view) for view in film.views]},
        "predicted": _rounded(model.progress),
        "uncertainty": _rounded(model.uncertainty),
        "success": _rounded(model.success),
        "truth": _rounded(model.true_progress),
        "clocks": clocks,
        "stage": _runs(stage),
        "trueStage": _runs(model.true_stage),
        "weights": _weight_runs(learning.episodes.get((case.source, case.episode))),
    }


def _rounded(values: NDArray[np.floating]) -> list[float]:
    return [round(float(v), 4) for v in values]


def _runs(stages: NDArray[np.int64]) -> list[list[int]]:
    """[first frame, frame after the last, stage] of every stretch of one stage."""
    edges = [0, *(np.flatnonzero(np.diff(stages)) + 1), len(stages)]
    return [[int(a), int(b), int(stages[a])] for a, b in pairwise(edges)]


def _weight_runs(weights: NDArray[np.float32] | None) -> list[list[float]]:
    """[first frame, frame after the last, weight] of every stretch of one weight, to two digits."""
    if weights is None:
        return []
    hundredths = np.rint(weights * 100).astype(np.int64)
    return [[first, after, value / 100] for first, after, value in _runs(hundredths)]


def _page(title: str, payload: Mapping[str, Any], films: Sequence[bytes]) -> str:
    folder = files("progress_rm.report") / "page"

    def part(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    # "<" would let a stage called "</script>" end the data.
    data = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
        "<", "\\u003c"
    )
    videos = "\n".join(
        f'<script type="text/plain" id="film-{number}">{as_base64(mp4)}</script>'
        for number, mp4 in enumerate(films)
    )
    return Template(part("page.html")).substitute(
        title=html.escape(title),
        style=part("page.css"),
        script="\n".join(part(name) for name in SCRIPTS),
        data=data,
        films=videos,
    )
