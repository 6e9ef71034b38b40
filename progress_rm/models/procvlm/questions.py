"""Questions to a vision-language model, and what stage annotations say the answers are (ProcVLM, arXiv 2605.08774).

A question shows the episode's first moment and recent ones, all views of each, and asks one of three things:

    progress       Remaining: grasp; lift        segmentation   Actions: reach; reach; grasp
                   <progress>42.50%</progress>   planning       Next: lift

Progress is asked for after the actions that remain, so that the number is said on the strength of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_rm.labels import EpisodeLabels, stage_at
from progress_rm.models.asking import Question
from progress_rm.models.base import TaskSpec

KINDS = {
    "progress": (
        "Which actions remain until the task is done, and how much of it is done now? "
        "First name the remaining actions, then give the progress as <progress>NN.NN%</progress>."
    ),
    "segmentation": "Which action is going on in each of the recent moments, oldest first?",
    "planning": "Which actions come next, after the one that is going on now?",
}
"""By kind, the words asked."""

NOTHING = "none"
"""What is written where no action remains or goes on."""

_REPLY = re.compile(
    r"\s*Remaining:\s*(?P<actions>[^\n]*?)\s*<progress>\s*(?P<number>\d{1,3}(?:\.\d+)?)\s*%\s*</progress>\s*"
)


@dataclass(frozen=True)
class Reply:
    """A reply that was understood: the remaining actions in words, and progress in [0, 1]."""

    remaining: tuple[str, ...]
    progress: float


def remaining_text(stages: Sequence[str]) -> str:
    """The first line of a reply about progress."""
    return f"Remaining: {'; '.join(stages) or NOTHING}\n"


def progress_text(progress: float) -> str:
    """The last line of a reply about progress.

    >>> progress_text(0.425), progress_text(1.0)
    ('<progress>42.50%</progress>', '<progress>100.00%</progress>')
    """
    return f"<progress>{100 * progress:05.2f}%</progress>"


def read_reply(text: str) -> Reply | None:
    """What a reply says; None if it is not of the form asked for, or its number is not a percentage.

    >>> read_reply("Remaining: grasp; lift\\n<progress>42.50%</progress>")
    Reply(remaining=('grasp', 'lift'), progress=0.425)
    >>> read_reply("about half") is None
    True
    """
    found = _REPLY.fullmatch(text)
    if found is None or float(found["number"]) > 100:
        return None
    names = tuple(name for part in found["actions"].split(";") if (name := part.strip()))
    return Reply(() if names == (NOTHING,) else names, float(found["number"]) / 100)


def current_stage(reply: Reply, task: TaskSpec) -> int:
    """Number of the stage that a reply says is going on: the first remaining one that the task has.

    Where it names none of them, that in which its progress lies.
    """
    if not reply.remaining:
        return len(task.stages) - 1
    known = {name.casefold(): k for k, name in enumerate(task.stages)}
    for name in reply.remaining:
        if name.casefold() in known:
            return known[name.casefold()]
    return int(stage_at(np.array(reply.progress), task.priors))


def messages(question: Question, kind: str) -> list[dict[str, Any]]:
    """The conversation up to the reply, in the form of chat templates; pictures go by `pictures` in the same order."""
    content: list[dict[str, Any]] = [{"type": "text", "text": f"Task: {question.instruction}\n"}]
    now = question.window[-1].time_s
    for i, glimpse in enumerate(question.window):
        moment = (
            "now" if glimpse.time_s == now else "start" if i == 0 else f"{now - glimpse.time_s:.1f} s ago"
        )
        for view in sorted(glimpse.pictures):
            content += [{"type": "text", "text": f"{moment}, {view}:"}, {"type": "image"}]
    content.append({"type": "text", "text": f"\n{KINDS[kind]}"})
    return [{"role": "user", "content": content}]


def pictures(question: Question) -> list[NDArray[np.uint8]]:
    """The pictures of a question in the order in which `messages` speaks of them."""
    return [glimpse.pictures[view] for glimpse in question.window for view in sorted(glimpse.pictures)]


def reply_parts(kind: str, task: TaskSpec, labels: EpisodeLabels, frames: Sequence[int]) -> tuple[str, ...]:
    """What the annotation says the reply is, in the parts that are tokenised by themselves.

    Args:
        kind: of question.
        task: its stages.
        labels: of the episode.
        frames: those of the window, the last of which is now.
    """
    now = frames[-1]
    known = labels.stage[now] >= 0
    stage = int(labels.stage[now] if known else stage_at(labels.progress[now], task.priors))
    done = bool(labels.done[now])
    if kind == "progress":
        left = () if done else task.stages[stage:]
        return remaining_text(left), progress_text(float(np.clip(labels.progress[now], 0, 1)))
    if kind == "planning":
        return (f"Next: {'; '.join(() if done else task.stages[stage + 1 :]) or NOTHING}",)
    going_on = [
        NOTHING if labels.stage[t] < 0 or labels.done[t] else task.stages[labels.stage[t]] for t in frames
    ]
    return (f"Actions: {'; '.join(going_on)}",)
