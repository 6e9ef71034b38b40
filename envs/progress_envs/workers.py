"""Worker processes that record episodes into raw files, whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from progress_envs.recording import Job, record, save_shard


def shard_path(folder: Path, index: int) -> Path:
    """The raw file of one episode."""
    return folder / f"episode_{index:06d}.npz"


def record_all(
    env_id: str, options: dict[str, Any], jobs: Sequence[Job], folder: Path, workers: int
) -> Iterator[Path]:
    """Paths of the recorded episodes, in order, as soon as each is there; those that exist are not recorded again.

    Args:
        options: keyword arguments for `gymnasium.make`.
        folder: where the raw files go.
        workers: processes; 0 means one a processor, 1 records in this process.
    """
    paths = [shard_path(folder, job.index) for job in jobs]
    missing = [job for job, path in zip(jobs, paths, strict=True) if not path.exists()]
    workers = min(workers or os.cpu_count() or 1, len(missing))
    if workers <= 1:
        _start(env_id, options, folder)
        try:
            for job, path in zip(jobs, paths, strict=True):
                if not path.exists():
                    _record(job)
                yield path
        finally:
            _worker.pop("env").close()
        return
    arguments = (env_id, options, folder, True)
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, arguments) as pool:
        futures: dict[int, Future[None]] = {job.index: pool.submit(_record, job) for job in missing}
        try:
            for job, path in zip(jobs, paths, strict=True):
                if job.index in futures:
                    futures[job.index].result()
                yield path
        finally:
            pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}


def _start(env_id: str, options: dict[str, Any], folder: Path, watch: bool = False) -> None:
    if watch:
        threading.Thread(target=_die_with_parent, daemon=True).start()
    import gymnasium

    import progress_envs  # noqa: F401

    _worker.update(env=gymnasium.make(env_id, disable_env_checker=True, **options), folder=folder)


def _die_with_parent() -> None:
    """A worker whose parent was killed would wait for its next job forever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _record(job: Job) -> None:
    save_shard(shard_path(_worker["folder"], job.index), record(_worker["env"], job))
