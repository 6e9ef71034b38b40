"""Which tasks there are: one for each file in `progress_envs/tasks/`, found without importing it."""

from __future__ import annotations

from pkgutil import iter_modules

from progress_envs import tasks


def modules() -> dict[str, str]:
    """Module by task name, e.g. {"PickPlace": "progress_envs.tasks.pick_place"}."""
    names = sorted(module.name for module in iter_modules(tasks.__path__))
    return {"".join(map(str.capitalize, name.split("_"))): f"{tasks.__name__}.{name}" for name in names}


def task_names() -> list[str]:
    """All tasks' names, e.g. "PickPlace"."""
    return list(modules())


def env_id(name: str) -> str:
    """The Gymnasium id of a task's name; a full id stays as it is."""
    return name if "/" in name else f"progress/{name}-v0"
