"""The rules of the house that a tool does not check: what lies where, and what no file may hold."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ["progress_rm", "datasets/progress_datasets", "envs/progress_envs", "policies/progress_policies"]
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def name_of(path: Path) -> str:
    """`datasets/progress_datasets/errors.py` → `progress_datasets.errors`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    start = next(i for i, part in enumerate(parts) if part.startswith("progress_"))
    return ".".join(parts[start:]).removesuffix(".__init__")


@pytest.mark.parametrize("folder", ["datasets", "envs", "policies"])
def test_room_folders_are_no_packages(folder: str) -> None:
    """An `__init__.py` there would shadow Hugging Face's `datasets`, which LeRobot imports."""
    assert not (ROOT / folder / "__init__.py").exists()


def test_tests_mirror_the_rooms() -> None:
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} - {
        "__pycache__",
        "benchmarks",
    }
    assert folders <= {Path(room).name for room in ROOMS}
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_every_room_ships_its_type_marker() -> None:
    assert [room for room in ROOMS if not (ROOT / room / "py.typed").exists()] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 350, "does it hide two modules?"
    assert ast.get_docstring(ast.parse(text)), "a module starts with a docstring"


def test_nothing_heavy_is_imported_with_the_packages() -> None:
    code = (
        "import sys, progress_rm, progress_rm.cli, progress_datasets, progress_policies\n"
        "heavy = {'torch', 'lerobot', 'mujoco', 'cv2', 'av', 'zarr', 'transformers', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_resolve() -> None:
    import progress_rm

    for name in progress_rm.__all__:
        assert getattr(progress_rm, name) is not None
        assert name in dir(progress_rm)
    with pytest.raises(AttributeError, match="no attribute 'laod_model'"):
        progress_rm.laod_model  # noqa: B018


def test_examples_in_docstrings_are_true() -> None:
    tried = 0
    for path in MODULES:
        if ">>> " in path.read_text():
            result = doctest.testmod(importlib.import_module(name_of(path)), optionflags=doctest.ELLIPSIS)
            assert result.failed == 0, path
            tried += result.attempted
    assert tried > 0


def imported_packages() -> set[str]:
    """Top-level packages that our code imports, at the top of a module or inside a function."""
    found: set[str] = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names)


DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "yaml": "pyyaml",
    "PIL": "pillow",
    "stable_baselines3": "stable-baselines3",
    "sb3_contrib": "sb3-contrib",
    "rerun": "rerun-sdk",
}


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~! ]", requirement)[0] for requirement in requirements}


def test_every_dependency_is_imported_and_every_import_declared() -> None:
    ours = {Path(room).name for room in ROOMS}
    used = {DISTRIBUTIONS.get(name, name) for name in imported_packages() - ours}
    required = declared(PROJECT["project"]["dependencies"])
    extras = declared(list(chain(*PROJECT["project"]["optional-dependencies"].values())))
    assert used - required - extras == set()
    assert required - used - IMPORTED_BY_OTHERS == set()


IMPORTED_BY_OTHERS = {"tensorboard"}
"""Named because a feature of ours needs them; imported for us (torch.utils.tensorboard)."""


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def test_no_machine_is_named() -> None:
    """No absolute path of one machine in code or docs, and no download address in the lock file."""
    path_of_a_machine = re.compile(r"(?<![\w.])/(?:work|tmp|root|home)/")
    offenders = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in tracked_files()
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".json", ".html", ".js", ".css"}
        for line in path.read_text(errors="replace").splitlines()
        if path_of_a_machine.search(line) and path != Path(__file__)
    ]
    assert offenders == []
    assert re.findall(r"\w+://|file:", (ROOT / "requirements.lock").read_text()) == []


def test_files_are_small_and_uv_lock_stays_out() -> None:
    files = tracked_files()
    assert ROOT / "uv.lock" not in files
    assert [path for path in files if path.stat().st_size > 2**20 and path.name != "report.png"] == []


def test_lock_file_holds_every_dependency_with_hashes() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pinned = set(re.findall(r"^([a-z0-9-]+)(?:\[\w+\])?==", lock, re.MULTILINE))
    assert declared(PROJECT["project"]["dependencies"]) <= pinned
    assert len(pinned) > 50
    assert lock.count("--hash=sha256:") >= len(pinned)
