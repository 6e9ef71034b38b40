"""The reward model in a process of its own: follows the attempt live, tick by tick as fast as it can."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from progress_policies.run.board import Board, Layout
from progress_policies.run.workers import Inbox
from progress_rm.models.base import ProgressEstimate
from progress_rm.models.registry import load_model
from progress_rm.score import ModelOptions

Answer = dict[str, Any]


def follow(inbox: Inbox, memory: Any, layout: Layout, options: ModelOptions, task: str) -> None:
    """Answer {"look": tick} with an estimate, begin anew at {"reset": true}, until the loop is gone."""
    torch.set_num_threads(1)
    try:
        model = load_model(options.path, options.device or None, options.options)
        stream = model.stream(task=task)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the person at the robot has to read it
        inbox.send(
            {"error": f"--reward.path={options.path}: cannot be loaded ({str(error).splitlines()[0]})"}
        )
        return
    spec = model.config.tasks[model.config.find_task(task)]
    views = [view for view in getattr(model.config, "views", layout.images) if view in layout.images]
    if not views:
        shown = ", ".join(layout.images) or "no view"
        inbox.send({"error": f"--reward.path={options.path}: knows none of the robot's cameras ({shown})"})
        return
    size = getattr(model.config, "state_dim", 0)
    stages = {"stages": list(spec.stages), "priors": list(spec.priors), "length_s": spec.length_s}
    inbox.send({"ready": True, "label_scheme": model.config.label_scheme, **stages})
    board = Board(memory, layout)
    begun: float | None = None
    while (message := inbox.receive()) is not None:
        if "reset" in message:
            stream, begun = model.stream(task=task), None
            continue
        seen = board.get(message["look"])
        if seen is None:
            inbox.send({"tick": message["look"], "missed": True})
            continue
        begun = seen.stamp if begun is None else begun
        state = seen.joints.astype(np.float32) if size == len(seen.joints) else None
        estimate = stream.step({view: seen.images[view] for view in views}, state, seen.stamp - begun)
        inbox.send(answer(seen.tick, estimate))


def answer(tick: int, estimate: ProgressEstimate) -> Answer:
    """An estimate as a message."""
    return {
        "tick": tick,
        "progress": estimate.progress,
        "stage": estimate.stage,
        "uncertainty": estimate.uncertainty,
        "success": estimate.success,
        "answered": time.monotonic(),
    }


def estimate_of(message: Answer) -> ProgressEstimate:
    """A message as an estimate; probabilities of stages are not sent."""
    return ProgressEstimate(
        progress=message["progress"],
        stage=message["stage"],
        stage_probs={},
        uncertainty=message["uncertainty"],
        success=message["success"],
    )
