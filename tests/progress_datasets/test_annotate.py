"""The verb: from form to form and file, saying what is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from progress_datasets import annotate
from progress_datasets.annotate import Config
from progress_datasets.annotations import read_segments
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.options import DatasetOptions
from progress_datasets.segments import StageSegment
from progress_datasets.synthetic import LENGTHS, SEGMENTS

Copy = Callable[[EpisodeDataset], EpisodeDataset]


def test_through_all_forms_and_back(
    recorded: EpisodeDataset, copy: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = str(copy(recorded).root)
    options = DatasetOptions(root)
    annotate.run(Config(options, to="subtasks"))
    said = capsys.readouterr().out
    assert "9 stages of 3 of 3 episodes, as subtasks" in said
    assert "'subtasks' cannot carry outcomes; 2 stages that failed or broke off read as successes" in said
    assert "also has 'sarm' annotations, and those are read first" in said
    annotate.run(Config(options, to="language", from_form="subtasks"))
    annotate.run(Config(options, to="keyframes", from_form="language", output=str(tmp_path / "files")))
    annotate.run(Config(options, to="sarm", from_file=str(tmp_path / "files"), replace=True))
    dataset = EpisodeDataset(root)
    for form in ("sarm", "subtasks", "language"):
        for episode in range(3):
            found = [(s.name, s.start, s.end) for s in read_segments(dataset, episode, form)]
            assert found == [(s.name, s.start, s.end) for s in SEGMENTS[episode]]


def test_episode_without_annotation_stays_so(recorded: EpisodeDataset, copy: Copy, tmp_path: Path) -> None:
    options = DatasetOptions(str(copy(recorded).root))
    annotate.run(Config(options, to="keyframes", output=str(tmp_path / "files")))
    (tmp_path / "files/episode_000001/annotated_keyframes.json").unlink()
    annotate.run(Config(options, to="sarm", from_file=str(tmp_path / "files"), replace=True))
    dataset = EpisodeDataset(options.root)
    assert [dataset.is_annotated(episode) for episode in range(3)] == [True, False, True]


def test_nothing_is_replaced_unasked(recorded: EpisodeDataset, copy: Copy, tmp_path: Path) -> None:
    options = DatasetOptions(str(copy(recorded).root))
    with pytest.raises(UserError, match="has 'sarm' annotations already; replace them with --replace=true"):
        annotate.run(Config(options, to="sarm"))
    with pytest.raises(UserError, match="exists already"):
        annotate.run(Config(options, to="keyframes", output=str(tmp_path)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "subtasks"}, "--dataset.root is missing"),
        ({"to": ""}, "--to is missing: choose sarm, subtasks, language or keyframes"),
        ({"to": "xml"}, "no annotation form 'xml'"),
        (
            {"to": "subtasks", "from_form": "language"},
            "has no 'language' annotations; give a file with --from_file",
        ),
        ({"to": "subtasks", "from_form": "sarm", "from_file": "x"}, "exclude each other"),
        ({"to": "subtasks", "from_file": "nowhere"}, "nowhere: no such file or folder"),
        ({"to": "keyframes"}, "--output is missing"),
    ],
)
def test_mistakes(options: dict[str, str], message: str, recorded: EpisodeDataset) -> None:
    root = "" if message.startswith("--dataset") else str(recorded.root)
    with pytest.raises(UserError, match=message):
        annotate.run(Config(DatasetOptions(root), **options))  # type: ignore[arg-type]
    assert recorded.segments(1) == list(SEGMENTS[1])


def test_overlapping_file(recorded: EpisodeDataset, copy: Copy, tmp_path: Path) -> None:
    options = DatasetOptions(str(copy(recorded).root))
    entry = {"anotation": "a", "start_frame_id": 0, "end_frame_id": 9}
    for episode in range(3):
        place = tmp_path / f"files/episode_{episode:03d}"
        place.mkdir(parents=True)
        (place / "annotated_keyframes.json").write_text(
            json.dumps([entry, {**entry, "start_frame_id": 8 + episode}])
        )
    with pytest.raises(UserError, match=r"episode_000/annotated_keyframes\.json: .* overlap"):
        annotate.run(Config(options, to="subtasks", from_file=str(tmp_path / "files")))
    assert not EpisodeDataset(options.root).has_column("subtask_index")


def test_one_file_for_one_episode(tmp_path: Path) -> None:
    from progress_datasets.synthetic import synthetic_episode
    from progress_datasets.write import write_dataset

    dataset = write_dataset(tmp_path / "set", 10, [synthetic_episode(0)])
    path = tmp_path / "stages.json"
    path.write_text(json.dumps([{"annotation": "all", "start_frame_id": 0, "end_frame_id": LENGTHS[0]}]))
    annotate.run(Config(DatasetOptions(str(dataset.root)), to="language", from_file=str(path)))
    assert read_segments(EpisodeDataset(dataset.root), 0, "language") == [StageSegment("all", 0, LENGTHS[0])]
