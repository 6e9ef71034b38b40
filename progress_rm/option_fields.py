"""What options a `Config` dataclass has: names, types, defaults and docs, and the text of `--help`."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import io
import textwrap
import tokenize
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from progress_datasets.errors import UserError


@dataclasses.dataclass(frozen=True)
class Option:
    """One option: `--name`, of type `hint`; `default` is MISSING where it must be given."""

    name: str
    hint: Any
    default: Any
    doc: str


def options_of(
    cls: type, chosen: Mapping[str, str], prefix: str = "", default: object | None = MISSING
) -> list[Option]:
    """All options of a dataclass, nested ones by their dotted names, in the order of its fields.

    Args:
        cls: a dataclass, or a draccus choice registry of dataclasses.
        chosen: types that were named (`--model.type=…`), by group; without one, that of the default.
        prefix: of the dotted names, ending in a dot.
        default: the instance whose values are the defaults; None where all may be left out; else the fields' own.
    """
    options: list[Option] = []
    start = None if default is MISSING else default
    registry = choices(cls)
    if registry is not None:
        named = chosen.get(prefix[:-1])
        current = next((name for name, known in registry.items() if type(default) is known), default)
        kinds: Any = typing.Literal.__getitem__(tuple(sorted(registry)))
        options.append(Option(f"{prefix}type", kinds, current, "Which kind; each has options of its own."))
        if named is None and start is None:
            return options
        cls, start = select(registry, named, start, prefix)
    docs = field_docs(cls)
    for field, hint in fields_of(cls):
        name = f"{prefix}{field.name}"
        value = default_of(field) if start is None else getattr(start, field.name)
        below = nested_class(hint)
        if below is None:
            options.append(Option(name, hint, value, docs.get(field.name, "")))
        else:
            options += options_of(below, chosen, f"{name}.", value)
    return options


def help_text(
    config_class: type, program: str, positional: str | None = None, chosen: Mapping[str, str] | None = None
) -> str:
    """The text of `progress-rm VERB --help`: every option with its type, default and doc."""
    word = f" [{positional.rpartition('.')[2].upper()}]" if positional else ""
    lines = [f"usage: {program}{word} [--option=value ...] [--config_path=FILE.yaml]", ""]
    about = inspect.getdoc(config_class) or ""
    # A dataclass without a docstring is given its signature as one.
    if about and not about.startswith(f"{config_class.__name__}("):
        lines += [about.split("\n\n")[0], ""]
    lines.append("options:")
    for option in options_of(config_class, chosen or {}):
        need = "required" if option.default is MISSING else f"default: {show(option.default)}"
        lines.append(f"  --{option.name}  {describe(option.hint)} ({need})")
        lines += textwrap.wrap(option.doc, 100, initial_indent=" " * 6, subsequent_indent=" " * 6)
    lines.append("  --config_path  a file")
    lines.append("      Options as YAML, JSON or TOML; those on the command line win.")
    return "\n".join(lines)


def fields_of(cls: type) -> Iterator[tuple[dataclasses.Field[Any], Any]]:
    """The fields that can be given to the constructor, with their types resolved."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.init:
            yield field, hints[field.name]


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default value, or MISSING."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def optional(hint: Any) -> bool:
    """Whether None is allowed."""
    return hint is type(None) or hint is Any or type(None) in _members(hint)


def bare(hint: Any) -> Any:
    """`X` of `X | None`; the hint itself otherwise."""
    members = [member for member in _members(hint) if member is not type(None)]
    return members[0] if len(members) == 1 else hint


def is_list(hint: Any) -> bool:
    """Whether values are written as [a,b]."""
    return (typing.get_origin(hint) or hint) in (list, tuple, set, frozenset)


def nested_class(hint: Any) -> type | None:
    """The dataclass (or registry of them) whose options this field holds, if it does."""
    kind = bare(hint)
    found = isinstance(kind, type) and (dataclasses.is_dataclass(kind) or choices(kind) is not None)
    return kind if found else None


def choices(cls: type) -> dict[str, type] | None:
    """The classes that `….type=NAME` chooses from: those of a draccus registry of which `cls` is the base."""
    known = getattr(cls, "get_known_choices", None)
    if known is None:
        return None
    registry: dict[str, type] = known()
    if cls in registry.values():
        return None
    return {name: kind for name, kind in registry.items() if issubclass(kind, cls)}


def select(
    registry: Mapping[str, type], name: str | None, default: object | None, prefix: str
) -> tuple[type, object | None]:
    """The class that `….type=name` means (without a name, that of `default`), and `default` if it is of that class.

    Raises:
        UserError: there is no such type, or neither a name nor a default.
    """
    if name is None:
        if default is None:
            raise UserError(f"--{prefix}type is missing; one of {', '.join(sorted(registry))}")
        return type(default), default
    if name not in registry:
        close = get_close_matches(name, registry, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise UserError(f"--{prefix}type={name} is not known; {hint}one of {', '.join(sorted(registry))}")
    chosen = registry[name]
    return chosen, default if type(default) is chosen else None


def expected_values(hint: Any) -> list[str]:
    """The words that a Literal or an enum allows; empty for other types."""
    kind = bare(hint)
    if typing.get_origin(kind) is typing.Literal:
        return [show(value) for value in typing.get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [str(member.value) for member in kind]
    return []


def describe(hint: Any) -> str:
    """A type in words: 'a whole number', 'one of a, b'."""
    kind = bare(hint)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    if kind in words:
        return words[kind]
    if values := expected_values(kind):
        return f"one of {', '.join(values)}"
    if is_list(kind):
        items = [item for item in typing.get_args(kind) if item is not Ellipsis]
        return f"a list of {describe(items[0]).split(' ', 1)[-1]}s" if len(items) == 1 else "a list"
    members = _members(kind)
    if members:
        return " or ".join(describe(member) for member in members if member is not type(None))
    return "name: value pairs" if (typing.get_origin(kind) or kind) is dict else "a value"


def show(value: object) -> str:
    """A value as one would write it on the command line."""
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{','.join(map(show, value))}]"
    return str(value)


@cache
def field_docs(cls: type) -> dict[str, str]:
    """The docstring below each field, else the comment beside it, else the comment above it."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            docs |= _own_field_docs(base)
    return docs


def _own_field_docs(cls: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):  # a class made at run time has no source
        return {}
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    comments = {
        token.start[0]: (token.string.lstrip("# ").strip(), token.line.lstrip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and "type: ignore" not in token.string
    }
    docs: dict[str, str] = {}
    for node, below in zip(definition.body, [*definition.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            text = str(below.value.value)
        elif node.end_lineno in comments:
            text = comments[node.end_lineno][0]
        else:
            above: list[str] = []
            line = node.lineno - 1
            while line in comments and comments[line][1]:
                above.insert(0, comments[line][0])
                line -= 1
            text = " ".join(above)
        docs[node.target.id] = " ".join(text.split())
    return {name: text for name, text in docs.items() if text}


def _members(hint: Any) -> tuple[Any, ...]:
    """The alternatives of a union; empty for other types."""
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return typing.get_args(hint) if is_union else ()
