"""One file a task: its scene, stages, success, true progress and expert."""
