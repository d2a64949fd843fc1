"""What can be called, by the descriptors themselves: an RPC or a field that is added to the protos is found here by itself."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

import orcs_client.v1

PROTOS: Final = Path(__file__).parents[3] / "protos" / "orcs" / "v1"
WHOLE: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
"""Messages that are one value to whoever fills in a request."""


@cache
def methods() -> dict[str, MethodDescriptor]:
    """Return every method of every service under `orcs_client.v1`, by its name."""
    found: dict[str, MethodDescriptor] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(orcs_client.v1.__path__)):
        if not module.endswith("_pb2"):
            continue
        file = importlib.import_module(f"orcs_client.v1.{module}").DESCRIPTOR
        for service in file.services_by_name.values():
            for method in service.methods:
                assert method.name not in found, f"two methods are called {method.name}"
                found[method.name] = method
    return found


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def kind_of(message: Descriptor) -> Any:
    """Return the class of a message."""
    return message_factory.GetMessageClass(message)


def message_of(field: FieldDescriptor) -> Descriptor:
    """Return what a field of messages, or a map, holds."""
    assert field.message_type is not None, field.full_name
    return field.message_type


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def is_nested(field: FieldDescriptor) -> bool:
    """Whether a field holds a message with fields of its own."""
    return field.message_type is not None and not is_map(field) and field.message_type.full_name not in WHOLE


def field_paths(message: Descriptor, within: str = "") -> Iterator[str]:
    """Yield every field that a request can carry: `title`, `plan.tasks[]`, `plan.tasks[].title`, `labels{}`."""
    assert within.count(".") < 8, f"{within} has no end: say where the paths of a message within itself stop"
    for field in message.fields:
        path = f"{within}{field.name}"
        if is_map(field):
            yield f"{path}{{}}"
        elif is_nested(field):
            if field.is_repeated:
                yield f"{path}[]"
                path += "[]"
            yield from field_paths(message_of(field), f"{path}.")
        else:
            yield f"{path}[]" if field.is_repeated else path


def names_a_field(message: Descriptor, path: str) -> bool:
    """Whether a violation's path leads to a field of the request; an empty one is about the whole."""
    if not path:
        return True
    found = re.match(r"([a-z0-9_]+)(\[\d+\])?", path)
    field = message.fields_by_name.get(found[1]) if found else None
    if found is None or field is None:
        return False
    rest = path[found.end() :]
    if is_map(field):
        # A key stands in brackets as it is, and may hold any character that can be shown.
        return not path[len(found[1]) :] or path.endswith("]")
    if found[2] and not field.is_repeated:
        return False
    if not rest:
        return True
    return rest.startswith(".") and field.message_type is not None and names_a_field(field.message_type, rest[1:])


@cache
def documented_reasons() -> dict[str, str]:
    """Return the published reasons, each with the status code that its documentation begins with."""
    text = (PROTOS / "common.proto").read_text()
    listed = text[text.index("enum ErrorReason") :]
    listed = listed[: listed.index("\n}")]
    found = re.findall(r"//\s([A-Z_]+):\s(?:(?!;\n).)*?\n\s+ERROR_REASON_([A-Z_]+) = [1-9]\d*;", listed, re.DOTALL)
    return {reason: code for code, reason in found}
