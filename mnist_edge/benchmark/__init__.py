"""How small, how fast to start, how fast to run: what each artifact costs on this machine.

This module stays empty: the worker's process begins here, and every import counts.
"""
