"""Presents a model to people: pictures, a page, a card, and a table of all models (drawing needs matplotlib)."""
