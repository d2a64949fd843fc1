"""The dashboard and the alert rules speak of nothing that a server does not export, and their queries parse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from orcs_server.service.problems import OF_A_NAMESPACE, ProblemCode
from tests.server_process import ROOT, ServerProcess
from tests.telemetry.scraping import busy_server, scraped

FOLDER = ROOT / "docs" / "operations"
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def dashboard_queries() -> Iterator[str]:
    board = json.loads((FOLDER / "grafana.json").read_text())
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in board["templating"]["list"]:
        found = re.fullmatch(r"label_values\((\w+), \w+\)", variable["query"])
        if found:
            yield found[1]


def alert_rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    return [*dashboard_queries(), *(rule["expr"] for rule in alert_rules())]


def parsed(query: str) -> Any:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query
    return promql_parser.parse(query)


def selectors(node: Any) -> Iterator[Any]:
    """Return the vector selectors of a query, wherever they stand."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None:
            yield from selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from selectors(child)


@pytest.mark.parametrize("query", queries())
def test_every_query_parses_and_names_a_metric(query: str) -> None:
    assert list(selectors(parsed(query)))


def test_alert_rules_are_whole() -> None:
    rules = alert_rules()
    assert len({rule["alert"] for rule in rules}) == len(rules) > 5
    for rule in rules:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


async def test_whatever_they_name_a_server_exports(start_server: Callable[..., ServerProcess]) -> None:
    server = await busy_server(start_server)
    found = await scraped(server, lambda seen: "orcs_hooks_failures_total" in seen)
    named: dict[str, set[str]] = {}
    for query in queries():
        for selector in selectors(parsed(query)):
            labels = {matcher.name for matcher in selector.matchers.matchers} - {"instance"}
            named.setdefault(selector.name, set()).update(labels)
    assert named.keys() - found.keys() == set()
    for name, labels in named.items():
        exported = {label for own, _ in found[name] for label in own}
        assert labels <= exported, name
    problems = {labels["orcs_problem"] for labels, _ in found["orcs_problems"]}
    assert problems == set(ProblemCode) - OF_A_NAMESPACE
    told = {match for query in queries() for match in re.findall(r'orcs_problem="(\w+)"', query)}
    assert told <= problems
    grouped = {match for query in queries() for match in re.findall(r"by \(([^)]*)\)", query)}
    labels_of_all = {label for own in found.values() for labels, _ in own for label in labels} | {"instance"}
    assert {label.strip() for group in grouped for label in group.split(",")} <= labels_of_all
