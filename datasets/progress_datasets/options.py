"""Options that several verbs share."""

from __future__ import annotations

from dataclasses import dataclass

from progress_datasets.errors import UserError


@dataclass
class DatasetOptions:
    """Which dataset."""

    root: str = ""
    """Folder of a LeRobotDataset (format v3.0)."""


def require(value: str, option: str, what: str) -> str:
    """Return `value`, or raise a UserError naming the option if it is empty."""
    if not value:
        raise UserError(f"{option} is missing: {what}")
    return value
