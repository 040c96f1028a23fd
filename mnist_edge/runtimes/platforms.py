"""Where a runtime runs: system, machine, and the processor features that change arithmetic."""
# a stand-in until the real one is merged

from __future__ import annotations

from typing import Any, NamedTuple


class Platform(NamedTuple):
    """A kind of machine."""

    system: str
    machine: str
    features: tuple[str, ...]
    processor: str = ""
    emulated: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return self._asdict() | {"features": list(self.features)}

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Platform:
        """Return what `to_json` gave."""
        return cls(**body | {"features": tuple(body["features"])})

    def describe(self) -> str:
        """Return it in words."""
        return f"{self.system} {self.machine}"

    def same_kind(self, other: Platform) -> bool:
        """Compare all but the names."""
        return self[:3] == other[:3]


def here() -> Platform:
    """Return this machine's."""
    import platform

    return Platform(platform.system(), platform.machine(), ())
