"""One thing that is wrong with a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from progress_datasets.errors import UserError


@dataclass(frozen=True)
class Finding:
    """`error`: training or scoring would stop there; `warning`: it works, and is probably not what is meant."""

    severity: Literal["error", "warning"]
    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.what}; {self.remedy}"

    @classmethod
    def from_error(cls, error: UserError) -> Finding:
        """The same, as a finding: a UserError reads `where: what; remedy`."""
        where, _, rest = str(error).partition(": ")
        what, _, remedy = rest.partition("; ")
        return cls("error", where, what or where, remedy or "repair it")
