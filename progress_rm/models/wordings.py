"""Several wordings of one task: what they have in common, and which words to ask with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from progress_rm.colours import Exchange, colours_of, exchange_between, without_colours

if TYPE_CHECKING:
    from progress_rm.models.base import TaskSpec


def wording_in_other_colours(instruction: str | None, tasks: Sequence[TaskSpec]) -> Exchange | None:
    """What makes an instruction that of one of the tasks; None where it is one, or where not just one will do.

    Stages that name colours are not those of a task in other colours: "pick the red cube" would show a blue one.
    """
    if instruction is None or not colours_of(instruction) or any(t.instruction == instruction for t in tasks):
        return None
    alike = [
        task.instruction
        for task in tasks
        if without_colours(task.instruction) == without_colours(instruction)
        and not any(map(colours_of, task.stages))
    ]
    return exchange_between(instruction, alike[0]) if len(alike) == 1 else None


def same_task(a: TaskSpec, b: TaskSpec) -> bool:
    """Whether these are wordings of one task: `learn_tasks` gives wordings the same facts."""
    return replace(a, instruction=b.instruction) == b


def words_for(tasks: Sequence[TaskSpec], task: int, instruction: str | None) -> str:
    """The words to ask a model for a task with.

    Where it learned several wordings of a task, the words given say which is meant, also if they are new; a task that
    was only ever asked for in one way is asked for in that way, however it is put.
    """
    known = tasks[task]
    several = sum(same_task(known, other) for other in tasks) > 1
    return instruction if several and instruction is not None else known.instruction


def stage_offsets(tasks: Sequence[TaskSpec]) -> list[int]:
    """Where each task's stages begin among all that a model of several tasks tells apart.

    Wordings of one task share its stages: "press red, then blue" and "press blue, then red" are one piece of knowledge,
    and the instruction says which is meant.
    """
    found: list[tuple[TaskSpec, int]] = []
    total = 0
    for task in tasks:
        if not any(same_task(task, other) for other, _ in found):
            found.append((task, total))
            total += len(task.stages)
    return [next(start for other, start in found if same_task(task, other)) for task in tasks]
