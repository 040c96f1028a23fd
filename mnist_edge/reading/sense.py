"""What looks like a digit and is none, told by what stands around it: letters of words, strokes at the edge of the sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.reading.parts import pen_width

if TYPE_CHECKING:
    from mnist_edge.reading.choosing import Character

#: What is a digit with at least this likelihood may be one.
IS_DIGIT = 0.5

#: What has more letters than this share of its digits is no number; and a page with more letters in such words holds none.
_LETTERS_IN_WORD, _LETTERS_ON_PAGE = 0.34, 0.7

#: A bare stroke has to be like the other digits, within these factors of their median: in height, pen and strength of the ink.
_LIKE = {"height": (0.55, 1.8), "pen": (0.3, 2.2), "strength": (0.6, 1.6)}

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
    kept: list[Words] = []
    letters = 0.0
    for row in rows:
        kept.append([])
        for word in row:
            in_word = _letters(word, height)
            if in_word > _LETTERS_IN_WORD * sum(map(is_digit, word)):
                letters += in_word
            elif digits := [one for one in word if is_digit(one)]:
                kept[-1].append(digits)
    if letters > _LETTERS_ON_PAGE * sum(one.sure for row in kept for word in row for one in word):
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
    """Return the median of each measure over characters, of many over some."""
    measures = [_measures(one) for one in known[:: 1 + len(known) // 40]]
    return {name: float(np.median([one[name] for one in measures])) for name in _LIKE}


def _measures(one: Character) -> dict[str, float]:
    return {"height": float(one.part.height), "pen": pen_width(one.part), "strength": one.strength}


def _is_like(one: Character, middle: dict[str, float], alone: bool) -> bool:
    """Return whether a digit is enough like the others of its row or page; bare strokes have to be more like them."""
    if not (alone or _is_bare(one)):
        return one.part.height >= 0.35 * middle["height"]
    if alone and one.part.borders:
        return False
    measures = _measures(one)
    return all(least * middle[name] <= measures[name] <= most * middle[name] for name, (least, most) in _LIKE.items())
