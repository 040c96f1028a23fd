"""The shortest script that reads a digit with click, numpy, Pillow and onnxruntime, in one thread as ours does."""

import click
import numpy
import onnxruntime
from PIL import Image


@click.command()
@click.argument("picture")
@click.argument("model")
def main(picture: str, model: str) -> None:
    pixels = numpy.array(Image.open(picture).convert("L").resize((28, 28)), numpy.uint8).reshape(1, 1, 28, 28)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    print(session.run(None, {"pixels": pixels})[0].argmax())


main()
