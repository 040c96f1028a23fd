"""``python -m mnist_edge`` is the command ``mnist-edge``."""

from mnist_edge.cli import main

if __name__ == "__main__":
    main()
