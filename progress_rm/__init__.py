"""Progress reward models: which stage of a task is going on, and how much of it is done.

    model = progress_rm.load_model("path/or/repo_id")
    stream = model.stream(task="put the cube into the bin")
    estimate = stream.step({"front": rgb, "wrist": rgb}, timestamp=t)
    estimate.progress, estimate.stage, estimate.uncertainty, estimate.success

Nothing heavy is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from progress_rm.models.base import ProgressEstimate
    from progress_rm.models.registry import load_model, registered_models

__all__ = ["load_model", "registered_models", "ProgressEstimate", "__version__"]

_HOMES = {
    "load_model": "progress_rm.models.registry",
    "registered_models": "progress_rm.models.registry",
    "ProgressEstimate": "progress_rm.models.base",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("progress-rm")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'progress_rm' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
