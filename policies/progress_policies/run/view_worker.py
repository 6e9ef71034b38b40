"""The live view in a process of its own: pictures, joints and progress in Rerun."""

from __future__ import annotations

import time
from typing import Any

from progress_policies.run.board import Board, Layout
from progress_policies.run.workers import Inbox

WINDOW = "window"


def show(inbox: Inbox, memory: Any, layout: Layout, names: list[str], where: str) -> None:
    """Show {"look": tick, "goal": […], "estimate": {…} or null} until the loop is gone.

    Args:
        inbox: where it is told.
        memory, layout: what was seen.
        names: of the joints.
        where: "window", a file's name ending in .rrd, or HOST:PORT of a viewer.
    """
    try:
        import rerun as rr
    except ImportError:
        inbox.send({"error": '--view needs Rerun; pip install "progress-rm[hardware]", or leave --view out'})
        return
    rr.init("progress-rm run", spawn=where == WINDOW)
    if where.endswith(".rrd"):
        rr.save(where)
    elif where != WINDOW:
        rr.connect_grpc(f"rerun+http://{where}/proxy")
    inbox.send({"ready": True})
    board = Board(memory, layout)
    while (message := inbox.receive()) is not None:
        if (seen := board.get(message.get("look", -1))) is None:
            continue
        rr.set_time("time", timestamp=time.time() - (time.monotonic() - seen.stamp))
        for view, image in seen.images.items():
            rr.log(f"views/{view}", rr.Image(image).compress(jpeg_quality=80))
        for name, joint, goal in zip(names, seen.joints, message["goal"], strict=False):
            rr.log(f"joints/{name}/is", rr.Scalars(float(joint)))
            rr.log(f"joints/{name}/goal", rr.Scalars(float(goal)))
        if (estimate := message["estimate"]) is not None:
            for name in ("progress", "uncertainty", "success"):
                rr.log(f"progress/{name}", rr.Scalars(estimate[name]))
            rr.log("stage", rr.TextLog(estimate["stage"]))
        # Ready for the next one; what comes meanwhile is not shown.
        inbox.send({"shown": seen.tick})
