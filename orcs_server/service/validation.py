"""Checks of single fields. They collect every violation instead of raising at the first."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Final

from orcs_server.agents.structured import schema_problems
from orcs_server.errors import InvalidArgument, Violation
from orcs_server.hooks.json_values import json_copy
from orcs_server.identity import LABEL_KEY, TASK_ID, WORKFLOW_ID
from orcs_server.workflow.model import TITLE_LIMIT, Budget
from orcs_server.workflow.plan import (
    ATTEMPTS_LIMIT,
    MULTIPLIER_LIMIT,
    PRIORITY_LIMIT,
    TIMEOUT_LIMIT_US,
    VIOLATION_LIMIT,
)

LABEL_VALUE_LIMIT: Final = 255
REQUEST_ID_LIMIT: Final = 128
SCHEMA_BYTES: Final = 64 * 1024
LARGEST: Final = 2**63 - 1
_SHOWN: Final = 80
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, line separators, and what turns the direction of writing: none belongs into a line of text."""
_REQUEST_ID = re.compile(r"[!-~]{1,128}")


class Findings:
    """Everything that is wrong with a request, in the order in which it was found."""

    def __init__(self, found: Iterable[Violation] = ()) -> None:
        self._found = list(found)
        self._costs: list[str] = []

    def __len__(self) -> int:
        return len(self._found)

    @property
    def all(self) -> tuple[Violation, ...]:
        """The violations, at most a hundred; what is beyond is counted in a last one."""
        if len(self._found) <= VIOLATION_LIMIT:
            return tuple(self._found)
        rest = len(self._found) - VIOLATION_LIMIT
        return (*self._found[:VIOLATION_LIMIT], Violation("", f"{rest} more violations are not listed."))

    def only_within(self, field: str) -> bool:
        """Return whether all of them are about parts of this field."""
        return all(violation.field.startswith(f"{field}.") for violation in self._found)

    def within(self, field: str) -> bool:
        """Return whether any of them is about this field, or a part of it."""
        parts = (f"{field}.", f"{field}[")
        return any(violation.field == field or violation.field.startswith(parts) for violation in self._found)

    def add(self, field: str, description: str) -> None:
        self._found.append(Violation(field, description))

    def extend(self, violations: Iterable[Violation]) -> None:
        self._found.extend(violations)

    def raise_any(self, reason: str = "FIELD_INVALID") -> None:
        """Raise InvalidArgument with all of them, if there are any."""
        if self._found:
            first = self._found[0]
            more = f" ({len(self._found)} violations in all)" if len(self._found) > 1 else ""
            field = f"{first.field}: " if first.field else ""
            raise InvalidArgument(reason, f"{field}{first.description}{more}", self.all)

    # Texts

    def text(self, field: str, text: str, limit: int) -> None:
        """A text of any length up to `limit` bytes of UTF-8."""
        size = byte_size(text)
        if size is None:
            self.add(field, "It is no valid Unicode: remove the lone surrogates.")
        elif size > limit:
            self.add(field, f"It has {size} bytes of UTF-8, {limit} are allowed: shorten it.")

    def line(self, field: str, text: str, limit: int) -> None:
        """A line of up to `limit` characters."""
        if len(text) > limit:
            self.add(field, f"It has {len(text)} characters, {limit} are allowed: shorten it.")
        if _CONTROL.search(text):
            self.add(field, "It holds control characters: remove them.")
        elif byte_size(text) is None:
            self.add(field, "It is no valid Unicode: remove the lone surrogates.")

    def labels(self, labels: Iterable[tuple[str, str]], limit: int, at: str = "labels") -> None:
        pairs = tuple(labels)
        if len(pairs) > limit:
            self.add(at, f"There are {len(pairs)} labels, {limit} are allowed: remove some.")
            return
        for key, value in pairs:
            field = f"{at}[{show(key)}]"
            if not LABEL_KEY.fullmatch(key):
                self.add(field, "A label's key has 1 to 63 letters, digits and ._/-, a letter or digit first.")
            self.line(field, value, LABEL_VALUE_LIMIT)

    # Ids

    def workflow_id(self, field: str, text: str) -> None:
        if not WORKFLOW_ID.fullmatch(text):
            self.add(field, "A workflow id has 1 to 128 letters, digits and ._-, a letter or digit first.")

    def task_id(self, field: str, text: str) -> None:
        if not TASK_ID.fullmatch(text):
            self.add(field, "A task id has 1 to 63 lower-case letters, digits and _-, a letter first.")

    def request_id(self, text: str) -> None:
        if text and not _REQUEST_ID.fullmatch(text):
            self.add("request_id", f"It has 1 to {REQUEST_ID_LIMIT} visible ASCII characters, or is left out.")

    # Numbers

    def priority(self, value: int) -> None:
        if abs(value) > PRIORITY_LIMIT:
            self.add("priority", f"A priority lies between -{PRIORITY_LIMIT} and {PRIORITY_LIMIT}.")

    def between(self, field: str, value: int | None, least: int, most: int) -> None:
        if value is not None and not least <= value <= most:
            self.add(field, f"It is {value}; it must lie between {least} and {most}.")

    def attempts(self, field: str, value: int | None) -> None:
        self.between(field, value, 1, ATTEMPTS_LIMIT)

    def duration(self, field: str, value_us: int | None) -> None:
        if value_us is not None and not 0 < value_us <= TIMEOUT_LIMIT_US:
            self.add(field, "It must be more than zero and at most 30 days.")

    def multiplier(self, field: str, value: float | None) -> None:
        if value is not None and not (math.isfinite(value) and 1 <= value <= MULTIPLIER_LIMIT):
            self.add(field, f"It must be a number from 1 to {MULTIPLIER_LIMIT:g}.")

    def budget(self, field: str, budget: Budget) -> None:
        """Limits above zero; a limit of nothing would stop before it begins. Cost limits: see `unpriced`."""
        limits = (("tokens", budget.tokens), ("cost_micros", budget.cost_micros), ("wall_time", budget.wall_time_us))
        for name, value in limits:
            if value is not None and not 0 < value <= LARGEST:
                self.add(f"{field}.{name}", "A limit is more than zero; leave it out for none.")
            elif value is not None and name == "cost_micros":
                self._costs.append(f"{field}.{name}")

    @property
    def limits_cost(self) -> bool:
        """Whether any budget that was looked at limits the cost."""
        return bool(self._costs)

    def unpriced(self) -> None:
        """Refuse the limits of cost: where nothing costs anything they would never stop anything."""
        for field in self._costs:
            self.add(field, "No prices are configured ([prices]): limit the tokens instead.")
        self._costs.clear()

    # JSON

    def json_object(self, field: str, text: str, limit: int) -> dict[str, Any]:
        """Return the JSON object of a text; {} where there is none, or where it is at fault."""
        if not text:
            return {}
        before = len(self._found)
        value = self.json_value(field, text, limit)
        if isinstance(value, dict):
            return value
        if len(self._found) == before:
            self.add(field, "It must be a JSON object.")
        return {}

    def json_value(self, field: str, text: str, limit: int) -> Any:
        """Return the JSON value of a text; None where it is at fault."""
        before = len(self._found)
        self.text(field, text, limit)
        if len(self._found) > before:
            return None
        try:
            # The copy is thrown away: making it checks what json.loads lets through.
            return json_copy(json.loads(text), 4 * limit)
        except RecursionError:
            self.add(field, "It is nested too deeply: flatten it.")
        except ValueError as error:
            self.add(field, f"It is not valid JSON: {show(str(error))}.")
        return None

    def json_schema(self, field: str, text: str) -> None:
        """A JSON Schema that a model can be asked to meet: an object, bounded, without references to elsewhere."""
        before = len(self._found)
        schema = self.json_object(field, text, SCHEMA_BYTES)
        if text and len(self._found) == before:
            for problem in schema_problems(schema):
                self.add(field, f"{problem[:1].upper()}{problem[1:]}.")


def byte_size(text: str) -> int | None:
    """Return the bytes of a text in UTF-8; None where it cannot be encoded."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def one_line(text: str, limit: int = TITLE_LIMIT) -> str:
    """Return the beginning of a text as a line without control characters, at most `limit` characters."""
    words = " ".join(_CONTROL.sub(" ", text[: 4 * limit]).split())
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"


def show(text: str) -> str:
    """Return a caller's text as it may stand in a message: short, quoted, without control characters."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")[1:-1]
