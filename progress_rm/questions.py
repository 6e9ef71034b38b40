"""`progress-rm questions`: stage annotations as questions and answers for trainers of vision-language models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from progress_datasets.errors import UserError
from progress_datasets.options import DatasetsOptions, require

if TYPE_CHECKING:
    from progress_rm.data import EpisodeFeatures
    from progress_rm.models.base import TaskSpec
    from progress_rm.models.glimpses import Glimpse


@dataclass
class Config:
    """Write questions about progress, actions and plans, with the answers that stage annotations give, as JSONL."""

    dataset: DatasetsOptions = field(default_factory=DatasetsOptions)
    """Annotated demonstrations."""
    output: str = ""
    """The folder to make: questions.jsonl and images/."""
    label_scheme: str = "visual_change"
    """How stage annotations become progress: duration_prior, equal_budget, visual_change, remaining_time or clock."""
    query_s: float = 1.0
    """Seconds between two questions, and between the moments that a question shows."""
    window: int = 8
    """Recent moments that a question shows, beside the episode's first one."""
    image_size: int = 448
    """The longer side of a picture is made this long at most."""


def run(config: Config) -> dict[str, Any]:
    """Write the folder; prints and returns how much there is.

    Raises:
        UserError: the output exists, or the annotations are not in order.
    """
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.checkpoints import write_folder
    from progress_rm.data import FeatureCache, learn_tasks, load_episodes

    output = Path(require(config.output, "--output", "name the folder to make"))
    if output.exists():
        raise UserError(f"--output={output} exists; choose another folder or delete it")
    if config.query_s <= 0 or config.window < 1 or config.image_size < 1:
        raise UserError("--query_s, --window and --image_size must be positive")
    datasets = [EpisodeDataset(root) for root in config.dataset.roots()]
    tasks = learn_tasks(datasets, config.label_scheme)
    counts = {"questions": 0, "images": 0}

    def fill(folder: Path) -> None:
        from tqdm import tqdm

        (folder / "images").mkdir()
        sources = [(n, d, e) for n, d in enumerate(datasets) for e in range(d.num_episodes)]
        with (folder / "questions.jsonl").open("w", encoding="utf-8") as lines:
            for number, dataset, e in tqdm(sources, desc="questions", unit="episode"):
                [episode] = load_episodes(
                    dataset,
                    FeatureCache(folder, None),
                    tasks=tasks,
                    scheme=config.label_scheme,
                    episodes=[e],
                )
                for row in _rows(config, tasks, episode, folder, f"{number}_{e:06d}", counts):
                    lines.write(json.dumps(row, ensure_ascii=False) + "\n")

    write_folder(output, fill)
    summary = {"output": str(output), **counts}
    print(json.dumps(summary))
    return summary


def _rows(
    config: Config,
    tasks: list[TaskSpec],
    episode: EpisodeFeatures,
    folder: Path,
    name: str,
    counts: dict[str, int],
) -> Iterator[dict[str, Any]]:
    """All questions about one episode; writes its pictures."""
    from progress_rm.models.asking import Question
    from progress_rm.models.glimpses import asked_frames, look, recent
    from progress_rm.models.procvlm.questions import KINDS, messages, reply_parts

    dataset, number = episode.source
    assert episode.labels is not None
    task = next(spec for spec in tasks if spec.instruction == episode.task)
    frames = asked_frames(episode.timestamps, config.query_s)
    seen = look(episode, dataset.episode_views(number), frames, config.image_size)
    files = [
        _write(glimpse, folder, f"{name}_{t:06d}", counts) for t, glimpse in zip(frames, seen, strict=True)
    ]
    for count, t in enumerate(frames, start=1):
        window = recent(count, config.window)
        question = Question(task.instruction, 0, [seen[i] for i in window])
        images = [file for i in window for file in files[i]]
        stage = int(episode.labels.stage[t])
        for kind in KINDS:
            waiting = iter(images)
            asked = messages(question, kind)
            for part in asked[0]["content"]:
                if part["type"] == "image":
                    part["image"] = next(waiting)
            reply = "".join(reply_parts(kind, task, episode.labels, [frames[i] for i in window]))
            counts["questions"] += 1
            yield {
                "kind": kind,
                "messages": [
                    *asked,
                    {"role": "assistant", "content": [{"type": "text", "text": reply}]},
                ],
                "images": images,
                "dataset": str(dataset.root),
                "episode": number,
                "frame": t,
                "progress": round(float(episode.labels.progress[t]), 6),
                "stage": task.stages[stage] if stage >= 0 else None,
            }


def _write(glimpse: Glimpse, folder: Path, name: str, counts: dict[str, int]) -> list[str]:
    """Write the pictures of a moment; returns their names in the order of `messages`."""
    import cv2

    names = []
    for view in sorted(glimpse.pictures):
        file = f"images/{name}_{view}.png"
        if not cv2.imwrite(str(folder / file), cv2.cvtColor(glimpse.pictures[view], cv2.COLOR_RGB2BGR)):
            raise UserError(f"{folder / file} cannot be written; is the disk full?")
        names.append(file)
        counts["images"] += 1
    return names
