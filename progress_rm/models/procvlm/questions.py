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
from progress_rm.models.glimpses import Glimpse

KINDS = {
    "progress": (
        "Which actions remain until the task is done, and how much of it is done now? "
        "First name the remaining actions, then give the progress as <progress>NN.NN%</progress>."
    ),
    "segmentation": "Which action is going on in each of the recent moments, oldest first?",
    "planning": "Which actions come next, after the one that is going on now?",
}
"""By kind, the words asked."""

SHUFFLED = (
    "The numbered frames are from one attempt and in random order. How much of the task is done in each of them? "
    "Compare them with one another and with the start, where 0% is done. "
    "Answer with one line for each frame, in the order shown, as Frame N: NN%."
)
"""The words asked where frames are shuffled."""

DONE = "Is the task complete now? Answer True or False."
"""The words asked where the probability of an answer counts."""

ASKED = {**KINDS, "shuffled": SHUFFLED, "done": DONE}
"""All words asked, by kind."""

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
    for moment, glimpse in _moments(question):
        for view in sorted(glimpse.pictures):
            content += [{"type": "text", "text": f"{moment}, {view}:"}, {"type": "image"}]
    content.append({"type": "text", "text": f"\n{ASKED[kind]}"})
    return [{"role": "user", "content": content}]


def pictures(question: Question) -> list[NDArray[np.uint8]]:
    """The pictures of a question in the order in which `messages` speaks of them."""
    return [glimpse.pictures[view] for _, glimpse in _moments(question) for view in sorted(glimpse.pictures)]


def _moments(question: Question) -> list[tuple[str, Glimpse]]:
    """What the moments of a question are called, in the order in which they are shown: no times if that is shuffled."""
    window = question.window
    if question.order:
        later = [(f"frame {n}", window[i]) for n, i in enumerate(question.order, 1)]
        return [("start, 0% done", window[0]), *later]
    now = window[-1].time_s
    return [
        ("now" if one.time_s == now else "start" if i == 0 else f"{now - one.time_s:.1f} s ago", one)
        for i, one in enumerate(window)
    ]


def frame_text(number: int) -> str:
    """How the line about a shuffled frame begins, counted from 1."""
    return f"Frame {number}: "


def percent_text(progress: float) -> str:
    """How it ends."""
    return f"{round(100 * progress)}%\n"


def read_percentages(text: str, count: int) -> list[float] | None:
    """What a reply says of so many shuffled frames; None if it is not of the form asked for.

    >>> read_percentages("Frame 1: 80%\\nFrame 2: 5.5%", 2)
    [0.8, 0.055]
    >>> read_percentages("Frame 1: 80%\\nFrame 3: 5%", 2) is None
    True
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    found = [re.fullmatch(r"Frame (\d+):\s*(\d{1,3}(?:\.\d+)?)\s*%", line) for line in lines if line]
    if [one and int(one[1]) for one in found] != list(range(1, count + 1)):
        return None
    values = [float(one[2]) / 100 for one in found if one]
    return values if max(values) <= 1 else None


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
