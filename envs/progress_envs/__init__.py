"""MuJoCo manipulation tasks with stages and true progress, as Gymnasium environments.

Importing this registers every task with Gymnasium: `gymnasium.make("progress/PickPlace-v0")`.
"""

from __future__ import annotations

import gymnasium

from progress_envs.names import env_id, task_names


def register() -> None:
    """Make every task known to Gymnasium; call it again after adding files to `progress_envs.tasks.__path__`."""
    for name in task_names():
        if env_id(name) not in gymnasium.registry:
            gymnasium.register(env_id(name), "progress_envs.env:ProgressEnv", kwargs={"task": name})


register()
