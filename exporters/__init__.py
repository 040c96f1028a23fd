"""PyTorch → artifacts: the registry of formats, and the gate that proves and publishes.

Listing the formats needs no torch; exporting does.
"""

from exporters.registry import Format, Target, find, formats, register

__all__ = ["Format", "Target", "find", "formats", "register"]
