"""The place where 0.1 kept recipes, for networks of other distributions. They are now in `mnist_edge.architectures.recipe`."""

from mnist_edge.architectures.recipe import MNIST_MEAN, MNIST_STD, Augmentation, Recipe
from mnist_edge.architectures.recipe import tutorial_recipe as seed_recipe

__all__ = ["MNIST_MEAN", "MNIST_STD", "Augmentation", "Recipe", "seed_recipe"]
