"""A verb's options: from `--dataset.root=… --model.type=…` and YAML files to its `Config` dataclass.

The syntax is LeRobot's (draccus): nested fields by dots, lists as `[a,b]`, a type of model by `--model.type=NAME`,
whole files by `--config_path=FILE`. On top of it every mistake becomes one line that names the option and the
remedy, `--flag` alone means true, and what is not given keeps the default that `--help` shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from progress_datasets.errors import UserError
from progress_rm.option_fields import (
    Option,
    bare,
    choices,
    default_of,
    describe,
    expected_values,
    fields_of,
    help_text,
    is_list,
    nested_class,
    optional,
    options_of,
    select,
)

CONFIG_OPTION = "config_path"
HELP_WORDS = ("--help", "-h")


def parse[C](
    config_class: type[C], arguments: Sequence[str], program: str, positional: str | None = None
) -> C:
    """The `config_class` that `arguments` describe.

    Args:
        config_class: a dataclass; its fields are the options, nested dataclasses give dotted names.
        arguments: the words after the verb.
        program: the command as the user knows it, for messages.
        positional: the field that a leading word without dashes fills, as in `progress-rm check DATASET`.

    Raises:
        UserError: an option is unknown, misspelt, missing or of the wrong type, or a config file cannot be read.
    """
    given = _words(arguments, program, positional)
    raw: dict[str, Any] = {}
    path = given.pop(CONFIG_OPTION, None)
    if path is not None:
        raw = _load_file(path)
        _check_names(config_class, raw, origin=f"{path}: ", program=program)
    for name, text in given.items():
        _insert(raw, name, text)
    _check_names(config_class, raw, origin="", program=program)
    return cast(C, _build(config_class, raw, None, "", program))


def help_for(
    config_class: type, arguments: Sequence[str], program: str, positional: str | None = None
) -> str:
    """The text of `--help`; with `--model.type=NAME` among `arguments`, that type's options too."""
    words = [word for word in arguments if word not in HELP_WORDS]
    raw: dict[str, Any] = {}
    for name, text in _words(words, program, positional).items():
        _insert(raw, name, text)
    return help_text(config_class, program, positional, _chosen_types(raw))


@dataclass(frozen=True)
class _Text:
    """A value as typed on the command line; None when the option stands alone."""

    value: str | None


def _words(arguments: Sequence[str], program: str, positional: str | None) -> dict[str, Any]:
    """Options by dotted name, in the forms `--a.b=c`, `--a.b c` and `--a.b`; the last one wins."""
    given: dict[str, Any] = {}
    words = list(arguments)
    if words and not words[0].startswith("-"):
        if positional is None:
            raise UserError(f"'{words[0]}' is not an option; write --name=value, see {program} --help")
        given[positional] = _Text(words.pop(0))
    while words:
        word = words.pop(0)
        if not word.startswith("--") or word == "--":
            raise UserError(f"'{word}' is not an option; write --name=value, see {program} --help")
        name, equals, value = word[2:].partition("=")
        if equals:
            given[name] = _Text(value)
        elif words and not words[0].startswith("--"):
            given[name] = _Text(words.pop(0))
        else:
            given[name] = _Text(None)
    if CONFIG_OPTION in given:
        path = given[CONFIG_OPTION].value
        if not path:
            raise UserError(f"--{CONFIG_OPTION} needs a file: write --{CONFIG_OPTION}=FILE.yaml")
        given[CONFIG_OPTION] = path
    return given


def _load_file(path: str) -> dict[str, Any]:
    """The nested options of a YAML, JSON or TOML file."""
    from draccus import ParsingError
    from draccus.cfgparsing import load_config

    if not Path(path).is_file():
        raise UserError(f"--{CONFIG_OPTION}={path}: there is no such file; give the path of a YAML file")
    try:
        with Path(path).open(encoding="utf-8") as stream:
            content: object = load_config(stream, file=path)
    except (ParsingError, UnicodeDecodeError) as error:
        cause = " ".join(str(error.__cause__ or error).split())
        raise UserError(f"--{CONFIG_OPTION}={path}: cannot be read ({cause}); mend the file") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"--{CONFIG_OPTION}={path}: must hold options as 'name: value' lines")
    return cast(dict[str, Any], content)


def _insert(raw: dict[str, Any], name: str, text: _Text) -> None:
    """Put the value of a dotted name into nested dictionaries, over what a file said."""
    *parents, leaf = name.split(".")
    for parent in parents:
        below = raw.get(parent)
        if not isinstance(below, dict):
            below = raw[parent] = {}
        raw = below
    raw[leaf] = text


def _check_names(config_class: type, raw: Mapping[str, Any], origin: str, program: str) -> None:
    """Refuse names that are no option, with the nearest one that is."""
    known = {option.name: option for option in options_of(config_class, _chosen_types(raw))}
    groups = {name[:dot] for name in known for dot, letter in enumerate(name) if letter == "."}

    def visit(values: Mapping[str, Any], prefix: str) -> None:
        for key, value in values.items():
            name = f"{prefix}{key}"
            if name in known:
                continue
            if name in groups:
                if isinstance(value, dict):
                    visit(value, f"{name}.")
                elif not _is_none(value):
                    example = next(option for option in known if option.startswith(f"{name}."))
                    raise UserError(
                        f"{origin}--{name} is a group of options; set one of them, such as --{example}"
                    )
                continue
            kind = known.get(f"{prefix}type")
            if kind is not None and kind.default is MISSING and "type" not in values:
                raise UserError(f"{origin}--{kind.name} is missing; {describe(kind.hint)}")
            raise UserError(f"{origin}there is no option --{name}; {_suggest(name, known, program)}")

    visit(raw, "")


def _chosen_types(raw: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Every `….type` that was given, by the dotted name of its group."""
    chosen: dict[str, str] = {}
    for key, value in raw.items():
        if isinstance(value, dict):
            chosen |= _chosen_types(value, f"{prefix}{key}.")
        elif key == "type" and prefix:
            text = value.value if isinstance(value, _Text) else value
            chosen[prefix[:-1]] = str(text)
    return chosen


def _suggest(name: str, known: Mapping[str, Option], program: str) -> str:
    """The nearest option by its whole name, else by its last part, else where to look."""
    close = get_close_matches(name, known, n=1, cutoff=0.7)
    if not close:
        leaf = name.rpartition(".")[2]
        leaves = {option.rpartition(".")[2]: option for option in reversed(list(known))}
        close = [leaves[match] for match in get_close_matches(leaf, leaves, n=1, cutoff=0.75)]
    return f"did you mean --{close[0]}?" if close else f"see {program} --help"


def _build(cls: type, raw: Mapping[str, Any], default: object | None, prefix: str, program: str) -> object:
    """An instance of `cls`: what `raw` gives, the rest from `default` or else the class's own defaults."""
    types = choices(cls)
    if types is not None:
        given = raw.get("type")
        cls, default = select(types, given.value if isinstance(given, _Text) else given, default, prefix)
    values: dict[str, Any] = {}
    for field, hint in fields_of(cls):
        name = f"{prefix}{field.name}"
        fallback = default_of(field) if default is None else getattr(default, field.name)
        below = nested_class(hint)
        if field.name not in raw:
            if fallback is not MISSING:
                values[field.name] = fallback
            elif below is not None:
                values[field.name] = _build(below, {}, None, f"{name}.", program)
            else:
                raise UserError(f"--{name} is missing; give it as --{name}={describe(hint).upper()}")
        elif below is None or _is_none(raw[field.name]):
            values[field.name] = _decode(hint, raw[field.name], name)
        else:
            start = None if fallback is MISSING else fallback
            values[field.name] = _build(below, raw[field.name], start, f"{name}.", program)
    try:
        return cls(**values)
    except ValueError as error:
        where = f"--{prefix[:-1]}: " if prefix else ""
        raise UserError(f"{where}{' '.join(str(error).split())}") from error


def _is_none(value: object) -> bool:
    text = value.value if isinstance(value, _Text) else value
    alone = isinstance(value, _Text) and text is None
    return not alone and text in (None, "null", "none", "None", "~")


def _decode(hint: Any, value: object, name: str) -> object:
    """The value of one option, of its type."""
    import draccus
    from draccus.cfgparsing import parse_string

    kind = bare(hint)
    if isinstance(value, _Text) and value.value is None:
        if kind is not bool:
            raise UserError(f"--{name} needs a value: write --{name}={describe(hint).upper()}")
        return True
    if optional(hint) and _is_none(value):
        return None
    shown = value.value if isinstance(value, _Text) else value
    if isinstance(value, _Text):
        # YAML would turn a folder called 007 into 7.
        value = value.value if kind in (str, Path) else _yaml(parse_string, cast(str, value.value))
    mistake = UserError(f"--{name}={shown} is not {describe(hint)}; {_remedy(hint, name, shown)}")
    # draccus turns None, true and the letters of a word into numbers and tuples without a word.
    if value is None or (isinstance(value, bool) and kind in (int, float)):
        raise mistake
    if is_list(kind) and not isinstance(value, list):
        raise mistake
    if isinstance(value, dict | list) and kind in (str, Path, int, float, bool):
        raise mistake
    try:
        return cast(object, draccus.decode(hint, value))
    except Exception as error:  # draccus raises bare Exception for wrong items of a list
        raise mistake from error


def _yaml(parse_string: Any, text: str) -> object:
    """`text` as YAML; itself where it is none (a lone `[` or `%`), for the type check to judge."""
    import yaml

    try:
        return cast(object, parse_string(text))
    except yaml.YAMLError:
        return text


def _remedy(hint: Any, name: str, shown: object) -> str:
    values = expected_values(hint)
    if values:
        close = get_close_matches(str(shown), values, n=1)
        return f"did you mean '{close[0]}'?" if close else f"write for example --{name}={values[0]}"
    examples = {int: "100", float: "0.5", bool: "true"}
    example = "[a,b]" if is_list(bare(hint)) else examples.get(bare(hint), "VALUE")
    return f"write for example --{name}={example}"
