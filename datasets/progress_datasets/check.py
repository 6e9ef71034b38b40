"""`progress-rm check --dataset.root=R`: lists everything that is wrong with a dataset, with the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from progress_datasets.annotations import present_form
from progress_datasets.check_frames import check_tables
from progress_datasets.check_views import check_views
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.finding import Finding
from progress_datasets.layout import PROPORTIONS, read_json
from progress_datasets.options import DatasetOptions, require

POSITIONAL = "dataset.root"


@dataclass
class Config:
    """List everything that is wrong with a dataset."""

    dataset: DatasetOptions = field(default_factory=DatasetOptions)
    decode: bool = True
    """Decode every picture of every view; without it, truncated, black and frozen videos are not found."""


def run(config: Config) -> list[Finding]:
    """Print one line a finding and a summary; returns the findings.

    Raises:
        UserError: the dataset has errors.
    """
    root = require(config.dataset.root, "--dataset.root", "name the dataset to check")
    findings = check_dataset(root, decode=config.decode, progress=True)
    for finding in findings:
        print(finding)
    errors = sum(finding.severity == "error" for finding in findings)
    print(f"{root}: errors: {errors}, warnings: {len(findings) - errors}")
    if errors:
        raise UserError(f"{root}: errors: {errors}; the lines above say where and what to do")
    return findings


def check_dataset(root: str | Path, decode: bool = True, progress: bool = False) -> list[Finding]:
    """Everything wrong with a dataset, errors first.

    Args:
        root: folder of the dataset.
        decode: also decode every picture.
        progress: show a progress bar while decoding.
    """
    try:
        dataset = EpisodeDataset(root)
    except UserError as error:
        return [Finding.from_error(error)]
    parts: list[Callable[[EpisodeDataset], Iterator[Finding]]] = [
        check_tables,
        check_annotations,
        lambda opened: check_views(opened, decode, progress),
    ]
    findings: list[Finding] = []
    for part in parts:
        try:
            findings += part(dataset)
        except UserError as error:
            findings.append(Finding.from_error(error))
    unique = list(dict.fromkeys(findings))
    return sorted(unique, key=lambda finding: finding.severity != "error")


def check_annotations(dataset: EpisodeDataset) -> Iterator[Finding]:
    """Stages: missing, NaN, out of range, overlapping, used once only, not in the declared order."""
    form = present_form(dataset)
    if form is None:
        yield Finding(
            "warning",
            str(dataset.root),
            "no stage annotations",
            "add them with progress-rm annotate to train on stages",
        )
        return
    used: dict[str, int] = {}
    for episode in range(dataset.num_episodes):
        where = f"{dataset.root}, episode {episode}"
        if not form.annotated(dataset, episode):
            yield Finding(
                "warning", where, "has no stage annotations", "annotate it; training on stages leaves it out"
            )
            continue
        try:
            for segment in form.read(dataset, episode):
                used[segment.name] = used.get(segment.name, 0) + 1
        except UserError as error:
            yield Finding.from_error(error)
    yield from _check_names(dataset, used)


def _check_names(dataset: EpisodeDataset, used: dict[str, int]) -> Iterator[Finding]:
    if dataset.num_episodes > 1:
        for name in (name for name, count in used.items() if count == 1):
            yield Finding(
                "warning",
                str(dataset.root),
                f"stage '{name}' is used once only",
                "if it is a misspelling, rename it",
            )
    declared = {stage for stages in dataset.extras.get("stage_order", {}).values() for stage in stages}
    path = dataset.root / PROPORTIONS.format(kind="sparse")
    proportions = set(read_json(path)) if path.is_file() else set()
    for name in used:
        if declared and name not in declared:
            yield Finding(
                "error", str(dataset.root), f"stage '{name}' is not in the declared stage_order", "add it"
            )
        if proportions and name not in proportions and proportions != {"task"}:
            yield Finding(
                "warning", str(path), f"stage '{name}' is missing, so LeRobot's SARM takes it for the first stage",
                "write the annotations again with progress-rm annotate",
            )  # fmt: skip
