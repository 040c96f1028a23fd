"""Recipes where 0.1 kept them, for networks of other distributions; they are in `mnist_edge.architectures.recipe` by now."""

from mnist_edge.architectures.recipe import MNIST_MEAN, MNIST_STD, Augmentation, Recipe
from mnist_edge.architectures.recipe import tutorial_recipe as seed_recipe

__all__ = ["MNIST_MEAN", "MNIST_STD", "Augmentation", "Recipe", "seed_recipe"]
