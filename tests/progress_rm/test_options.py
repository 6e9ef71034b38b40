from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

import draccus
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_datasets.errors import UserError
from progress_rm.options import help_for, parse


class Quality(StrEnum):
    EXPERT = "expert"
    CLUMSY = "clumsy"


@dataclass
class Source:
    """Where episodes come from."""

    root: Path
    """Folder of the dataset."""
    views: list[str] | None = None
    # Seconds between two frames,
    # as recorded.
    spacing: float = 0.5


@dataclass
class Family(draccus.ChoiceRegistry):
    label_scheme: str = "duration_prior"


@Family.register_subclass("multiview_sarm")
@dataclass
class Sarm(Family):
    encoder: str = "small_cnn"
    layers: int = 2


@Family.register_subclass("clock")
@dataclass
class Clock(Family):
    length_s: float = 0.0

    def __post_init__(self) -> None:
        if self.length_s < 0:
            raise ValueError("length_s must not be negative")


@dataclass
class Config:
    """Train something.

    A second paragraph.
    """

    dataset: Source
    model: Family = field(default_factory=lambda: Sarm(layers=4))
    steps: int = 2000  # gradient steps
    lr: float = 1e-3
    resume: bool = False
    """Go on from the last checkpoint."""
    quality: Quality = Quality.EXPERT
    control: Literal["joint", "ee_delta"] = "joint"
    sizes: tuple[int, ...] = (1, 2)
    task: str | None = None
    limit: int | None = None
    mixture: dict[str, float] = field(default_factory=dict)


@dataclass
class Pair:
    first: Family
    second: Family | None = None


def read(*arguments: str) -> Config:
    return parse(Config, arguments, "progress-rm train", "dataset.root")


def refuse(*arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults_are_those_of_the_dataclass() -> None:
    assert read("D") == Config(dataset=Source(root=Path("D")))


def test_every_form_of_a_value() -> None:
    config = read(
        *("D", "--steps=7", "--lr=1e-4", "--resume", "--quality=clumsy", "--control", "ee_delta"),
        *("--sizes=[3,4,5]", "--dataset.views=[front, wrist]", "--task=none", "--limit=9"),
        *("--mixture={expert: 0.5}", "--dataset.spacing=1"),
    )
    source = Source(root=Path("D"), views=["front", "wrist"], spacing=1.0)
    assert config == Config(
        source, steps=7, lr=1e-4, resume=True, quality=Quality.CLUMSY, control="ee_delta",
        sizes=(3, 4, 5), limit=9, mixture={"expert": 0.5},
    )  # fmt: skip


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(lambda s: s not in _NONE))
def test_text_is_taken_literally(text: str) -> None:
    """YAML would make 7 of 007, true of yes and a number of 1e3."""
    assert read("D", f"--task={text}").task == text
    assert read(f"--dataset.root={text}").dataset.root == Path(text)


_NONE = ("null", "none", "None", "~")


@given(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.booleans())
def test_numbers_survive(steps: int, lr: float, resume: bool) -> None:
    config = read("D", f"--steps={steps}", f"--lr={lr!r}", f"--resume={str(resume).lower()}")
    assert (config.steps, config.lr, config.resume) == (steps, lr, resume)


def test_model_type_selects_the_class_and_its_options() -> None:
    assert read("D", "--model.type=clock", "--model.length_s=3").model == Clock(length_s=3.0)
    assert read("D", "--model.type=multiview_sarm", "--model.encoder=classical").model == Sarm(
        encoder="classical", layers=4
    )
    assert read("D", "--model.encoder=classical").model == Sarm(encoder="classical", layers=4)


def test_config_file_is_read_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(
        "dataset: {root: D, views: [top]}\nmodel: {type: clock, length_s: 2}\nsteps: 5\nlr: 1e-2\n"
    )
    config = read(f"--config_path={file}", "--steps=6", "--dataset.spacing=2")
    assert config.dataset == Source(Path("D"), ["top"], 2.0)
    assert (config.model, config.steps, config.lr) == (Clock(length_s=2.0), 6, 0.01)
    (tmp_path / "empty.yaml").write_text("")
    assert read("D", f"--config_path={tmp_path / 'empty.yaml'}").steps == 2000


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--stepz=3", "there is no option --stepz; did you mean --steps?"),
        ("--views=[a]", "did you mean --dataset.views?"),
        ("--dataset.rot=x", "did you mean --dataset.root?"),
        ("--model.encodr=x", "did you mean --model.encoder?"),
        ("--qqq=3", "there is no option --qqq; see progress-rm train --help"),
        ("extra", "'extra' is not an option; write --name=value"),
        ("-s", "'-s' is not an option"),
        ("--steps=many", "--steps=many is not a whole number; write for example --steps=100"),
        ("--steps=1.5", "--steps=1.5 is not a whole number"),
        ("--steps=", "--steps= is not a whole number"),
        ("--steps=true", "--steps=true is not a whole number"),
        ("--steps=[1]", "--steps=[1] is not a whole number"),
        ("--steps", "--steps needs a value"),
        ("--lr=fast", "--lr=fast is not a number; write for example --lr=0.5"),
        ("--resume=perhaps", "--resume=perhaps is not true or false"),
        ("--dataset.views=front", "write for example --dataset.views=[a,b]"),
        ("--sizes=[a]", "--sizes=[a] is not a list of whole numbers"),
        ("--sizes=[1", "--sizes=[1 is not a list of whole numbers"),
        ("--quality=exprt", "--quality=exprt is not one of expert, clumsy; did you mean 'expert'?"),
        ("--control=joints", "did you mean 'joint'?"),
        ("--dataset=x", "--dataset is a group of options; set one of them, such as --dataset.root"),
        ("--model.type=multivew_sarm", "did you mean 'multiview_sarm'? one of clock, multiview_sarm"),
        ("--config_path=nowhere.yaml", "--config_path=nowhere.yaml: there is no such file"),
        ("--config_path", "--config_path needs a file"),
    ],
)
def test_mistakes_name_the_option_and_the_remedy(argument: str, expected: str) -> None:
    assert expected in refuse("D", argument)


def test_missing_option_is_named() -> None:
    assert refuse().startswith("--dataset.root is missing")


def test_option_of_another_type_of_model_is_unknown() -> None:
    assert "there is no option --model.layers" in refuse("D", "--model.type=clock", "--model.layers=2")


def test_mistakes_that_a_config_sees_itself_are_one_line_too() -> None:
    assert "--model: length_s must not be negative" in refuse(
        "D", "--model.type=clock", "--model.length_s=-1"
    )


@dataclass
class NoDefaultModel:
    model: Family


def test_missing_type_of_model_is_named() -> None:
    for arguments in ([], ["--model.layers=3"]):
        with pytest.raises(UserError, match=r"--model\.type is missing; one of clock, multiview_sarm"):
            parse(NoDefaultModel, arguments, "progress-rm train")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("steps: [", "cannot be read"),
        ("- 3", "must hold options"),
        ("stps: 3", "train.yaml: there is no option --stps; did you mean --steps?"),
        ("steps: many", "--steps=many is not a whole number"),
        ("dataset: D", "--dataset is a group of options"),
        ("task: [a]", "--task=['a'] is not text"),
    ],
)
def test_mistakes_in_a_file(tmp_path: Path, content: str, expected: str) -> None:
    (tmp_path / "train.yaml").write_text(content)
    assert expected in refuse("D", f"--config_path={tmp_path / 'train.yaml'}")


def test_help_lists_each_option_once_with_default_and_doc() -> None:
    text = help_for(Config, ["--help"], "progress-rm train", "dataset.root")
    assert "usage: progress-rm train [ROOT]" in text
    assert "Train something." in text
    assert "second paragraph" not in text
    lines = text.splitlines()
    assert lines.count("  --dataset.root  a path (required)") == 1
    assert lines[lines.index("  --dataset.root  a path (required)") + 1].strip() == "Folder of the dataset."
    assert "      Seconds between two frames, as recorded." in lines
    assert "  --steps  a whole number (default: 2000)" in lines
    assert "      gradient steps" in lines
    assert "  --model.layers  a whole number (default: 4)" in lines
    assert "  --control  one of joint, ee_delta (default: joint)" in lines
    assert "  --sizes  a list of whole numbers (default: [1,2])" in lines
    names = [line.split()[0] for line in lines if line.startswith("  --")]
    assert len(names) == len(set(names))


def test_a_group_that_may_be_left_out_is_not_called_required() -> None:
    lines = help_for(Pair, ["--help"], "progress-rm pair", None).splitlines()
    assert "  --first.type  one of clock, multiview_sarm (required)" in lines
    assert "  --second.type  one of clock, multiview_sarm (default: none)" in lines


def test_help_shows_the_options_of_the_named_type() -> None:
    text = help_for(Config, ["--model.type=clock", "--help"], "progress-rm train")
    assert "--model.length_s" in text
    assert "--model.layers" not in text


def test_parsing_does_not_import_torch() -> None:
    code = (
        "import sys, dataclasses; from progress_rm.options import parse\n"
        "Config = dataclasses.make_dataclass('Config', [('steps', int, 3)])\n"
        "assert parse(Config, ['--steps=4'], 'p').steps == 4\n"
        "assert not {'torch', 'lerobot', 'mujoco'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
