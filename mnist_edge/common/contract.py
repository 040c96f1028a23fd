"""Every artifact's input and output, and the meaning of its answers."""

#: What each of the ten logits stands for.
CLASSES = tuple("0123456789")

PIXELS = {"name": "pixels", "dtype": "uint8", "shape": ["N", 1, 28, 28]}
LOGITS = {"name": "logits", "dtype": "float32", "shape": ["N", 10]}
