"""`progress-rm annotate --dataset.root=R --to=FORM`: stage annotations from one form to another.

Forms inside a dataset: `sarm`, `subtasks`, `language`. Outside: `keyframes`, Robo-Dopamine's JSON, one file an episode.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from progress_datasets.annotation_forms import keyframes
from progress_datasets.annotations import FORMS, form_named, present_form, read_segments, write_segments
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.options import DatasetOptions, require
from progress_datasets.segments import Outcome, StageSegment

KEYFRAMES = "keyframes"


@dataclass
class Config:
    """Convert stage annotations from one form to another."""

    dataset: DatasetOptions = field(default_factory=DatasetOptions)
    to: str = ""
    """Form to write: sarm, subtasks or language (into the dataset), or keyframes (into --output)."""
    from_form: str = ""
    """Form of the dataset to read: sarm, subtasks or language; by default the first that it has."""
    from_file: str = ""
    """Read annotated_keyframes.json instead: the file (one episode), or a folder with one folder an episode."""
    output: str = ""
    """Folder to make, for --to=keyframes."""
    replace: bool = False
    """Replace annotations that the dataset has in that form already."""


def run(config: Config) -> None:
    """Convert, and say what was written and what the form cannot carry.

    Raises:
        UserError: nothing to read, faulty annotations, or something there already.
    """
    dataset = EpisodeDataset(require(config.dataset.root, "--dataset.root", "name the dataset"))
    check_target(dataset, config)
    write(dataset, load(dataset, config.from_form, config.from_file), config)


def check_target(dataset: EpisodeDataset, config: Config) -> None:
    """Refuse a target that is none, or that is there already.

    Raises:
        UserError: so it is.
    """
    target = require(config.to, "--to", f"choose {', '.join(FORMS)} or {KEYFRAMES}")
    if target != KEYFRAMES and form_named(target).present(dataset) and not config.replace:
        raise UserError(
            f"{dataset.root}: has '{target}' annotations already; replace them with --replace=true"
        )


def write(dataset: EpisodeDataset, segments: dict[int, list[StageSegment]], config: Config) -> None:
    """Write segments by episode in the form that the config asks for, and say what was written.

    Raises:
        UserError: no folder is named for keyframes.
    """
    target = config.to
    if target == KEYFRAMES:
        output = Path(require(config.output, "--output", "name the folder to make"))
        keyframes.write_folder(output, dataset, segments)
        place = str(output)
    else:
        dataset = write_segments(dataset, segments, target)
        place = str(dataset.root)
    count = sum(map(len, segments.values()))
    print(f"{place}: {count} stages of {len(segments)} of {dataset.num_episodes} episodes, as {target}")
    for line in losses(dataset, segments, target):
        print(line)


def load(dataset: EpisodeDataset, from_form: str, from_file: str) -> dict[int, list[StageSegment]]:
    """Segments by episode, of all episodes that are annotated.

    Raises:
        UserError: none are, or one is faulty.
    """
    if from_form and from_file:
        raise UserError("--from_form and --from_file exclude each other; give one")
    if from_file:
        return keyframes.read_folder(Path(from_file), dataset)
    form = form_named(from_form) if from_form else present_form(dataset)
    if form is None or not form.present(dataset):
        kind = f"'{from_form}' annotations" if from_form else "stage annotations"
        raise UserError(f"{dataset.root}: has no {kind}; give a file with --from_file")
    episodes = (e for e in range(dataset.num_episodes) if form.annotated(dataset, e))
    return {episode: read_segments(dataset, episode, form.name) for episode in episodes}


def losses(dataset: EpisodeDataset, segments: dict[int, list[StageSegment]], target: str) -> list[str]:
    """What a reader of the result has to know."""
    lines = []
    failed = sum(s.outcome != Outcome.SUCCESS for stages in segments.values() for s in stages)
    if failed and (target == KEYFRAMES or not form_named(target).carries_outcomes):
        lines.append(
            f"note: '{target}' cannot carry outcomes; {failed} stages that failed or broke off read as successes"
        )
    first = present_form(dataset)
    if target != KEYFRAMES and first is not None and first.name != target:
        lines.append(f"note: the dataset also has '{first.name}' annotations, and those are read first")
    return lines
