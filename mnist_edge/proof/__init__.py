"""Does an artifact answer as PyTorch did? Comparing, and what a comparison is worth."""
