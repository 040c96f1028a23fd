"""The fixtures of these tests."""

from browsing import browser

__all__ = ["browser"]
