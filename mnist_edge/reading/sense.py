"""What looks like a digit and is none, told by what stands around it: letters of words, strokes at the edge of the sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.reading.parts import pen_width

if TYPE_CHECKING:
    from mnist_edge.reading.choosing import Character

#: What is a digit with at least this likelihood may be one.
IS_DIGIT = 0.5

#: A word with more letters than this share of its digits is a word; and so is a page.
_LETTERS_IN_WORD, _LETTERS_ON_PAGE = 0.34, 0.6

#: A bare stroke has to be like the other digits, within these factors of their median: in height, pen and strength of the ink.
_LIKE = {"height": (0.55, 1.8), "pen": (0.45, 2.2), "strength": (0.6, 1.6)}

#: Ink fainter than this share of the digits' is none: the other side of the sheet, a smudge.
_FAINT = 0.4

Words = list[list["Character"]]


def is_digit(one: Character) -> bool:
    """Return whether a character, seen alone, is a digit."""
    return one.kinds[0] >= IS_DIGIT


def _letters(characters: list[Character], height: float) -> float:
    """Return how many letters there are; a word in joined-up writing counts by its width."""
    return sum(max(1.0, one.part.width / height) for one in characters if one.kinds[2] >= 0.5 and one.part.height >= 0.4 * height)


def _is_bare(one: Character) -> bool:
    """Return whether a 1 is a single stroke, as the rest of a rule, of a frame or of an edge may be."""
    return one.digit == 1 and one.part.height >= 3 * one.part.width


def only_digits(rows: list[Words], height: float) -> list[Words]:
    """Return the rows with their digits alone; words and rows without any are left out."""
    known = [one.strength for row in rows for word in row for one in word if one.sure >= 0.9]
    faint = _FAINT * float(np.median(known)) if known else 0.0
    rows = _in_context([[[one for one in word if one.strength >= faint] for word in row] for row in rows], height)
    every = [one for row in rows for word in row for one in word]
    kept: list[Words] = []
    for row in rows:
        words = [word for word in row if _letters(word, height) <= _LETTERS_IN_WORD * sum(map(is_digit, word))]
        kept.append([digits for word in words if (digits := [one for one in word if is_digit(one)])])
    sure = sum(one.sure for row in kept for word in row for one in word)
    if _letters(every, height) > _LETTERS_ON_PAGE * sure:
        return []
    return _without_strays(kept)


def _in_context(rows: list[Words], height: float) -> list[Words]:
    """Return the characters with kinds that know of the page: on a page of digits, what looks half like a sign is a digit (Bayes' rule)."""
    large = [one.kinds for row in rows for word in row for one in word if one.part.height >= 0.4 * height]
    if not large:
        return rows
    counts = np.bincount(np.argmax(large, axis=1), minlength=3) + 1.0

    def seen_so(one: Character) -> Character:
        likely = np.asarray(one.kinds) * counts
        return one._replace(kinds=tuple((likely / likely.sum()).tolist()))

    return [[[seen_so(one) for one in word] for word in row] for row in rows]


def _without_strays(rows: list[Words]) -> list[Words]:
    """Leave out bare strokes where there is nothing else, and what stands alone and is unlike the other digits."""
    digits = [one for row in rows for word in row for one in word]
    if not digits or all(_is_bare(one) for one in digits):
        return []
    page = _middle([one for one in digits if one.sure >= 0.9 and not _is_bare(one)] or digits)
    result = []
    for row in rows:
        own = [one for word in row for one in word]
        known = [one for one in own if one.sure >= 0.9 and not _is_bare(one)]
        middle = _middle(known) if len(known) >= 3 else page
        alone = len(own) <= 2 and all(_is_bare(one) or one.part.borders for one in own)
        left = [[one for one in word if _is_like(one, middle, alone)] for word in row]
        result.append([word for word in left if word])
    return result


def _middle(known: list[Character]) -> dict[str, float]:
    measures = [_measures(one) for one in known]
    return {name: float(np.median([one[name] for one in measures])) for name in _LIKE}


def _measures(one: Character) -> dict[str, float]:
    part = one.part
    return {"height": float(part.height), "pen": pen_width(part), "strength": one.strength}


def _is_like(one: Character, middle: dict[str, float], alone: bool) -> bool:
    """Return whether a digit is enough like the others of its row or page; bare strokes have to be more like them."""
    shares = {name: value / max(1e-9, middle[name]) for name, value in _measures(one).items()}
    if alone and one.part.borders:
        return False
    if alone or _is_bare(one):
        return all(least <= shares[name] <= most for name, (least, most) in _LIKE.items())
    return shares["height"] >= 0.35
