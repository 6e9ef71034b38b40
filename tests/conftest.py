"""What every test runs under: one thread a process, no network, no cache in the user's home."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

_CACHE = tempfile.mkdtemp(prefix="progress-rm-tests-")

# Set before anything imports torch or huggingface_hub; subprocesses of tests inherit it.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HOME"] = _CACHE
os.environ["PROGRESS_RM_CACHE"] = f"{_CACHE}/progress-rm"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Same examples every time, and no deadline: a shared machine is slow at odd moments.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True, max_examples=50, database=None)
hypothesis.settings.load_profile("house")


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Keep torch to one thread, without importing it for tests that do not need it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def temporary_cache() -> Iterator[Path]:
    """The Hugging Face cache of this run, removed at its end."""
    yield Path(_CACHE)
    shutil.rmtree(_CACHE, ignore_errors=True)
