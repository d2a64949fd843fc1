"""Writing to standard output: JSON for programs, lines and tables for people, documents as they are or, on a terminal,
without anything that could control it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from orcs_client.messages import Part, message_to_dict
from orcs_server.outputs.safe_text import one_line, safe_text

CELL_LIMIT = 400
LAST_COLUMN = 24
"""Columns of a terminal that the last column of a table should have."""

_CONTROLS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What controls a terminal although JSON lets it stand as it is; escaped, it is the same document."""


def is_terminal(out: TextIO) -> bool:
    """Whether it is a terminal that understands more than plain text."""
    return out.isatty() and os.environ.get("TERM") not in {None, "", "dumb"}


def print_json(fields: dict[str, Any], *, one_line: bool = False) -> None:
    """Print an object: indented on a terminal, unless it is one of many, else on one line."""
    indent = 2 if sys.stdout.isatty() and not one_line else None
    text = json.dumps(fields, ensure_ascii=False, indent=indent)
    print(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text), flush=True)


def print_reply(reply: Any, words: str, *, as_json: bool) -> None:
    """Print a reply: as JSON for programs, else in words."""
    if as_json:
        print_json(message_to_dict(reply))
    else:
        print(words)


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, spare: Sequence[str] = ()) -> None:
    """Print aligned columns. On a terminal the last one is cut at its right edge; where too little of it would be left,
    columns in `spare` are left out, the first first.
    """
    table = [tuple(heads), *(tuple(one_line(cell, CELL_LIMIT) for cell in row) for row in rows)]
    widths = [max(_width(row[index]) for row in table) for index in range(len(heads) - 1)]
    room = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    wanted = min(LAST_COLUMN, max(_width(row[-1]) for row in table))
    left_out = [heads.index(head) for head in spare]
    while room and left_out and room - sum(widths) - 2 * len(widths) < wanted:
        index = left_out.pop(0)
        left_out = [other - (other > index) for other in left_out]
        del widths[index]
        table = [row[:index] + row[index + 1 :] for row in table]
    for row in table:
        cells = [f"{cell}{' ' * (width - _width(cell))}" for cell, width in zip(row, widths, strict=False)]
        line = "  ".join([*cells, row[-1]]).rstrip()
        print(_cut(line, room) if room else line)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print names and values, one pair a line; those without a value are left out."""
    kept = [(name, one_line(value, CELL_LIMIT)) for name, value in fields if value]
    longest = max((len(name) for name, _ in kept), default=0)
    for name, value in kept:
        print(f"{name:<{longest}}  {value}")


def print_part(part: Part) -> None:
    """Print content: bytes and text as they are where a program or a file takes them, fit for a terminal where there is one."""
    kind = part.WhichOneof("content")
    content: str | bytes = getattr(part, kind) if kind else ""
    if isinstance(content, bytes):
        if sys.stdout.isatty():
            print(
                f"({len(content):,} bytes of {one_line(part.media_type) or 'binary data'}: redirect them into a file)"
            )
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        return
    if is_terminal(sys.stdout) and part.media_type.partition(";")[0] == "text/markdown":
        print_markdown(content)
        return
    text = safe_text(content) if sys.stdout.isatty() else content
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def print_markdown(text: str) -> None:
    """Print Markdown laid out for the terminal. Addresses of links are shown, not hidden behind their words."""
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(safe_text(text), hyperlinks=False))


def _width(text: str) -> int:
    """Return how many columns a terminal needs for a text."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _cut(line: str, room: int) -> str:
    if _width(line) <= room:
        return line
    kept = line[:room]
    while _width(kept) >= room:
        kept = kept[:-1]
    return f"{kept}…"
