"""Markdown of models turned into HTML that carries no HTML of theirs: tags are shown as text, pictures become links, links lead
to web and mail addresses only, and the page forbids itself scripts and everything that would have to be loaded.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_LINK = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x1f]+", re.IGNORECASE)
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&])")
_STYLE = (
    "body{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}"
    "pre{overflow-x:auto;padding:.75rem;background:#8881;white-space:pre-wrap}"
    "table{border-collapse:collapse}td,th{border:1px solid #8888;padding:.25rem .5rem}"
    ".unfinished{border-left:4px solid #c60;padding-left:1rem}"
)


class Section(Struct, frozen=True):
    """A titled piece of a document. Text that is not Markdown is shown as it is."""

    title: str
    text: str
    is_markdown: bool


@cache
def _renderer() -> MarkdownIt:
    # Imported where it is used: many servers never render HTML.
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    renderer.validateLink = lambda url: _LINK.fullmatch(url) is not None  # type: ignore[method-assign]
    return renderer


def to_html(markdown: str) -> str:
    """Return the fragment of HTML for a text that nobody vouches for."""
    return str(_renderer().render(markdown))


def markdown_literal(text: str) -> str:
    """Return `text` so that Markdown shows it as it is."""
    return _SPECIAL.sub(r"\\\1", text)


def html_document(title: str, sections: Sequence[Section], unfinished: Sequence[str]) -> str:
    """Return a whole page. A single section of a finished result stands alone, without headings of its own."""
    alone = len(sections) == 1 and not unfinished
    body = [] if alone else [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        inner = to_html(section.text) if section.is_markdown else f"<pre>{html.escape(section.text)}</pre>\n"
        heading = "" if alone else f"<h2>{html.escape(section.title)}</h2>\n"
        body.append(f"<section>\n{heading}{inner}</section>")
    if unfinished:
        lines = "".join(f"<li>{html.escape(line)}</li>\n" for line in unfinished)
        body.append(f'<section class="unfinished">\n<h2>Not finished</h2>\n<ul>\n{lines}</ul>\n</section>')
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )
