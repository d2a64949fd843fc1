"""The three places that settings come from, each read into one nested dict: flags, environment, TOML file."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orcs_server.config.tables import Table
from orcs_server.errors import StartupError

PREFIX = "ORCS_"
FILE_LIMIT = 1024 * 1024
"""Bytes of a configuration file."""

Tree = dict[str, Any]

FLAGS = {"agent_registry": "--agents"}
"""Flags that are not called like their setting."""
_ADVICE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("literal_error",), "write {expected}"),
    (("missing",), "it has to be given"),
    (("int_",), "write a whole number"),
    (("float_",), "write a number"),
    (("finite_number",), "write a number that is not infinite"),
    (("bool_",), "write true or false"),
    (("string_type",), "write a text"),
    (("path_type",), "write a path"),
    (("dict_type", "model_type"), "write a table, or in the environment a JSON object"),
    (("greater_than_equal",), "write at least {ge}"),
    (("less_than_equal",), "write at most {le}"),
    (("greater_than",), "write more than {gt}"),
    (("string_too_short",), "write at least {min_length} characters"),
    (("string_too_long",), "write at most {max_length} characters"),
)
"""What to do about the beginnings of pydantic's kinds of errors, the first that fits."""


def read_file(path: Path) -> Tree:
    """Return what a TOML file says. Raises `StartupError` naming the file and, where it can, the line."""
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise StartupError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    if len(content) > FILE_LIMIT:
        raise StartupError(f"the configuration file {path} is larger than {FILE_LIMIT} bytes: is it the right file?")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise StartupError(
            f"the configuration file {path} is not UTF-8 at byte {error.start}: save it as UTF-8"
        ) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StartupError(f"the configuration file {path} is not valid TOML: {error}") from None


def variables(table: type[Table]) -> dict[str, tuple[str, ...]]:
    """Return the environment variable of every setting: `limits.max_tasks` is `ORCS_LIMITS_MAX_TASKS`."""
    found: dict[str, tuple[str, ...]] = {}
    for name, field in table.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for inner in kind.model_fields:
                found[f"{PREFIX}{name}_{inner}".upper()] = (name, inner)
        else:
            found[f"{PREFIX}{name}".upper()] = (name,)
    return found


def read_environment(table: type[Table], environ: Mapping[str, str]) -> Tree:
    """Return what `ORCS_…` variables say; an empty one counts as unset. Tables without fixed keys are JSON objects.

    Raises `StartupError` for JSON that is none.
    """
    tree: Tree = {}
    for variable, path in variables(table).items():
        text = environ.get(variable, "")
        if not text:
            continue
        value: Any = text
        if text.lstrip().startswith("{"):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise StartupError(f"{variable} is not a JSON object: {error}") from None
        plant(tree, path, value)
    return tree


def unknown_variables(table: type[Table], environ: Mapping[str, str], others: frozenset[str]) -> list[str]:
    """Return the `ORCS_…` variables that mean nothing to this program: perhaps misspelt, perhaps somebody else's."""
    known = variables(table)
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known and name not in others)


def plant(tree: Tree, path: tuple[str, ...], value: Any) -> None:
    """Put a value into a nested dict, making the dicts on its way."""
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def merge(below: Tree, above: Tree) -> Tree:
    """Return both trees as one; where both speak, `above` wins."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        merged[key] = merge(lower, value) if isinstance(lower, dict) and isinstance(value, dict) else value
    return merged


def explain(
    error: ValidationError, table: type[Table], flags: Tree, environment: Tree, file: Path | None
) -> StartupError:
    """Return one error with a line for each wrong setting: where it came from and what would be right."""
    lines = [_line(detail, table, flags, environment, file) for detail in error.errors(include_url=False)]
    if len(lines) == 1:
        return StartupError(lines[0])
    return StartupError("\n  ".join([f"{len(lines)} settings are wrong:", *lines]))


def _line(detail: ErrorDetails, table: type[Table], flags: Tree, environment: Tree, file: Path | None) -> str:
    # pydantic appends the branch of a union, or "[key]", to the path: only what the trees hold names a setting.
    location = tuple(str(part) for part in detail["loc"] if part != "[key]")
    key = ".".join(location)
    if _holds(flags, location):
        source = f"the flag {FLAGS.get(location[0]) or '--' + '-'.join(location).replace('_', '-')}"
    elif _holds(environment, location):
        names = {path: name for name, path in variables(table).items()}
        source = f"the environment variable {names.get(location[:2]) or names[location[:1]]}"
    elif file is not None:
        source = f"`{key}` in {file}"
    else:
        source = f"`{key}`"
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _siblings(table, location[:-1]), n=1)
        advice = f"did you mean `{near[0]}`?" if near else "remove it"
        return f"{source} is not a setting: {advice}"
    return f"{source} is wrong: {_advice(detail)}"


def _advice(detail: ErrorDetails) -> str:
    """Return what would be right, in the words of whoever writes settings."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    for beginnings, words in _ADVICE:
        if kind.startswith(beginnings):
            return words.format(**context)
    return detail["msg"]


def _holds(tree: Tree, location: tuple[str, ...]) -> bool:
    found: Any = tree
    for part in location:
        if not isinstance(found, dict):
            return True
        if part not in found:
            return False
        found = found[part]
    return bool(location)


def _siblings(table: type[Table], path: tuple[str, ...]) -> list[str]:
    kind: Any = table
    for part in path:
        field = kind.model_fields.get(part)
        if field is None:  # a table under a name of the operator's choice: [agents.NAME]
            return list(kind.model_fields)
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
        kind = next((each for each in inner if isinstance(each, type) and issubclass(each, Table)), kind)
    return list(kind.model_fields)
