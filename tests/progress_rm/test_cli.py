from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from types import ModuleType

import pytest

from progress_datasets.errors import UserError
from progress_rm import cli


@dataclass
class Config:
    """Do a thing."""

    root: str
    """Folder."""
    times: int = 1


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A verb `thing`, whose module is made here."""
    module = ModuleType("progress_rm_thing")
    module.Config = Config  # type: ignore[attr-defined]
    module.POSITIONAL = "root"  # type: ignore[attr-defined]
    module.run = lambda config: [config.root] * config.times  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.VERBS, "thing", cli.Verb(module.__name__, "do a thing"))
    return module


def test_call_returns_what_the_verb_returns(verb: ModuleType) -> None:
    assert cli.call("thing", ["D", "--times=2"]) == ["D", "D"]


def test_a_verb_without_positional_refuses_a_lone_word(
    verb: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    del verb.POSITIONAL
    assert cli.main(["thing", "D"]) == 2
    assert "'D' is not an option" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_usage_lists_every_verb(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in cli.VERBS)


def test_help_of_a_verb(verb: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["thing", "--help"]) == 0
    assert "--times  a whole number (default: 1)" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from progress_rm import __version__

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], "progress-rm: there is no verb 'trian'; did you mean 'train'?"),
        (["xyz"], "progress-rm: there is no verb 'xyz'; see progress-rm --help"),
        (["thing", "D", "--times=x"], "progress-rm thing: --times=x is not a whole number"),
        (["thing"], "progress-rm thing: --root is missing"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    verb: ModuleType, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(line)
    assert shown.err.count("\n") == 1


def _raise(error: BaseException) -> object:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("D: is empty; collect some"), 2, "progress-rm thing: D: is empty; collect some"),
        (PermissionError(13, "Permission denied", "/x"), 2, "progress-rm thing: /x: permission denied"),
        (KeyboardInterrupt(), 130, "the same command goes on where it stopped"),
    ],
)
def test_what_stops_a_verb_becomes_an_exit_code(
    verb: ModuleType, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, words: str
) -> None:
    verb.run = lambda config: _raise(error)  # type: ignore[attr-defined]
    assert cli.main(["thing", "D"]) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError("a bug"), BrokenPipeError("a worker died")])
def test_what_is_no_users_mistake_is_not_hidden(
    verb: ModuleType, error: Exception, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    verb.run = lambda config: _raise(error)  # type: ignore[attr-defined]
    with pytest.raises(type(error)):
        cli.main(["thing", "D"])


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_stops_reading_is_no_error(unbuffered: str) -> None:
    """As in `progress-rm … | head`: standard output is a pipe without a reader."""
    program = (
        "import os, sys\n"
        "reading, writing = os.pipe(); os.close(reading); os.dup2(writing, 1)\n"
        "from progress_rm.cli import main\n"
        "sys.exit(main(['--help']))"
    )
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=environment)
    assert (done.returncode, done.stderr) == (141, "")


def test_only_the_known_chatter_is_silenced(verb: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    cli.main(["thing", "D"])
    logger = logging.getLogger("lerobot.configs.rewards")
    logger.warning("Device 'None' is not available. Switching to 'cpu'.")
    logger.warning("Device 'cuda' is not available. Switching to 'cpu'.")
    assert [record.getMessage()[:13] for record in caplog.records] == ["Device 'cuda'"]


def test_help_is_quick() -> None:
    """Below half a second, so nothing heavy may be imported for it; the best of three, as machines hiccup."""
    command = [sys.executable, "-m", "progress_rm.cli", "--help"]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


@pytest.mark.parametrize("verb_name", list(cli.VERBS))
def test_every_verb_has_options_with_docs(verb_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([verb_name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    own = [line for line in lines if line.startswith("  --") and "." not in line.split()[0]]
    for option in own:
        doc = lines[lines.index(option) + 1]
        assert doc.startswith("      "), f"{option.split()[0]} of {verb_name} has no doc below its field"
