"""The fixtures of these tests: servers that run, and what they are asked."""

from serving_process import logits, pixels, serve, server

__all__ = ["logits", "pixels", "serve", "server"]
