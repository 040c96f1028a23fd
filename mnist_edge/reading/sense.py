"""Leaves out what looks like a digit but is not one, by what stands around it: letters of words, strokes at the edge of the sheet."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.reading.parts import pen_width

if TYPE_CHECKING:
    from mnist_edge.reading.choosing import Character

#: What is a digit with at least this likelihood may be one.
IS_DIGIT = 0.5

#: What has more letters than this share of its digits is no number; and a page with more letters in such words holds none.
_LETTERS_IN_WORD, _LETTERS_ON_PAGE = 0.34, 0.7

#: Some signs look like digits, so on a page of signs each of them counts as this share of a letter.
_SIGN_AS_LETTER = 0.2

#: A bare stroke has to be like the other digits, within these factors of their median: in height, pen and strength of the ink.
_LIKE = {"height": (0.55, 1.8), "pen": (0.3, 2.2), "strength": (0.6, 1.6)}

#: The edge of a sheet and a fold are both thinner and fainter than these factors of the digits' medians.
_EDGE = {"pen": 0.65, "strength": 0.95}

#: A page is one of digits if at least this share of its characters are.
_PAGE_OF_DIGITS = 0.75

#: Ink fainter than this share of the digits' is none: the other side of the sheet, a smudge.
_FAINT = 0.4

#: What is a digit at least so surely shows what the others look like.
SURE = 0.9

#: Where no digit is so sure, one may be less sure if its ink is so strong, of 255. That of shadows and smudges is not.
_LESS_SURE, _STRONG = 0.7, 100

Words = list[list["Character"]]


def is_digit(one: Character) -> bool:
    """Return whether a character, seen alone, is a digit."""
    return one.kinds[0] >= IS_DIGIT


def _letters(characters: list[Character], height: float) -> float:
    """Return how many letters there are; a word in joined-up writing counts by its width."""
    return sum(max(1.0, one.part.width / height) for one in characters if one.kinds[2] >= 0.5 and one.part.height >= 0.4 * height)


def only_digits(rows: list[Words], height: float) -> list[Words]:
    """Return the rows with their digits alone; words and rows without any are left out."""
    known = [one.strength for row in rows for word in row for one in word if one.sure >= SURE]
    faint = _FAINT * float(np.median(known)) if known else 0.0
    rows = _in_context([[[one for one in word if one.strength >= faint] for word in row] for row in rows], height)
    kept: list[Words] = []
    letters = _SIGN_AS_LETTER * sum(one.kinds[1] >= 0.5 and one.part.height >= 0.4 * height for row in rows for word in row for one in word)
    for row in rows:
        kept.append([])
        every = [one for word in row for one in word]
        if _letters(every, height) >= 1 and not any(is_digit(one) and not one.is_bare for one in every):
            row = [every]  # I, II, III, T: strokes and letters, and not one digit among them
        for word in row:
            in_word = _letters(word, height)
            if in_word > _LETTERS_IN_WORD * sum(map(is_digit, word)) or (in_word and word is every):
                letters += in_word
            else:  # a sign between two numbers parts them
                kept[-1] += [list(digits) for are_digits, digits in groupby(word, is_digit) if are_digits]
    if letters > _LETTERS_ON_PAGE * sum(one.sure for row in kept for word in row for one in word if not one.is_bare):
        return []
    return _without_strays(kept)


def _in_context(rows: list[Words], height: float) -> list[Words]:
    """Return the characters with kinds that know of the page: on a page of digits, what looks half like a sign is a digit (Bayes' rule)."""
    large = [one.kinds for row in rows for word in row for one in word if one.part.height >= 0.4 * height and not one.is_bare]
    if not large:
        return rows
    counts = np.bincount(np.argmax(large, axis=1), minlength=3) + 1.0
    if counts[0] < _PAGE_OF_DIGITS * counts.sum():
        return rows

    def seen_so(one: Character) -> Character:
        likely = np.asarray(one.kinds) * counts
        return one._replace(kinds=tuple((likely / likely.sum()).tolist()))

    return [[[seen_so(one) for one in word] for word in row] for row in rows]


def _without_strays(rows: list[Words]) -> list[Words]:
    """Leave out bare strokes where there is nothing else, and what stands alone and is unlike the other digits."""
    shapes = [one for row in rows for word in row for one in word if not one.is_bare]
    known = [one for one in shapes if one.sure >= SURE] or [one for one in shapes if one.sure >= _LESS_SURE and one.strength >= _STRONG]
    if not known:
        return []
    page = _middle(known)
    result = []
    for row in rows:
        own = [one for word in row for one in word]
        beside = [one for one in own if one.sure >= SURE and not one.is_bare]
        middle = _middle(beside) if len(beside) >= 3 else page
        alone = len(own) <= 2 and all(one.is_bare or one.part.borders for one in own)
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
    if not (alone or one.is_bare):
        return one.part.height >= 0.35 * middle["height"]
    if alone and one.part.borders:
        return False
    measures = _measures(one)
    if all(measures[name] < factor * middle[name] for name, factor in _EDGE.items()):
        return False
    return all(least * middle[name] <= measures[name] <= most * middle[name] for name, (least, most) in _LIKE.items())
