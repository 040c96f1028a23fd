"""A picture → 28×28 bytes, ink bright on a dark ground: the one place where pictures become pixels.

`decode` turns a file, bytes, an image or an array into an upright, opaque picture; `prepare` finds the digit in it and places
it as MNIST would have. numpy and Pillow only.
"""

from mnist_edge.image.decode import FORMATS, MAX_BYTES, SUFFIXES, Picture, is_picture
from mnist_edge.image.prepare import INKS, Prepared, prepare, read

__all__ = ["FORMATS", "INKS", "MAX_BYTES", "SUFFIXES", "Picture", "Prepared", "is_picture", "prepare", "read"]
