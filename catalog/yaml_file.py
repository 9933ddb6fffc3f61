"""Read one YAML file into a pydantic model, and say where it is wrong: file, line, key, expected, nearest word.

Contracts and entities are written by people who may not be programmers, so an error has to point at a line.
Pydantic knows the path of a wrong key and YAML knows the line of a path; this module joins the two.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

#: A contract is a page or two; anything larger is a mistake or an attack ("billion laughs").
MAX_BYTES = 1_000_000

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CatalogError(Exception):
    """The configuration is wrong. `str()` is the whole message, one problem per line. `at` is the place in the YAML that it
    is about, such as `("expect", 2)`, where the message does not name the line itself."""

    exit_code = 10
    at: tuple[int | str, ...] = ()


def read_mapping(path: Path) -> dict[str, Any]:
    """One YAML mapping. Tags, aliases and duplicate keys are refused: a contract is plain data."""
    if not path.is_file():
        raise CatalogError(f"{path}: no such file")
    if path.stat().st_size > MAX_BYTES:
        raise CatalogError(f"{path}: larger than {MAX_BYTES:,} bytes; a contract is one or two pages of YAML")
    text = path.read_text(encoding="utf-8-sig")
    try:
        _refuse_aliases_and_repeats(text, path)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - the C build of the safe loader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CatalogError(f"{path}:{line}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise CatalogError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise CatalogError(f"{path}:1: expected `key: value` lines, got {type(data).__name__}")
    return data


def build(model: type[M], data: Mapping[str, Any], path: Path) -> M:
    """The model of `data`, which was read from `path` (or inherited: then the line is that of the nearest key)."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = _LineIndex(path)
        problems = sorted({_say(model, e, path, lines) for e in error.errors(include_url=False)})
        raise CatalogError("\n".join(problems)) from None


def line_of(path: Path, location: Sequence[int | str]) -> int:
    """The line of the file in which the key stands, or the nearest one that the file has: the others were inherited."""
    return _LineIndex(path).line(location)


def place(path: Path, *location: int | str) -> str:
    """`<file>:<line>` of a key, for what is found wrong only beside other files: a source, a column, a code."""
    return f"{path}:{line_of(path, location)}"


def nearest(word: str, words: Sequence[str]) -> str:
    """`; did you mean X?` or the whole list where nothing is near."""
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {', '.join(sorted(words))}"


def _refuse_aliases_and_repeats(text: str, path: Path) -> None:
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise CatalogError(f"{path}:{line}: YAML aliases (*name) are not allowed; use `like:`")

    def walk(node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise CatalogError(f"{path}:{line}: key `{key.value}` is given twice; keep one")
                seen.add(key.value)
                walk(value)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                walk(item)

    walk(yaml.compose(text, Loader=_Loader))


class _LineIndex:
    """Line of a pydantic location in the YAML text: the deepest part of the path that the file really has."""

    def __init__(self, path: Path) -> None:
        self.root: Any = yaml.compose(path.read_text(encoding="utf-8-sig"), Loader=_Loader)

    def line(self, location: Sequence[int | str]) -> int:
        node, line = self.root, 1
        for part in location:
            found: Any = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(part):
                        found, line = value, key.start_mark.line + 1
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                found = node.value[part]
                line = found.start_mark.line + 1
            if found is not None:
                node = found
        return line


def _say(model: type[BaseModel], error: Any, path: Path, lines: _LineIndex) -> str:
    location = [part for part in error["loc"] if not (isinstance(part, str) and part.startswith("function-"))]
    key = ".".join(str(part) for part in location) or "(whole file)"
    where = f"{path}:{lines.line(location)}: `{key}`"
    kind, got = error["type"], error.get("input")
    if kind == "extra_forbidden":
        return f"{where}: unknown key{nearest(str(location[-1]), _keys(_model_at(model, location[:-1])))}"
    if kind == "missing":
        return f"{where}: required, but absent"
    if kind == "literal_error":
        words = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"{where}: got `{got}`, expected one of {', '.join(words)}{nearest(str(got), words)}"
    if kind == "string_type" and isinstance(got, bool | int | float):
        return f"{where}: expected text, but YAML reads this as `{got}`; write it in quotes"
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    shown = "" if isinstance(got, dict | list) else f" (got `{got}`)"
    return f"{where}: {message}{shown}"


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    current: Any = model
    for part in location:
        if isinstance(part, int) or not (isinstance(current, type) and issubclass(current, BaseModel)):
            continue
        for name, field in current.model_fields.items():
            if part in (name, field.alias):
                current = _inner_model(field.annotation) or current
    return current if isinstance(current, type) and issubclass(current, BaseModel) else model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _inner_model(argument)
        if found:
            return found
    return None


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
