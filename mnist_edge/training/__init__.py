"""From a data set to a model (needs torch)."""
