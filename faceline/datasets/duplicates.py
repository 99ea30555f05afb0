"""Near-identical pictures: suspected by their perceptual hash, confirmed by their pixels, joined into groups."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from faceline.errors import SourceError
from faceline.params import Settings

HASH_BITS = 64
BLOCK = 2_000_000  # pairs compared at a time; bounds the memory of a crowded band
MOST_PAIRS = 20_000_000  # suspected; 6,300 copies of one picture have as many, and cleaning them takes some 9 GB


class NearIdenticalSettings(Settings):
    """When two pictures count as near-identical."""

    distance: Annotated[int, Field(ge=0, le=16)]  # bits by which two perceptual hashes may differ (Hamming)
    correlation: Annotated[float, Field(gt=0, le=1)]  # of the two thumbnails (Pearson), at least


@dataclass(frozen=True)
class Pairs:
    """Pairs of near-identical pictures: indices (first < second, sorted), distance of the hashes, correlation."""

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    correlation: np.ndarray

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.first)


def near_identical(
    phash: np.ndarray, thumbnails: np.ndarray, settings: NearIdenticalSettings, names: Sequence[str] | None = None
) -> Pairs:
    """All pairs whose hashes differ by at most `distance` bits and whose thumbnails correlate at least `correlation`.

    No pair is missed, by the pigeonhole principle: of `distance` + 1 bands of bits, two hashes that differ in at
    most `distance` bits share one (multi-index hashing, Norouzi et al. 2012, https://arxiv.org/abs/1307.2982).

    Args:
        phash: uint64 (N,).
        thumbnails: uint8 (N, pixels), grey.
        names: what an error calls the pictures; by default their hashes.

    Raises:
        SourceError: more than MOST_PAIRS are suspected, as where thousands of rows show one default picture.
    """
    codes = np.sort(_bounded_candidates(phash, settings.distance, names))
    first, second = np.divmod(codes, max(len(phash), 1))
    correlation = _correlation(thumbnails, first, second)
    keep = correlation >= settings.correlation
    first, second = first[keep], second[keep]
    return Pairs(first, second, np.bitwise_count(phash[first] ^ phash[second]), correlation[keep])


def groups(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The connected components of `count` pictures joined by pairs, as int labels (count,)."""
    graph = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _bounded_candidates(phash: np.ndarray, distance: int, names: Sequence[str] | None) -> np.ndarray:
    """All the pairs of `_candidates`, joined; refused before that if they are more than memory should be spent on."""
    parts = [np.empty(0, np.int64)]
    total = 0
    for part in _candidates(phash, distance):
        parts.append(part)
        total += len(part)
        if total > MOST_PAIRS:
            crowd = max(parts, key=len) // len(phash)
            example = int(np.bincount(crowd).argmax())
            alike = np.count_nonzero(np.bitwise_count(phash ^ phash[example]) <= distance)
            name = f"that with the phash {phash[example]}" if names is None else names[example]
            found = f"{alike} pictures look like {name}, and more than {MOST_PAIRS} pairs are near-identical"
            raise SourceError(f"{found}; take them out of the source, or reject them by its table of overrides")
    return np.concatenate(parts)


def _candidates(phash: np.ndarray, distance: int) -> Iterator[np.ndarray]:
    """Pairs within `distance` bits, as codes first * N + second: each once, with the first band that it shares."""
    edges = np.linspace(0, HASH_BITS, distance + 2).astype(int)
    masks = [np.uint64((1 << int(high)) - (1 << int(low))) for low, high in itertools.pairwise(edges)]
    for number, mask in enumerate(masks):
        band = phash & mask
        order = np.argsort(band, kind="stable")
        bounds = np.flatnonzero(np.diff(band[order])) + 1
        for members in np.split(order, bounds):
            yield from _close_pairs(members, phash, distance, masks[:number])


def _close_pairs(
    members: np.ndarray, phash: np.ndarray, distance: int, earlier: list[np.uint64]
) -> Iterator[np.ndarray]:
    """The pairs among `members` (ascending indices) within `distance` bits, as codes, without those of earlier bands.

    A pair of near-identical pictures shares most bands; its memory must not grow with their number.
    """
    rows = max(1, BLOCK // max(1, len(members)))
    for start in range(0, len(members), rows):
        left = members[start : start + rows, None]
        near = np.bitwise_count(phash[left] ^ phash[members][None]) <= distance
        i, j = np.nonzero(near & (left < members[None]))
        first, second = members[start + i], members[j]
        differing = phash[first] ^ phash[second]
        new = np.ones(len(first), bool)
        for mask in earlier:
            new &= (differing & mask) != 0
        yield first[new].astype(np.int64) * len(phash) + second[new]


def _correlation(thumbnails: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson correlation of the thumbnails of each pair; of two flat pictures it is 1 if they are alike, else 0."""
    result = np.empty(len(first))
    for start in range(0, len(first), 10_000):
        part = slice(start, start + 10_000)
        a, b = (thumbnails[index[part]].astype(np.float64) for index in (first, second))
        a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
        scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        alike = (thumbnails[first[part]] == thumbnails[second[part]]).all(axis=1)
        result[part] = np.where(scale > 0, (a * b).sum(axis=1) / np.where(scale > 0, scale, 1), alike)
    return result
