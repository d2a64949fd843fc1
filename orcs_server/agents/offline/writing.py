"""A task's answer by rule, from its own text and its predecessors' results: nothing in it that was not handed in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from orcs_server.agents.task_input import Predecessor, read_task_input

NOTICE = "> Made offline, by rule, without a language model: this text arranges what it was given and knows nothing of the subject."
_READ_LIMIT = 200_000
_QUOTE = 240
_SHOWN = 40
"""Predecessors that are gone through one by one."""
_REQUEST = re.compile(r"^The whole request:$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_][\w'’-]{2,}|\b[A-Z](?:\w|[+#]{1,2})(?![\w+#])")
_NUMBER = re.compile(r"(?<![\w.])\d{1,3}(?:[,.\d]*\d)?(?:\s?(?:%|€|\$|ms|s|MB|GB|km|kg))?(?!\w)")
_HEADING = re.compile(r"^#{1,6}\s+(.+)$", re.MULTILINE)
_MARKS = re.compile(r"[*_`#]+")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        """about above after again against also answer because been before being below between both cannot could does doing down each
        earlier else every from further given have having here into itself just leave less like look make many more most much need
        only other others over parts part question questions request result results said same should since some such task tasks
        text than that their them then there these they this those through under until upon very want were what when where which
        while whole will with without would write your made offline rule language model arranges knows nothing subject remains
        open speaks point points settle speak finished known show wrong short facts frame joined handed words figures asked find check compare
        all and any are ask but can did few for get had has her him his how its let may new nor not now off one our out own per put
        say see set she the too two use via was way who why yet you am an as at be by do he if in is it me my no of on or so to up
        us we""",
    )
)


def answer_by_rule(text: str, instructions: str, notes: Sequence[str] = ()) -> str:
    """Return Markdown that answers a task's input and what people said to it: the same for the same input, of bounded length."""
    title, description, predecessors = read_task_input(text[:_READ_LIMIT])
    title = title or _first_line(description) or "An empty task"
    if predecessors:
        body = _joining(description, predecessors)
        if "You are a data agent" in instructions:
            body = _figures(predecessors)
        elif "You are a coding agent" in instructions:
            body = _program(predecessors)
    else:
        body = _exploring(description)
    if notes:
        body += "\n\n## What people said\n\n" + "\n\n".join(_quote(note) for note in notes[-_SHOWN:])
    return f"# {_inline(title)}\n\n{NOTICE}\n\n{body}\n"


def _exploring(description: str) -> str:
    task, _, request = description.partition("The whole request:")
    terms = _terms(task) or _terms(request)
    named = ", ".join(terms[:3]) or "nothing that can be named"
    parts = [
        f"**In short:** the task is about {named}. The facts themselves need a language model; below is the frame for them.",
        "## What is asked",
        "\n".join(f"- {_inline(sentence)}" for sentence in _sentences(task)[:6])
        or "- Nothing: the task's text is empty.",
    ]
    if terms:
        rows = "\n".join(
            f"| {_cell(term)} | What is known of {_cell(term)}? | What would show it to be wrong? |"
            for term in terms[:6]
        )
        parts += ["## Points to settle", f"| Point | To find out | To check |\n| --- | --- | --- |\n{rows}"]
    if request.strip():
        parts += ["## The request it belongs to", _quote(request)]
    return "\n\n".join(parts)


def _joining(description: str, predecessors: Sequence[Predecessor]) -> str:
    request = _REQUEST.split(description, maxsplit=1)[-1]
    shown = predecessors[:_SHOWN]
    rows = "\n".join(
        f"| {_cell(one.title)} | {len(one.text.split())} | {_cell(', '.join(_terms(one.text)[:3]) or '–')} |"
        for one in shown
    )
    shared = _shared(shown)
    handed = "1 result was handed in" if len(predecessors) == 1 else f"{len(predecessors)} results were handed in"
    words = sum(len(one.text.split()) for one in predecessors)
    parts = [
        f"**In short:** {handed} and joined here, {words} words together.",
        "## The request",
        _quote(request),
        "## Side by side",
        f"| Result | Words | Speaks of |\n| --- | ---: | --- |\n{rows}",
        "## One by one",
        *(f"### {_inline(one.title)}\n\n{_gist(one)}" for one in shown),
    ]
    if len(predecessors) > len(shown):
        parts.append(f"{len(predecessors) - len(shown)} further results are not shown one by one.")
    if len(shown) > 1:
        common = (
            f"Several results speak of {', '.join(shared)}."
            if shared
            else "No word of weight is shared by several results."
        )
        parts += ["## What they have in common", common]
    return "\n\n".join(parts)


def _gist(one: Predecessor) -> str:
    headings = [_inline(heading) for heading in _HEADING.findall(one.text)[1:6]]
    lines = [line for line in one.text.splitlines() if line.strip() and line.strip() != NOTICE]
    prose = next(
        (line for line in lines if not line.startswith(("#", "|", ">", "-", "```"))), lines[0] if lines else ""
    )
    covered = f"\n\nIt covers: {'; '.join(headings)}." if headings else ""
    return f"{_quote(prose)}{covered}"


def _figures(predecessors: Sequence[Predecessor]) -> str:
    rows, found_any = [], False
    for one in predecessors[:_SHOWN]:
        numbers = _NUMBER.findall(one.text)[:8]
        found_any = found_any or bool(numbers)
        rows.append(
            f"| {_cell(one.title)} | {len(one.text.split())} | {len(_HEADING.findall(one.text))} | "
            f"{_cell(', '.join(numbers) or 'none')} |"
        )
    verdict = "the figures that the results contain" if found_any else "no figures, for the results contain none"
    table = "\n".join(rows)
    return (
        f"**In short:** {verdict}; counts of the results themselves beside them.\n\n## Figures\n\n"
        f"| Result | Words | Sections | Figures in it |\n| --- | ---: | ---: | --- |\n{table}\n\n"
        "## Missing\n\nUnits, dates and origins are not checked: that needs a reader."
    )


def _program(predecessors: Sequence[Predecessor]) -> str:
    entries = "\n".join(f"    {_literal(one.title)}: {_terms(one.text)[:4]!r}," for one in predecessors[:_SHOWN])
    return (
        "**In short:** a small program that prints the earlier results' terms side by side. It has not been run.\n\n"
        f"```python\nRESULTS = {{\n{entries}\n}}\n\n\ndef main() -> None:\n"
        "    for title, terms in RESULTS.items():\n"
        '        print(f"{title:<50} {\', \'.join(terms)}")\n\n\nif __name__ == "__main__":\n    main()\n```'
    )


def _shared(predecessors: Sequence[Predecessor]) -> list[str]:
    counts: Counter[str] = Counter()
    for one in predecessors:
        counts.update(_terms(one.text))
    return [term for term, count in counts.items() if count > 1][:8]


def _terms(text: str) -> list[str]:
    """Return the words of weight, the most frequent first, and among equals in the order in which they come."""
    spelled: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for word in _WORD.findall(text.replace(NOTICE, "")):
        key = word.casefold()
        if key not in _COMMON and len(word) <= 40:
            counts[key] += 1
            spelled.setdefault(key, word)
    return [spelled[key] for key, _ in counts.most_common(12)]


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text[:4_000]) if part.strip()]


def _first_line(text: str) -> str:
    return next((line.strip()[:80] for line in text.splitlines() if line.strip()), "")


def _quote(text: str) -> str:
    line = _inline(text)
    short = line if len(line) <= _QUOTE else f"{line[: _QUOTE - 1]}…"
    return f"> {short}" if short else "> (empty)"


def _inline(text: str) -> str:
    return " ".join(_MARKS.sub("", text).split())


def _cell(text: str) -> str:
    return _inline(text).replace("|", "/")


def _literal(text: str) -> str:
    return repr(_inline(text)[:120])
