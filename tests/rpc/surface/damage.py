"""What can be done to a request on its way: bytes that are cut, damaged, added, or were never a message."""

from __future__ import annotations

from typing import Final

from hypothesis import strategies as st


def varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def text_field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field as it stands on the wire."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def nested(number: int, depth: int) -> bytes:
    """Return messages within messages."""
    wire = b""
    for _ in range(depth):
        wire = text_field(number, wire)
    return wire


ADDITIONS: Final[dict[str, bytes]] = {
    "an unknown number": varint(7_777 << 3) + b"\x01",
    "an unknown text": text_field(7_777, b"\xff\xfe\x00"),
    "an unknown group": varint(7_777 << 3 | 3) + varint(7_777 << 3 | 4),
    "a group without an end": varint(7_777 << 3 | 3),
    "groups too deep": varint(7_777 << 3 | 3) * 300 + varint(7_777 << 3 | 4) * 300,
    "an end without a group": varint(1 << 3 | 4),
    "field number zero": b"\x00\x01",
    "a wire type that is none": b"\x0f",
    "a number without an end": b"\x08" + b"\xff" * 11,
    "a number where a text is": b"\x08\x01\x10\x01\x18\x01",
    "a length beyond the end": b"\x0a\xff\xff\xff\xff\x07",
    "fixed numbers": b"\x09" + b"\xff" * 8 + b"\x15" + b"\xff" * 4,
    **{
        f"no UTF-8 in field {number}": text_field(number, b"a\xc3\x28\xed\xa0\x80")
        for number in (1, 2, 3, 4, 5, 12, 14)
    },
    **{f"messages within field {number}": nested(number, 150) for number in (1, 2, 5, 7)},
    "an unknown field, long": text_field(7_777, b"x" * 1_000_000),
}
"""Names and bytes that are put behind a request. Some leave it what it was, some make it none."""


@st.composite
def damaged(draw: st.DrawFn, wire: bytes) -> bytes:
    """Draw what arrives of a request."""
    match draw(st.sampled_from(("cut", "added", "added", "doubled", "changed", "random", "nothing", "too large"))):
        case "cut":
            return wire[: draw(st.integers(0, len(wire)))]
        case "added":
            return wire + ADDITIONS[draw(st.sampled_from(sorted(ADDITIONS)))]
        case "doubled":
            # Fields come twice, keys of maps too, and both sides of a oneof once another request's end comes first.
            half = draw(st.integers(0, len(wire)))
            arrived = wire + wire[half:] + wire[:half]
        case "changed" if wire:
            place = draw(st.integers(0, len(wire) - 1))
            arrived = wire[:place] + bytes((draw(st.integers(0, 255)),)) + wire[place + 1 :]
        case "random":
            arrived = draw(st.binary(max_size=40))
        case "too large" if draw(st.integers(0, 9)) == 0:
            arrived = wire + text_field(7_777, b"x" * (8 * 1024 * 1024))
        case _:
            arrived = b""
    return arrived
