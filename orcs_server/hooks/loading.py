"""From `package.module:factory` to the factory."""

from __future__ import annotations

import importlib
from typing import cast

from orcs_server.errors import StartupError
from orcs_server.hooks.protocols import HookFactory


def load_factory(reference: str) -> HookFactory:
    """Import a factory of hooks. Raises `StartupError` that says which part of the reference is wrong and why."""
    module_name, colon, path = reference.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise StartupError(f"hooks: {reference!r} is no reference: write package.module:factory")
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise StartupError(
                f"hooks: there is no module {missing!r}: install it, or put its folder on PYTHONPATH"
            ) from error
        raise StartupError(f"hooks: {module_name} needs the module {missing!r}, which is not installed") from error
    except Exception as error:
        raise StartupError(f"hooks: importing {module_name} failed: {type(error).__name__}: {error}") from error
    walked = module_name
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise StartupError(f"hooks: {walked} has nothing named {name!r}: correct {reference!r}") from None
        walked = f"{walked}.{name}"
    if not callable(found):
        raise StartupError(
            f"hooks: {reference} is {type(found).__name__}, but must be a function of a caller and an origin"
        )
    return cast("HookFactory", found)
