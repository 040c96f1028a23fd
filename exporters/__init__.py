"""PyTorch → artifacts: the registry of formats, and the gate that proves and publishes.

Listing the formats needs no torch; exporting does.
"""

from exporters.registry import Calibration, Format, LayerCost, Reduction, Target, find, formats, register

__all__ = ["Calibration", "Format", "LayerCost", "Reduction", "Target", "find", "formats", "register"]
