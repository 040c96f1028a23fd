"""Read pictures that hold several digits, and compare with what stands on them.

    python benchmarks/several_digits.py FOLDER [--model MODEL] [--runtime ort] [--wrong] [--explain FOLDER]

FOLDER holds pictures and labels.csv with the columns file, truth and kind: rows from top to bottom parted by ``/``, digits from left to right.
Spaces, letters and signs in the truth do not count, nor does a row that is empty without them; an empty truth is a picture without digits.
Prints JSON, for all and for each kind of picture: the edit distance between what was read and the truth, rows' ends counted as characters, as a
share of the truth's length; the share of pictures without an error; and of pictures without digits the share where none is read. `--wrong` lists the pictures that
were read wrongly, `--explain` draws all.
"""

import argparse
import csv
import json
import re
import time
import warnings
from pathlib import Path
from typing import Any

from mnist_edge import Predictor
from mnist_edge.common.errors import PictureError, UnprovenWarning
from mnist_edge.reading import drawing


def digits_of(truth: str) -> str:
    """Return the digits of a truth, rows parted by ``/``."""
    return "/".join(row for row in re.sub("[^0-9/]", "", truth).split("/") if row)


def distance(read: str, truth: str) -> int:
    """Return how many characters have to be put in, taken out or changed (Levenshtein, 1966)."""
    before = list(range(len(truth) + 1))
    for i, a in enumerate(read, 1):
        row = [i]
        for j, b in enumerate(truth, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
        before = row
    return before[-1]


def figures(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of some pictures."""
    written, bare = [one for one in results if one["truth"]], [one for one in results if not one["truth"]]
    found: dict[str, Any] = {"pictures": len(results)}
    if written:
        length, errors = sum(len(one["truth"]) for one in written), sum(one["errors"] for one in written)
        right = sum(one["errors"] == 0 for one in written)
        found |= {"characters": length, "edit_distance": errors, "edit_share": round(errors / length, 4), "pictures_right": right}
        found["share_right"] = round(right / len(written), 4)
    if bare:
        found |= {"without_digits": len(bare), "share_without_answer": round(sum(not one["read"] for one in bare) / len(bare), 4)}
    found["mean_milliseconds"] = round(1000 * sum(one["seconds"] for one in results) / len(results), 1)
    found["most_milliseconds"] = round(1000 * max(one["seconds"] for one in results), 1)
    return found


def main() -> None:
    """Read all pictures of the folder, print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=None)
    parser.add_argument("--runtime", default="ort")
    parser.add_argument("--only", default="", help="pictures whose names begin so")
    parser.add_argument("--wrong", action="store_true")
    parser.add_argument("--explain", type=Path, default=None)
    options = parser.parse_args()
    warnings.simplefilter("ignore", UnprovenWarning)  # this is about reading
    predictor = Predictor.load(options.model, options.runtime)
    results = []
    with (options.folder / "labels.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith(options.only)]
    for row in rows:
        truth, started = digits_of(row["truth"]), time.process_time()
        try:
            reading = predictor.read(options.folder / row["file"])
        except PictureError as error:
            raise SystemExit(f"error: {error}") from error
        seconds = time.process_time() - started
        read = digits_of(reading.text)
        errors = distance(read, truth)
        results.append({"kind": row["kind"], "truth": truth, "read": read, "errors": errors, "seconds": seconds})
        if options.explain is not None:
            options.explain.mkdir(parents=True, exist_ok=True)
            drawing.explain(reading).save(options.explain / f"{Path(row['file']).stem}.png")
        if options.wrong and errors:
            print(json.dumps({"file": row["file"], "errors": errors, "truth": truth, "read": read, "warnings": reading.warnings}))
    document: dict[str, Any] = {"all": figures(results)}
    for kind in sorted({one["kind"] for one in results}):
        document[kind] = figures([one for one in results if one["kind"] == kind])
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
