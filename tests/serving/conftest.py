"""The fixtures of these tests: servers that run, and what they are asked."""

from browsing import browser
from serving_process import logits, pixels, serve, server

__all__ = ["browser", "logits", "pixels", "serve", "server"]
