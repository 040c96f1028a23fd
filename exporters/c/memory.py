"""Where each value lies in the workspace: as low as possible, and never where another lies that is still needed."""

from __future__ import annotations

from dataclasses import dataclass

from exporters.c.steps import Network, Scratch, Value


@dataclass(frozen=True)
class Place:
    """A value, or a step's scratch memory, in the workspace.

    Attributes:
        owner: what lies there.
        offset: of its first byte.
        first, last: indices of the steps between which it is needed, both included.
    """

    owner: Value | Scratch
    offset: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """The places in the workspace, and its size in bytes."""

    places: tuple[Place, ...]
    bytes: int

    def offset(self, owner: Value | Scratch) -> int:
        """Return where a value or scratch memory lies."""
        key = owner.root if isinstance(owner, Value) else owner
        return next(place.offset for place in self.places if place.owner is key)


def plan(network: Network) -> Plan:
    """Give each value a place: the largest first, each in the lowest gap between those that are needed at the same time.

    The order is that of "greedy by size" in Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020.
    """
    outside = (network.pixels, network.logits)
    spans: dict[Value | Scratch, tuple[int, int]] = {}
    for index, step in enumerate(network.steps):
        for value in (*step.inputs, step.output):
            if value.root not in outside:
                first, _ = spans.get(value.root, (index, index))
                spans[value.root] = (first, index)
        for scratch in step.scratch:
            spans[scratch] = (index, index)
    places: list[Place] = []
    for owner, (first, last) in sorted(spans.items(), key=lambda item: -item[0].bytes):
        offset = 0
        for other in sorted(places, key=lambda place: place.offset):
            meet = other.first <= last and first <= other.last
            if meet and other.offset < offset + owner.bytes and offset < other.offset + other.owner.bytes:
                offset = other.offset + other.owner.bytes
        places.append(Place(owner, offset, first, last))
    return Plan(tuple(places), max((place.offset + place.owner.bytes for place in places), default=0))
