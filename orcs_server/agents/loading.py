"""Mappings out of the operator's own modules, by `package.module:name`. No Agents SDK here."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from orcs_server.errors import StartupError


def load_mapping(reference: str, what: str) -> Mapping[Any, Any]:
    """Return the mapping, or what the function without arguments returns; its module is imported here.

    `what` names it in errors, such as `agent registry`. Raises StartupError.
    """
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute.isidentifier():
        raise StartupError(f"the {what} {reference!r} cannot be read: write it as package.module:registry")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise StartupError(
            f"the {what} {reference} cannot be loaded: there is no module {error.name!r}; install its package, or put "
            "its folder into PYTHONPATH"
        ) from error
    except Exception as error:
        raise StartupError(f"the {what} {reference} cannot be loaded: importing it raised {error!r}") from error
    registry = getattr(module, attribute, None)
    if registry is None:
        raise StartupError(f"the module {module_name} has nothing called {attribute!r}: check the {what}'s name")
    if isinstance(registry, Callable):  # type: ignore[arg-type]  # an abstract class works in isinstance
        try:
            registry = registry()
        except Exception as error:
            raise StartupError(f"the {what} {reference} raised {error!r}: it must need no arguments") from error
        if inspect.iscoroutine(registry):
            registry.close()
            raise StartupError(f"the {what} {reference} is async: make it an ordinary function")
    if not isinstance(registry, Mapping):
        raise StartupError(
            f"the {what} {reference} is a {type(registry).__name__}: make it a mapping from names, or a function that returns one"
        )
    return registry
