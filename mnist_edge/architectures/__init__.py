"""The networks and their registry. Each network has its own file and registers itself (needs torch).

Every network takes normalised float32 N×1×28×28 and returns logits, float32 N×10. In eval mode an image's logits do not
depend on its neighbours in the batch.

A network of your own, ``package.module:Class``, has to be allowed before a model that names it is loaded:
``mnist_edge.architectures.allow("mine:Net")``.
"""

from mnist_edge.architectures.registry import Architecture, build, find, names, register
from mnist_edge.architectures.summary import Layer, layers
from mnist_edge.common.trust import allow

__all__ = ["Architecture", "Layer", "allow", "build", "find", "layers", "names", "register"]
