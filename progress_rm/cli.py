"""`progress-rm VERB`: finds the module of a verb by name and imports only that one."""

from __future__ import annotations

import logging
import os
import select
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Verb:
    """A verb's module holds a dataclass `Config` (its options) and a function `run(config)`.

    If it has a constant `POSITIONAL`, that names the option which a leading word without dashes fills.
    """

    module: str
    help: str


VERBS: dict[str, Verb] = {
    "quickstart": Verb("progress_rm.quickstart", "demonstrate, train, evaluate and report, in one command"),
    "collect": Verb("progress_envs.collect", "record demonstrations of a simulated task as a LeRobotDataset"),
    "import-video": Verb(
        "progress_datasets.import_video", "turn folders of synchronous videos into a LeRobotDataset"
    ),
    "check": Verb("progress_datasets.check", "list everything that is wrong with a dataset"),
    "annotate": Verb(
        "progress_rm.annotate", "propose stage annotations, or convert them from one form to another"
    ),
    "train": Verb("progress_rm.train", "train a progress reward model"),
    "questions": Verb(
        "progress_rm.questions", "write stage annotations as questions to vision-language models"
    ),
    "adapt": Verb("progress_rm.adapt", "teach a trained reward model another task from one demonstration"),
    "score": Verb("progress_rm.score", "write progress for every frame of a dataset"),
    "bc": Verb("progress_policies.bc", "clone behaviour weighted by progress, with any LeRobot policy"),
    "evaluate": Verb("progress_rm.evaluate", "measure a reward model on held-out episodes, beside a clock"),
    "rl": Verb("progress_policies.rl", "let a policy learn online, its reward shaped by progress"),
    "sim-robot": Verb(
        "progress_envs.sim_robot", "run a simulated arm that LeRobot's drivers take for a real one"
    ),
    "run": Verb(
        "progress_policies.run", "run a policy on a robot, watched by a reward model and kept within limits"
    ),
    "report": Verb("progress_rm.report", "write one HTML page on how a reward model does"),
}


def usage() -> str:
    """The text of `progress-rm --help`."""
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: progress-rm VERB [--option=value ...] [--config_path=FILE.yaml]",
            "",
            "Progress reward models for robots: train, score, evaluate, use.",
            "",
            *lines,
            "",
            "progress-rm VERB --help lists the options of a verb.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; its exit code.

    0 on success, 1 if something went wrong that is nobody's mistake, 2 on a user's mistake, 130 when interrupted, 141
    when nobody reads the output.
    """
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return 141
    return code


def _main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("progress-rm"))
        return 0
    name, *options = arguments
    if name not in VERBS:
        close = get_close_matches(name, VERBS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "see progress-rm --help"
        print(f"progress-rm: there is no verb '{name}'; {hint}", file=sys.stderr)
        return 2
    from progress_datasets.errors import Failed, UserError

    _quieten()
    try:
        if "--help" in options or "-h" in options:
            from progress_rm.options import help_for

            module = _module(name)
            print(help_for(module.Config, options, f"progress-rm {name}", _positional(module)))
        else:
            call(name, options)
    except UserError as error:
        print(f"progress-rm {name}: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"progress-rm {name}: {error}", file=sys.stderr)
        return error.status
    except PermissionError as error:
        print(f"progress-rm {name}: {error.filename}: permission denied; name another place", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"progress-rm {name}: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0


def call(name: str, arguments: Sequence[str]) -> object:
    """Parse `arguments` into the verb's `Config` and run it; returns what the verb's `run` returns.

    Raises:
        UserError: an option is unknown, misspelt or of the wrong type, or the verb refuses its input.
    """
    from progress_rm.options import parse

    module = _module(name)
    config = parse(module.Config, arguments, f"progress-rm {name}", _positional(module))
    result: object = module.run(config)
    return result


def _module(name: str) -> Any:
    return import_module(VERBS[name].module)


def _positional(module: Any) -> str | None:
    """The option that a leading word without dashes fills, where the verb's module names one."""
    return getattr(module, "POSITIONAL", None)


def _quieten() -> None:
    """Keep other packages' chatter out of the output; their warnings of substance and errors stay."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # LeRobot tries to turn them on again whenever it has opened a dataset.
    warnings.filterwarnings("ignore", message="Cannot enable progress bars")
    # LeRobot warns that device None is not available whenever it chooses the device itself.
    for kind in ("rewards", "policies"):
        logging.getLogger(f"lerobot.configs.{kind}").addFilter(
            lambda record: "Device 'None'" not in record.getMessage()
        )


def _nobody_reads() -> bool:
    """Whether standard output is a pipe without a reader (`progress-rm … | head`); if so, silence it for the exit."""
    out = sys.stdout.fileno()
    poll = select.poll()
    poll.register(out, 0)
    closed = any(event & select.POLLERR for _, event in poll.poll(0))
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out)
    return closed


if __name__ == "__main__":
    sys.exit(main())
