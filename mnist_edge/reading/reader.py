"""A page → rows of digits."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnist_edge.image.components import find_components
from mnist_edge.image.decode import decode
from mnist_edge.reading.page import CLEAR_POLARITY, PAGE_PIXELS, Ink, find_ink, find_plane, typical_height, without_rules
from mnist_edge.reading.parts import Part, joined, parts_of, seen, slices

MOST_PARTS = 1500


class Candidate(NamedTuple):
    part: Part
    members: frozenset[int]
    pixels: np.ndarray
    pen: float


class Character(NamedTuple):
    part: Part
    digit: int
    p: float
    q: float
    pixels: np.ndarray
    logits: np.ndarray


def quality(z):
    s = np.sort(z, axis=1)
    top = s[:, -1]
    p = 1 / np.exp(s - top[:, None]).sum(axis=1)
    return z.argmax(axis=1), p, p / (1 + np.exp(-(top - 1.5)))


def find_parts(ink: Ink):
    pieces = find_components(ink.mask, ink.strength)
    height = typical_height(pieces)
    if height == 0:
        return [], 0.0
    mask = without_rules(ink.mask, height)
    pieces = find_components(mask, ink.strength)
    height = typical_height(pieces)
    if height == 0:
        return [], 0.0
    longer = np.maximum(pieces.height, pieces.width)
    fits = (longer >= 0.12 * height) & (pieces.height <= 4 * height) & (pieces.borders <= 1)
    fits &= (pieces.width <= 15 * height)
    chosen = np.flatnonzero(fits)
    chosen = chosen[np.argsort(-longer[chosen], kind="stable")][:MOST_PARTS]
    return parts_of(ink, pieces, chosen), height


def frames(parts, height):
    top, bottom, left, right = (np.array([getattr(p, n) for p in parts]) for n in ("top", "bottom", "left", "right"))
    y, x = (top + bottom) / 2, (left + right) / 2
    h = bottom - top
    out = []
    for i, p in enumerate(parts):
        if p.height < 1.3 * height and p.width < 1.3 * height:
            continue
        inside = (top > p.top) & (bottom < p.bottom) & (left > p.left) & (right < p.right) & (h > 0.3 * height)
        if inside.any() and p.mask.mean() < 0.35:
            out.append(i)
    return set(out)


def clusters(parts, height):
    n = len(parts)
    top, bottom, left, right = (np.array([getattr(p, k) for p in parts], float) for k in ("top", "bottom", "left", "right"))
    h, w = bottom - top, right - left
    gx = np.maximum(left[:, None] - right[None], left[None] - right[:, None])
    gy = np.maximum(top[:, None] - bottom[None], top[None] - bottom[:, None])
    hh = np.maximum(bottom[:, None], bottom[None]) - np.minimum(top[:, None], top[None])
    ww = np.maximum(right[:, None], right[None]) - np.minimum(left[:, None], left[None])
    small = np.maximum(h, w) < 0.5 * height
    either = small[:, None] | small[None]
    tall = np.maximum(np.maximum(h[:, None], h[None]), 0.8 * height)
    over = gx <= -0.3 * np.minimum(w[:, None], w[None])
    together = over & (gy <= 0.3 * tall) & (hh <= 1.5 * tall)
    short = (h < 0.65 * height)
    near = (short[:, None] | short[None]) & (gx <= 0.15 * height) & (gy <= 0.1 * height) & (ww <= 1.3 * height) & (hh <= 1.4 * tall)
    rel = (together | near)
    np.fill_diagonal(rel, False)
    return rel


def groups(rel):
    n = len(rel)
    seen_, out = np.zeros(n, bool), []
    for i in range(n):
        if seen_[i]:
            continue
        stack, comp = [i], []
        seen_[i] = True
        while stack:
            a = stack.pop()
            comp.append(a)
            for b in np.flatnonzero(rel[a] & ~seen_):
                seen_[b] = True
                stack.append(int(b))
        out.append(comp)
    return out


def subsets(comp, rel, most=3):
    found = {frozenset([i]) for i in comp}
    frontier = set(found)
    for _ in range(most - 1):
        new = set()
        for s in frontier:
            for i in comp:
                if i not in s and any(rel[i, j] for j in s):
                    new.add(s | {i})
        found |= new
        frontier = new
    return found


def read(picture, run, dark=None, debug=None):
    d = decode(picture, room=PAGE_PIXELS)
    plane, polarity = find_plane(d.pixels)
    tries = [polarity < 0] if abs(polarity) >= CLEAR_POLARITY else [polarity < 0, polarity >= 0]
    best = None
    for dark in tries:
        ink = find_ink(plane, dark)
        if ink is None:
            continue
        chars, height = characters(ink, run)
        score = sum(c.q for c in chars)
        if best is None or score > best[0]:
            best = (score, ink, chars, height)
    if best is None:
        return d, None, [], [], 0
    _, ink, chars, height = best
    return d, ink, chars, rows(chars, height), height


def characters(ink, run):
    parts, height = find_parts(ink)
    if not parts:
        return [], 0
    gone = frames(parts, height)
    parts = [p for i, p in enumerate(parts) if i not in gone]
    rel = clusters(parts, height)
    comps = groups(rel)
    hyps = []  # (cluster, members, Part)
    small = [max(p.height, p.width) < 0.35 * height for p in parts]
    for number, comp in enumerate(comps):
        if all(small[i] for i in comp):
            continue
        comp = sorted(comp, key=lambda i: -parts[i].ink)[:6]
        comps[number] = comp
        for s in subsets(comp, rel):
            if all(small[i] for i in s):
                continue
            hyps.append((number, s, joined([parts[i] for i in sorted(s)])))
    if not hyps:
        return [], height
    views = [seen(ink, p)[0] for _, _, p in hyps]
    z = run(np.stack(views)[:, None])
    digit, p, q = quality(z)
    by = {}
    for k, (number, s, part) in enumerate(hyps):
        by.setdefault(number, []).append((s, part, int(digit[k]), float(p[k]), float(q[k]), views[k], z[k]))
    chars = []
    for number, comp in enumerate(comps):
        options = by.get(number)
        if not options:
            continue
        chars += best_cover(comp, options, parts, small)
    # splits
    todo = []
    for k, c in enumerate(chars):
        aspect = c.part.width / max(c.part.height, 0.7 * height)
        if aspect > 1.25 or (aspect > 0.85 and c.q < 0.9):
            cut = slices(c.part, min(c.part.height, 1.3 * height))
            if len(cut) > 1:
                for a in range(len(cut)):
                    for b in range(a + 1, len(cut) + 1):
                        if b - a < len(cut):
                            todo.append((k, a, b, len(cut), joined(cut[a:b])))
    if todo:
        views = [seen(ink, t[4])[0] for t in todo]
        z = run(np.stack(views)[:, None])
        digit, p, q = quality(z)
        splits = {}
        for i, (k, a, b, n, part) in enumerate(todo):
            splits.setdefault(k, {})[a, b] = Character(part, int(digit[i]), float(p[i]), float(q[i]), views[i], z[i]), n
        out = []
        for k, c in enumerate(chars):
            if k in splits:
                n = next(iter(splits[k].values()))[1]
                table = {ab: one for ab, (one, _) in splits[k].items()}
                table[0, n] = c
                out += best_split(table, n, c.part.ink)
            else:
                out.append(c)
        chars = out
    return chars, height


def best_split(table, n, ink):
    best = {0: (0.0, [])}
    for b in range(1, n + 1):
        for a in range(b):
            if a in best and (a, b) in table:
                c = table[a, b]
                score = best[a][0] + c.part.ink / ink * np.log(max(c.q, 1e-6))
                if b not in best or score > best[b][0]:
                    best[b] = (score, [*best[a][1], c])
    return best[n][1]


def best_cover(comp, options, parts, small):
    total = sum(parts[i].ink for i in comp)
    best = (-1e9, [])

    def go(left, score, chosen):
        nonlocal best
        if not left:
            if score > best[0]:
                best = (score, chosen)
            return
        first = left[0]
        rest = left[1:]
        if small[first]:
            go(rest, score + parts[first].ink / total * np.log(0.5), chosen)
        for s, part, digit, p, q, view, z in options:
            if first in s and s <= set(left):
                go([i for i in left if i not in s], score + sum(parts[i].ink for i in s) / total * np.log(max(q, 1e-6)),
                   [*chosen, Character(part, digit, p, q, view, z)])

    go(list(comp), 0.0, [])
    return best[1]


def rows(chars, height):
    if not chars:
        return []
    order = sorted(range(len(chars)), key=lambda i: chars[i].part.left + chars[i].part.right)
    c = [((ch.part.top + ch.part.bottom) / 2, (ch.part.left + ch.part.right) / 2, ch.part.height) for ch in chars]
    found: list[list[int]] = []
    for i in order:
        y, x, h = c[i]
        best, at = 1e9, None
        for k, row in enumerate(found):
            j = row[-1]
            yy, xx, hj = c[j]
            dist = x - xx
            slope = 0.0
            if len(row) >= 2:
                m = row[-5:]
                ys, xs = np.array([c[a][0] for a in m]), np.array([c[a][1] for a in m])
                hs = np.array([c[a][2] for a in m])
                spread = ((xs - xs.mean()) ** 2).sum()
                slope = float(((xs - xs.mean()) * (ys - ys.mean())).sum() / (spread + (3 * height) ** 2))
                yy = float(np.average(ys, weights=hs)) + slope * (x - float(xs.mean())) if True else yy
            scale = max(height, min(h, hj))
            off = abs(y - yy) / scale
            over = min(chars[i].part.bottom, chars[j].part.bottom) - max(chars[i].part.top, chars[j].part.top)
            if off < 0.55 and off + 0.02 * dist / height < best:
                best, at = off + 0.02 * dist / height, k
        if at is None:
            found.append([i])
        else:
            found[at].append(i)
    found.sort(key=lambda row: np.mean([c[i][0] for i in row]))
    return [[chars[i] for i in row] for row in found]
