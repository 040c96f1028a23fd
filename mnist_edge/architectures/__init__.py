"""The networks, and their registry: a network a file, which registers itself (needs torch).

Every network takes normalised float32 N×1×28×28 and returns logits, float32 N×10. In eval mode an image's logits do not
depend on its neighbours in the batch.
"""

from mnist_edge.architectures.registry import Architecture, build, find, names, register
from mnist_edge.architectures.summary import Layer, layers

__all__ = ["Architecture", "Layer", "build", "find", "layers", "names", "register"]
