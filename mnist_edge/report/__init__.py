"""What became of a model, for people: pictures, a page, a card, and a table of all models (drawing needs matplotlib)."""
