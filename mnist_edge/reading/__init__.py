"""A page → rows of digits: for pictures that hold several of them.

Two designs were sketched. The first slides the network over the page, at several sizes, and keeps where it is sure. It needs no
segmentation, but thousands of images a page (at LeNet's 80 µs, half a second), it looks at squares that hold parts of two digits, which no network here
was trained on, and it gives no box that fits. The second, which is here, is bottom-up: ink (`page`), without rules and
boxes (`rules`), in pieces (`parts`); every way that pieces may be one digit, or a piece several, is shown to the network in one batch,
and the surest way through them is taken (`choosing`); a small network of our own says what is no digit (`judging`); rows follow from
the boxes (`rows`). It needs one image for each digit and a few for each doubt, and each is prepared as a single digit is, so that the network sees what it
was trained on. What it cannot do is part digits that overlap so far that no cut parts them, or find ink that the page's threshold loses.

numpy and Pillow only; the model comes in as a function.
"""

from mnist_edge.reading.reader import Digit, Reading, read

__all__ = ["Digit", "Reading", "read"]
