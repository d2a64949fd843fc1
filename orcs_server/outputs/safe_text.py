"""Text of models and users, made fit for a terminal: it can print, but not move the cursor, set titles, open links, change
colours or turn the direction of what follows.
"""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    # Strings that a terminal swallows (OSC, DCS, SOS, PM, APC) up to their end. One without an end loses its beginning only:
    # otherwise it would swallow the rest of an honest text. Nothing that begins another may lie within, nor a line break, so the search is bounded.
    "(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x1b\x07\n\x80-\x9f]{0,4096}(?:\x1b\\\\|\x07|\x9c)"
    # CSI: parameters, intermediates, final byte.
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]?"
    # All other escapes: intermediates and a final byte.
    "|\x1b[ -/]*[0-~]?"
)
_LINE_ENDS = re.compile("\r\n?|[\u2028\u2029\x85\x0b\x0c]")
# C0 but for tab and line feed, DEL, C1; marks, embeddings, overrides and isolates that reorder text; noncharacters.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"\s+")


def safe_text(text: str) -> str:
    """Return `text` without anything that controls a terminal; line feeds and tabs stay, other line ends become line feeds."""
    text = _LINE_ENDS.sub("\n", text)
    text = _SEQUENCES.sub("", text)
    text = _CONTROLS.sub("", text)
    return _SURROGATES.sub("\ufffd", text)


def one_line(text: str, limit: int = 200) -> str:
    """Return `text` fit for a terminal, on one line of at most `limit` characters, the last one `…` if it was cut."""
    # Cut first, generously: the rest of a text of any length need not be looked at.
    line = _SPACES.sub(" ", safe_text(text[: limit * 8])).strip()
    return line if len(line) <= limit else f"{line[: limit - 1].rstrip()}…"
