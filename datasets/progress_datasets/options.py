"""Options that several verbs share."""

from __future__ import annotations

from dataclasses import dataclass

from progress_datasets.errors import UserError


@dataclass
class DatasetOptions:
    """Which dataset."""

    root: str = ""
    """Folder of a LeRobotDataset (format v3.0)."""


@dataclass
class DatasetsOptions:
    """Which datasets."""

    root: str = ""
    """Folder of a LeRobotDataset, or several as [first, second]."""

    def roots(self) -> list[str]:
        """The folders, at least one.

        Raises:
            UserError: none is given.
        """
        text = self.root.strip()
        inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        roots = [part.strip().strip("'\"") for part in inner.split(",")] if text.startswith("[") else [inner]
        roots = [root for root in roots if root]
        if not roots:
            raise UserError("--dataset.root is missing; give the folder of a LeRobotDataset")
        return roots


def require(value: str, option: str, what: str) -> str:
    """Return `value`, or raise a UserError naming the option if it is empty."""
    if not value:
        raise UserError(f"{option} is missing: {what}")
    return value
