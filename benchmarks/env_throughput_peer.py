"""One side of `env_throughput.py`, run in that side's own Python: the same loop for every simulator.

    MUJOCO_GL=egl python benchmarks/env_throughput_peer.py SIDE MODE [--seconds=5] [--repeats=5]

SIDE is a key of `SIDES`. MODE is "default" (drawn as its package draws) or "tuned" (shadows, reflections, skybox, haze
and multisampling off, an offscreen buffer no larger than the picture). The last line printed is one JSON object.

Every control step covers 0.1 s of simulated time and ends with one picture of 96 x 96 from each of two cameras. Actions
are drawn uniformly from the action space beforehand. Only the steps are timed: not resets, not the warm-up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

SIZE = 96
CONTROL_STEP = 0.1
"""Seconds of simulated time in a control step."""
EPISODE = 50
"""Control steps between resets, below every side's own time limit."""
WARM_UP = 20
"""Control steps before anything is timed."""


@dataclass
class Side:
    """A simulator ready to run.

    Attributes:
        env: a Gymnasium environment; one `env.step` is one control step.
        pictures: what the step just returned -> two uint8 [96, 96, 3]; draws them if the step has not.
        model, data: MuJoCo's.
        drawing: (object, name) of each function that draws, for the profile.
        rate: how a control step comes to 0.1 s, in words.
    """

    env: Any
    pictures: Callable[[Any], list[Any]]
    model: Any
    data: Any
    drawing: list[tuple[Any, str]]
    rate: str


def ours(task: str, control: str = "joint") -> Side:
    """This project's environment, with its default control rate."""
    import gymnasium

    import progress_envs  # noqa: F401
    from progress_envs import render

    env = gymnasium.make(
        f"progress/{task}-v0",
        views=("front", "wrist"),
        image_size=SIZE,
        control=control,
        render=os.environ.get("MUJOCO_GL", "raycast"),
        disable_env_checker=True,
    )
    world = env.unwrapped.world
    return Side(
        env,
        lambda seen: list(seen["pixels"].values()),
        world.model,
        world.data,
        [(render.GLRenderer, "render"), (render.RaycastRenderer, "render")],
        "fps=10, its default",
    )


def gym_hil(tuned: bool) -> Side:
    """gym-hil's Panda that picks a cube, drawn by `mujoco.Renderer` inside its `step`."""
    import mujoco
    from gym_hil.envs import PandaPickCubeGymEnv
    from gym_hil.mujoco_gym_env import GymRenderingSpec

    env = PandaPickCubeGymEnv(
        image_obs=True, render_spec=GymRenderingSpec(SIZE, SIZE), control_dt=CONTROL_STEP
    )
    if tuned:
        # It makes its renderer when it is made; shadow maps and samples have to be chosen before.
        env._viewer.close()
        env._viewer = _light_renderer(mujoco, env.model)
    return Side(
        env,
        lambda seen: list(seen["pixels"].values()),
        env.model,
        env.data,
        [(env, "render")],
        "control_dt=0.1, its default: 50 physics steps",
    )


def metaworld(tuned: bool) -> Side:
    """Meta-World's pick-place-v3, drawn by Gymnasium's MuJoCo renderer as its `render` does."""
    from metaworld import MT1

    benchmark = MT1("pick-place-v3", seed=0)
    env = benchmark.train_classes["pick-place-v3"](
        render_mode="rgb_array", camera_name="corner2", width=SIZE, height=SIZE
    )
    env.set_task(benchmark.train_tasks[0])
    # One long frame skip spares it the reward of the eight short steps that its own 80 Hz would take.
    env.frame_skip = round(CONTROL_STEP / env.model.opt.timestep)
    return _gymnasium_side(
        env, ("corner2", "gripperPOV"), tuned, f"frame_skip={env.frame_skip} instead of 5 (80 Hz)"
    )


def fetch(tuned: bool) -> Side:
    """gymnasium-robotics' FetchPickAndPlace, drawn by Gymnasium's MuJoCo renderer as its `render` does.

    Of its four cameras only the external one sees the table, and only one more is on the hand.
    """
    from gymnasium_robotics.envs.fetch.pick_and_place import MujocoFetchPickAndPlaceEnv

    env = MujocoFetchPickAndPlaceEnv(render_mode="rgb_array", width=SIZE, height=SIZE)
    env.n_substeps = round(CONTROL_STEP / env.model.opt.timestep)
    return _gymnasium_side(
        env,
        ("external_camera_0", "gripper_camera_rgb"),
        tuned,
        f"n_substeps={env.n_substeps} instead of 20 (25 Hz)",
    )


SIDES: dict[str, tuple[str, Callable[[bool], Side]]] = {
    "ours": ("mujoco", lambda _: ours("PickPlace")),
    "ours TidyTable": ("mujoco", lambda _: ours("TidyTable")),
    "ours ee_delta": ("mujoco", lambda _: ours("PickPlace", "ee_delta")),
    "ours TidyTable ee_delta": ("mujoco", lambda _: ours("TidyTable", "ee_delta")),
    "gym-hil": ("gym-hil", gym_hil),
    "metaworld": ("metaworld", metaworld),
    "gymnasium-robotics": ("gymnasium-robotics", fetch),
}
"""(package, maker) by name; a maker takes whether to tune."""


def _gymnasium_side(env: Any, cameras: tuple[str, str], tuned: bool, rate: str) -> Side:
    """A side whose `step` draws nothing: two cameras are drawn after it."""
    import mujoco

    indices = [mujoco.mj_name2id(env.model, mujoco.mjtObj.mjOBJ_CAMERA.value, name) for name in cameras]
    if tuned:
        # Faster than Gymnasium's own, which reads the depth buffer with every picture.
        renderer = _light_renderer(mujoco, env.model)

        def draw(camera: int) -> Any:
            renderer.update_scene(env.data, camera=camera)
            return renderer.render()
    else:
        viewer = env.mujoco_renderer._get_viewer("rgb_array")

        def draw(camera: int) -> Any:
            return viewer.render("rgb_array", camera_id=camera)

    drawing = _Drawing(draw)
    return Side(
        env,
        lambda seen: [drawing.draw(camera) for camera in indices],
        env.model,
        env.data,
        [(drawing, "draw")],
        rate,
    )


@dataclass
class _Drawing:
    """Holds a function where the profile can replace it."""

    draw: Callable[[int], Any]


def _light_renderer(mujoco: Any, model: Any) -> Any:
    """`mujoco.Renderer` with everything off that our own renderer has off."""
    model.vis.quality.shadowsize = 0
    model.vis.quality.offsamples = 0
    model.vis.global_.offwidth = model.vis.global_.offheight = SIZE
    renderer = mujoco.Renderer(model, SIZE, SIZE, max_geom=model.ngeom + model.nsite + 100)
    for flag in ("SHADOW", "REFLECTION", "SKYBOX", "HAZE", "FOG"):
        renderer.scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}").value] = 0
    return renderer


def run(side: Side, actions: Any, seed: int, spent: dict[str, float] | None = None) -> tuple[float, float]:
    """Seconds that these control steps with their pictures take, by the wall's clock and by the process's own, which
    stands still while the core does something else. Resets lie outside both.

    Args:
        spent: seconds by kind, as `timed` counts them; what resets add is taken out again.
    """
    spent = {} if spent is None else spent
    wall, own, over = 0.0, 0.0, True
    for k, action in enumerate(actions):
        if over or k % EPISODE == 0:
            before = dict(spent)
            side.env.reset(seed=seed + k)
            spent.update(before)
        own_start, start = time.process_time(), time.perf_counter()
        seen, _, terminated, truncated, _ = side.env.step(action)
        side.pictures(seen)
        wall += time.perf_counter() - start
        own += time.process_time() - own_start
        over = terminated or truncated
    return wall, own


def check(side: Side, action: Any) -> None:
    """Raise unless a control step covers 0.1 s and gives two different pictures of the right size."""
    side.env.reset(seed=0)
    before = side.data.time
    pictures = side.pictures(side.env.step(action)[0])
    covered = side.data.time - before
    if abs(covered - CONTROL_STEP) > 1e-6:
        raise RuntimeError(f"a control step covers {covered} s instead of {CONTROL_STEP} s")
    if [(p.shape, p.dtype) for p in pictures] != [((SIZE, SIZE, 3), np.uint8)] * 2:
        raise RuntimeError(f"the pictures have shapes {[p.shape for p in pictures]}")
    if not all(p.any() for p in pictures) or np.array_equal(*pictures):
        raise RuntimeError("the pictures are black or alike")


def profile(side: Side, actions: Any, seed: int) -> dict[str, float]:
    """Milliseconds of a control step spent in mj_step, in drawing and in all else, and that rest's share of it all."""
    import mujoco

    spent = {"physics": 0.0, "render": 0.0}

    def timed(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = function(*args, **kwargs)
            spent[kind] += time.perf_counter() - start
            return result

        return call

    places = [(mujoco, "mj_step", "physics"), *((*place, "render") for place in side.drawing)]
    originals = [getattr(owner, name) for owner, name, _ in places]
    for (owner, name, kind), original in zip(places, originals, strict=True):
        setattr(owner, name, timed(original, kind))
    try:
        total, _ = run(side, actions, seed, spent)
    finally:
        for (owner, name, _), original in zip(places, originals, strict=True):
            setattr(owner, name, original)
    rest = total - sum(spent.values())
    return {
        **{f"{kind}_ms": 1000 * seconds / len(actions) for kind, seconds in spent.items()},
        "rest_ms": 1000 * rest / len(actions),
        "overhead_fraction": rest / total,
    }


def measure(name: str, tuned: bool, seconds: float, repeats: int, seed: int) -> dict[str, Any]:
    """Control steps a second of one side, one number a repeat, each of about `seconds`; and where the time goes."""
    package, make = SIDES[name]
    side = make(tuned)
    space = side.env.action_space
    rng = np.random.default_rng(seed)

    def draw(count: int) -> Any:
        return rng.uniform(space.low, space.high, (count, *space.shape)).astype(space.dtype)

    check(side, draw(1)[0])
    warm = draw(WARM_UP)
    count = int(np.clip(seconds * len(warm) / run(side, warm, seed)[0], 20, 10_000))
    times = [run(side, draw(count), seed + 1000 * k) for k in range(1, repeats + 1)]
    return {
        "steps_per_s": [count / wall for wall, _ in times],
        "steps_per_cpu_s": [count / own for _, own in times],
        **profile(side, draw(count), seed),
        "steps_a_repeat": count,
        "rate": side.rate,
        "version": None if package == "mujoco" else metadata.version(package),
        "mujoco": metadata.version("mujoco"),
        "python": platform.python_version(),
        "opengl": opengl(),
    }


def opengl() -> str | None:
    """What draws, in its own words; None where nothing does but cast rays."""
    if "MUJOCO_GL" not in os.environ:
        return None
    from OpenGL import GL

    return str(GL.glGetString(GL.GL_RENDERER).decode())


def main() -> None:
    """Pin to one core, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("mode", choices=("default", "tuned"))
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long a repeat takes")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    result = measure(options.side, options.mode == "tuned", options.seconds, options.repeats, options.seed)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
