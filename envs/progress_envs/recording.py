"""One episode: played by an expert, cut into stages, kept in a raw file until it goes into a dataset."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_datasets.segments import Outcome, StageSegment

HALF_DONE = 0.5
"""True progress from which an unfinished episode counts as a partial success."""

TAIL = 0.4
"""Seconds recorded after success, holding still; they belong to no stage."""


@dataclass(frozen=True)
class Job:
    """One episode to record; `style` sets fields of the demonstrator's `Style`, `state` adds the simulator's state."""

    index: int
    quality: str
    seed: int
    style: dict[str, Any] = field(default_factory=dict)
    state: bool = False


def record(env: Any, job: Job) -> dict[str, Any]:
    """Play one episode: `frames/<view>` uint8 [T, H, W, 3], `state`, `action` float32 [T, 6], `progress` float32 [T],
    `stage` int64 [T], and what is known of the episode as JSON in `about`; `environment_state` float32 [T, D] if asked.

    Frame t holds what is seen before action t; the last one what is seen in the end, with the last action again. A
    success is followed by `TAIL` seconds of holding still.
    """
    from progress_envs.expert import make_expert

    observation, info = env.reset(seed=job.seed)
    scene = [env.unwrapped.environment_state()]
    stages = env.unwrapped.task.stages
    expert = make_expert(env, job.quality, job.seed, job.style)
    style = asdict(expert.style)
    seen, actions, over = [(observation, info)], [], False
    while not over:
        action = expert.act()
        if expert.done:
            break
        observation, _, terminated, truncated, info = env.step(action)
        actions.append(action)
        seen.append((observation, info))
        scene.append(env.unwrapped.environment_state())
        over = terminated or truncated
    finished = len(seen)
    if info["is_success"]:
        # People let the camera run on for a moment, and only so is it seen what "complete" looks like.
        for _ in range(round(TAIL * env.unwrapped.fps)):
            observation, *_, later = env.unwrapped.step(actions[-1])
            actions.append(actions[-1])
            seen.append((observation, later))
            scene.append(env.unwrapped.environment_state())
    actions.append(actions[-1] if actions else expert.act())
    progress = np.array([i["progress"] for _, i in seen], dtype=np.float32)
    outcome = Outcome.PARTIAL if progress[-1] >= HALF_DONE else Outcome.FAILURE
    about = {
        "task": env.unwrapped.task.instruction,
        "stages": list(stages),
        "finished": finished,
        "info": {
            "quality": job.quality,
            "outcome": str(Outcome.SUCCESS if info["is_success"] else outcome),
            "seed": job.seed,
            "env_id": env.spec.id,
            "style": json.dumps(style),
        },
    }
    views = env.unwrapped.views
    return {
        **{f"frames/{view}": np.stack([o["pixels"][view] for o, _ in seen]) for view in views},
        "state": np.stack([o["agent_pos"] for o, _ in seen]),
        "action": np.stack(actions),
        "progress": progress,
        **({"environment_state": np.stack(scene)} if job.state else {}),
        "stage": np.array([stages.index(i["stage"]) for _, i in seen]),
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
    }


def stage_segments(stage: Sequence[int], names: Sequence[str], success: bool) -> list[StageSegment]:
    """Runs of the same stage as segments with outcomes.

    A stage succeeded when a later one follows (or the task is done), failed when an earlier one follows, and is partial
    when the episode ends in it. A run of one frame belongs to the run before it.

    Args:
        stage: [T] indices into `names`.
    """
    runs: list[list[int]] = []
    for frame, index in enumerate(stage):
        lone = frame + 1 < len(stage) and stage[frame + 1] != index
        if runs and (runs[-1][0] == index or lone):
            runs[-1][2] = frame + 1
        else:
            runs.append([index, frame, frame + 1])
    segments = []
    for run, after in zip(runs, [*runs[1:], None], strict=True):
        if after is None:
            outcome = Outcome.SUCCESS if success else Outcome.PARTIAL
        else:
            outcome = Outcome.SUCCESS if after[0] > run[0] else Outcome.FAILURE
        segments.append(StageSegment(names[run[0]], run[1], run[2], outcome))
    return segments


def save_shard(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write one episode, whole or not at all; pictures are LZ4-compressed, which flat colours take well."""
    import pyarrow as pa

    packed: dict[str, NDArray[Any]] = {}
    for name, values in arrays.items():
        if name.startswith("frames/"):
            packed[f"shape/{name}"] = np.array(values.shape)
            values = np.frombuffer(
                pa.compress(np.ascontiguousarray(values), codec="lz4", asbytes=True), np.uint8
            )
        packed[name] = values
    temporary = path.with_suffix(f".{os.getpid()}.writing")
    with temporary.open("wb") as stream:
        np.savez(stream, **packed)  # type: ignore[arg-type]
    temporary.replace(path)


def load_shard(path: Path) -> Any:
    """The `EpisodeData` of one recorded episode."""
    import pyarrow as pa

    from progress_datasets.write import EpisodeData

    with np.load(path, allow_pickle=False) as shard:
        arrays = {name: shard[name] for name in shard.files}
    about = json.loads(arrays["about"].tobytes())
    frames = {}
    for name in arrays:
        if name.startswith("frames/"):
            shape = tuple(arrays[f"shape/{name}"])
            raw = pa.decompress(arrays[name], int(np.prod(shape)), codec="lz4", asbytes=True)
            frames[name.removeprefix("frames/")] = np.frombuffer(raw, np.uint8).reshape(shape)
    success = about["info"]["outcome"] == Outcome.SUCCESS
    extra = {"progress": arrays["progress"]}
    if "environment_state" in arrays:
        extra["observation.environment_state"] = arrays["environment_state"]
    return EpisodeData(
        task=about["task"],
        frames=frames,
        state=arrays["state"],
        action=arrays["action"],
        extra=extra,
        segments=stage_segments(arrays["stage"][: about["finished"]].tolist(), about["stages"], success),
        info=about["info"],
    )
