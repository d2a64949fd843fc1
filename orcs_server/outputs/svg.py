"""A layered drawing of a graph without cycles: each task one layer below its lowest predecessor, near its predecessors' middle."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

SVG_LIMIT = 2_000
"""Tasks that a drawing may have."""

_WIDTH, _HEIGHT = 220, 52
_GAP_X, _GAP_Y = 28, 56
_MARGIN = 24
_LINE = 30
"""Characters of a line that fit into a box."""

_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>'
)

Box = tuple[str, str, str]
"""Title, caption, fill."""


def draw_svg(title: str, boxes: Sequence[Box], edges: Sequence[Sequence[int]]) -> str:
    """Return an SVG document. `edges[i]` are the places of the boxes that box `i` hangs from. Texts may be hostile.

    Raises `ValueError` for a cycle.
    """
    layers = _ordered(_layers(edges), edges)
    widest = max((len(layer) for layer in layers), default=1)
    width = 2 * _MARGIN + widest * (_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + max(len(layers), 1) * (_HEIGHT + _GAP_Y) - _GAP_Y
    corners: dict[int, tuple[int, int]] = {}
    for depth, layer in enumerate(layers):
        left = (width - len(layer) * (_WIDTH + _GAP_X) + _GAP_X) // 2
        for column, place in enumerate(layer):
            corners[place] = (left + column * (_WIDTH + _GAP_X), _MARGIN + depth * (_HEIGHT + _GAP_Y))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        _TIP,
        '<g fill="none" stroke="#666" marker-end="url(#tip)">',
        *(_edge(corners[before], corners[place]) for place, befores in enumerate(edges) for before in befores),
        '</g>\n<g font-family="sans-serif" font-size="13" text-anchor="middle" stroke="none">',
        *(_box(corners[place], box) for place, box in enumerate(boxes)),
        "</g>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _layers(edges: Sequence[Sequence[int]]) -> list[list[int]]:
    waiting = [len(befores) for befores in edges]
    afters: list[list[int]] = [[] for _ in edges]
    for place, befores in enumerate(edges):
        for before in befores:
            afters[before].append(place)
    layers: list[list[int]] = []
    layer = [place for place, count in enumerate(waiting) if count == 0]
    drawn = 0
    while layer:
        layers.append(layer)
        drawn += len(layer)
        below = []
        for place in layer:
            for after in afters[place]:
                waiting[after] -= 1
                if waiting[after] == 0:
                    below.append(after)
        layer = sorted(below)
    if drawn < len(edges):
        raise ValueError("the plan has a cycle, so it cannot be drawn")
    return layers


def _ordered(layers: list[list[int]], edges: Sequence[Sequence[int]]) -> list[list[int]]:
    # One pass downwards, each box to the mean of its predecessors: enough for plans, and cheap.
    position: dict[int, float] = {}
    ordered = []
    for layer in layers:
        wish = {
            place: sum(position[before] for before in edges[place]) / len(edges[place])
            if edges[place]
            else float(place)
            for place in layer
        }
        row = sorted(layer, key=lambda place: (wish[place], place))
        middle = (len(row) - 1) / 2
        position |= {place: column - middle for column, place in enumerate(row)}
        ordered.append(row)
    return ordered


def _edge(above: tuple[int, int], below: tuple[int, int]) -> str:
    x1, y1 = above[0] + _WIDTH // 2, above[1] + _HEIGHT
    x2, y2 = below[0] + _WIDTH // 2, below[1]
    bend = (y2 - y1) // 2
    return f'<path d="M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"/>'


def _box(corner: tuple[int, int], box: Box) -> str:
    x, y = corner
    title, caption, fill = box
    middle = x + _WIDTH // 2
    return (
        f"<g><title>{escape(title)}</title>"
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="8" fill="{fill}" stroke="#555"/>'
        f'<text x="{middle}" y="{y + 22}">{escape(_cut(title))}</text>'
        f'<text x="{middle}" y="{y + 40}" font-size="11" fill="#333">{escape(_cut(caption))}</text></g>'
    )


def _cut(text: str) -> str:
    return text if len(text) <= _LINE else f"{text[: _LINE - 1]}…"
