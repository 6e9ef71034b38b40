"""`progress-rm questions`: annotations as JSONL that other trainers read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call
from progress_rm.models.procvlm.questions import KINDS, read_reply


def test_questions_are_written_with_their_pictures(toy: EpisodeDataset, tmp_path: Path) -> None:
    import cv2

    output = tmp_path / "questions"
    call("questions", [f"--dataset.root={toy.root}", f"--output={output}", "--query_s=1", "--window=2"])
    rows = [json.loads(line) for line in (output / "questions.jsonl").read_text().splitlines()]
    assert {row["kind"] for row in rows} == set(KINDS)
    for row in rows:
        asked, reply = row["messages"]
        shown = [part["image"] for part in asked["content"] if part["type"] == "image"]
        assert shown == row["images"]
        assert (asked["role"], reply["role"]) == ("user", "assistant")
        assert len(shown) % 2 == 0
        if row["kind"] == "progress":
            read = read_reply(reply["content"][0]["text"])
            assert read is not None
            assert read.progress == pytest.approx(row["progress"], abs=1e-4)
            assert read.remaining[0] == row["stage"]
    last = rows[-1]
    everything = list(toy.frames(last["episode"], "right"))
    picture = cv2.cvtColor(cv2.imread(str(output / last["images"][-1])), cv2.COLOR_BGR2RGB)
    assert (picture == everything[last["frame"]]).all()
    with pytest.raises(UserError, match="exists"):
        call("questions", [f"--dataset.root={toy.root}", f"--output={output}"])
    assert not list(tmp_path.glob("*.part"))


def test_options_are_checked(toy: EpisodeDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--output is missing"):
        call("questions", [f"--dataset.root={toy.root}"])
    with pytest.raises(UserError, match="must be positive"):
        call("questions", [f"--dataset.root={toy.root}", f"--output={tmp_path / 'q'}", "--window=0"])
