"""The models folder: what a model's name means, its manifest, and publishing in one step."""

from mnist_edge.store.models import (
    REFERENCE_MODEL,
    Found,
    Model,
    find,
    installed_reference,
    list_models,
    models_dir,
    read_reference,
    resolve,
)

__all__ = ["REFERENCE_MODEL", "Found", "Model", "find", "installed_reference", "list_models", "models_dir", "read_reference", "resolve"]
