"""Where features are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(option: str = "") -> Path:
    """The folder named by the option, else by PROGRESS_RM_CACHE, else `~/.cache/progress-rm`."""
    return Path(option or os.environ.get("PROGRESS_RM_CACHE") or Path.home() / ".cache" / "progress-rm")
