"""Docs are true: every command in them runs, every link leads somewhere, every option that they name exists.

The fenced `bash` blocks of a page run in order, and the pages in the order of `CHAIN`, in one folder: what one page
makes the next one uses. An HTML comment right before a block changes that:

    <!-- not run: WHY -->               the block is not run
    <!-- tested with: --steps=5 … -->   appended to its commands, so that a test takes seconds; after the name
                                        of a verb only to that verb's

A `python` block runs too. TEST_ENDPOINT in what is appended is the address of an endpoint that runs for the test.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from progress_rm import cli
from progress_rm.option_fields import options_of

ROOT = Path(__file__).parents[1]
CHAIN = [
    "collect",
    "tasks",
    "import-video",
    "check",
    "annotate",
    "train",
    "grm",
    "adapt",
    "perceptual",
    "vlm_rm",
    "score",
    "evaluate",
    "report",
    "sarm2",
    "text-encoders",
    "procvlm",
    "questions",
    "models",
    "endpoint",
    "lerobot-checkpoints",
    "lerobot",
    "bc",
    "simulation",
    "sim-robot",
    "hardware",
    "run",
    "quickstart",
    "concepts",
    "shaping",
    "rl",
    "index",
    "README",
]
ELSEWHERE = ["new-task"]
"""Pages that a test of their own follows: `tests/progress_envs/test_new_task.py`."""

BLOCK = re.compile(
    r"(?:<!-- (?P<rule>not run|tested with): (?P<words>.*?) -->\s*\n)?```(?P<language>\w+)\n(?P<code>.*?)```",
    re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    code: str
    skipped: bool
    extra: tuple[str, ...]

    def commands(self) -> Iterator[list[str]]:
        """The words of each command, with what the test adds."""
        for line in self.code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:2] == ["uv", "run"]:
                words = words[2:]
            if words:
                yield words + self._extra_for(words)

    def _extra_for(self, words: list[str]) -> list[str]:
        verb, chosen = None, []
        for word in self.extra:
            if not word.startswith("--"):
                verb = word
            elif verb is None or words[1] == verb:
                chosen.append(word)
        return chosen


def page(name: str) -> Path:
    return ROOT / "README.md" if name == "README" else ROOT / "docs" / f"{name}.md"


def blocks(name: str) -> Iterator[Block]:
    for match in BLOCK.finditer(page(name).read_text(encoding="utf-8")):
        words = tuple((match["words"] or "").split())
        skipped = match["rule"] == "not run"
        yield Block(match["language"], match["code"], skipped, () if skipped else words)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, tiny_vlm: Path, tiny_topreward: Path) -> Path:
    """The folder that all pages share, with the recordings that import-video's page speaks of, recipes and robots.

    `tiny_vlm` and `tiny_topreward` in it stand for the large models that pages name.
    """
    folder = tmp_path_factory.mktemp("docs")
    write_recordings(folder / "recordings")
    shutil.copytree(tiny_vlm, folder / "tiny_vlm")
    shutil.copytree(tiny_topreward, folder / "tiny_topreward")
    shutil.copytree(ROOT / "policies" / "recipes", folder / "policies" / "recipes")
    shutil.copytree(ROOT / "robot_configs", folder / "robot_configs")
    return folder


def write_recordings(folder: Path) -> None:
    """Two episodes of two synchronous videos each, with keyframes, 20 frames of 64×48 at 10 fps."""
    import json

    import av
    import numpy as np

    for number in range(2):
        episode = folder / f"episode_{number + 1:03}"
        episode.mkdir(parents=True)
        for view in ("cam_high", "cam_wrist"):
            with av.open(str(episode / f"{view}.mp4"), "w") as container:
                stream = container.add_stream("libx264", rate=10)
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                for t in range(20):
                    image = np.full((48, 64, 3), 40, np.uint8)
                    image[10:20, 2 * t : 2 * t + 10] = 255
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
                container.mux(stream.encode())
        stages = [
            {"anotation": "reach", "start_frame_id": 0, "end_frame_id": 9},
            {"anotation": "place", "start_frame_id": 9, "end_frame_id": 19},
        ]
        (episode / "annotated_keyframes.json").write_text(json.dumps(stages))


@pytest.mark.parametrize("name", CHAIN)
def test_commands_run(
    name: str, workplace: Path, loopback: Any, run_script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    for block in blocks(name):
        if block.skipped:
            continue
        if block.language == "bash":
            for words in block.commands():
                run_command([word.replace("TEST_ENDPOINT", loopback.url) for word in words], run_script)
        elif block.language == "python":
            exec(compile(block.code, f"{name}.md", "exec"), {})


def run_command(words: list[str], run_script: Any) -> None:
    """Run one command; our own verbs in this process, which saves importing torch for each."""
    if words[0] == "progress-rm":
        assert cli.main(words[1:]) == 0, shlex.join(words)
    elif words[0].startswith("lerobot-"):
        code, said = run_script(words)
        assert code == 0, f"{shlex.join(words)}\n{said[-4000:]}"
    else:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            words, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_every_page_is_in_the_chain() -> None:
    assert {path.stem for path in (ROOT / "docs").glob("*.md")} | {"README"} == {*CHAIN, *ELSEWHERE}
    assert set(cli.VERBS) <= set(CHAIN)


@pytest.mark.parametrize("name", [*CHAIN, *ELSEWHERE, "../CONTRIBUTING"])
def test_links_lead_somewhere(name: str) -> None:
    text = page(name).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"", text)
    local = [one or other for one, other in targets if "://" not in (one or other)]
    assert [target for target in local if not (page(name).parent / target).exists()] == []


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_options_named_in_a_verbs_page_exist(verb: str) -> None:
    module = cli._module(verb)
    known = {option.name for option in options_of(module.Config, {})} | {"config_path", "help"}
    for kind in ("multiview_sarm", "grm", "procvlm", "clock"):
        known |= {option.name for option in options_of(module.Config, {"model": kind})}
    named = set(re.findall(r"`--([\w.]+)", page(verb).read_text(encoding="utf-8")))
    assert named - known == set()


def test_the_page_of_tasks_has_them_all_with_their_stages() -> None:
    from progress_envs.names import task_names
    from progress_envs.task import load_task

    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", page("tasks").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name: int(stages) for name, stages in rows} == {n: len(load_task(n).stages) for n in task_names()}
