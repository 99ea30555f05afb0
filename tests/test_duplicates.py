"""Near-identical pictures: every pair within the bounds is found, and nothing else."""

import numpy as np
import pytest

from faceline.datasets import duplicates
from faceline.datasets.duplicates import NearIdenticalSettings, groups, near_identical
from faceline.errors import SourceError


def test_pairs_are_those_of_a_comparison_of_all_with_all() -> None:
    rng = np.random.default_rng(0)
    phash = rng.integers(0, 2**63, 300, dtype=np.uint64)
    for index in range(100):  # neighbours at 0 to 9 bits, anywhere in the hash
        bits = rng.choice(64, index % 10, replace=False).astype(np.uint64)
        phash[200 + index] = phash[index] ^ np.bitwise_or.reduce(np.uint64(1) << bits, initial=np.uint64(0))
    thumbnails = np.tile(rng.integers(0, 256, 361, dtype=np.uint8), (300, 1))
    for distance in (0, 3, 8):
        pairs = near_identical(phash, thumbnails, NearIdenticalSettings(distance=distance, correlation=0.9))
        i, j = np.nonzero(np.bitwise_count(phash[:, None] ^ phash[None]) <= distance)
        assert list(zip(pairs.first, pairs.second, strict=True)) == [(a, b) for a, b in zip(i, j, strict=True) if a < b]
        assert (pairs.distance <= distance).all()


def test_a_pair_is_held_once_however_many_bands_it_shares() -> None:
    rng = np.random.default_rng(2)
    frames = np.full(50, rng.integers(0, 2**63, dtype=np.uint64))
    frames[25:] ^= np.uint64(1) << rng.integers(0, 64, 25, dtype=np.uint64)  # one bit, in any band
    codes = np.concatenate(list(duplicates._candidates(frames, 8)))
    assert sorted(codes.tolist()) == [i * 50 + j for i in range(50) for j in range(i + 1, 50)]


def test_pixels_must_confirm_what_the_hash_suspects() -> None:
    rng = np.random.default_rng(1)
    thumbnails = rng.integers(0, 256, (3, 361), dtype=np.uint8)
    thumbnails[1] = np.clip(thumbnails[0].astype(int) // 2 + 20, 0, 255)  # darker, flatter, the same picture
    pairs = near_identical(np.zeros(3, np.uint64), thumbnails, NearIdenticalSettings(distance=2, correlation=0.98))
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])


def test_flat_pictures_are_alike_only_if_they_are_the_same() -> None:
    thumbnails = np.array([[10] * 361, [10] * 361, [200] * 361], np.uint8)
    pairs = near_identical(np.zeros(3, np.uint64), thumbnails, NearIdenticalSettings(distance=0, correlation=0.98))
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])


def test_no_picture_and_one_picture_have_no_pairs() -> None:
    settings = NearIdenticalSettings(distance=8, correlation=0.98)
    for count in (0, 1):
        assert len(near_identical(np.zeros(count, np.uint64), np.zeros((count, 361), np.uint8), settings)) == 0


def test_a_crowd_of_pictures_that_look_the_same_is_named_before_its_pairs_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phash = np.random.default_rng(3).integers(0, 2**63, 100, dtype=np.uint64)
    phash[10:50] = phash[10]  # of 780 pairs
    phash[50] = phash[51] = phash[10] ^ np.uint64(0b101)  # and of 80 + 1, where so much is allowed
    names = [f"p/{number}.jpg" for number in range(100)]
    for distance, pairs, alike in ((0, 781, 40), (3, 861, 42)):
        settings = NearIdenticalSettings(distance=distance, correlation=0.98)
        monkeypatch.setattr(duplicates, "MOST_PAIRS", pairs)
        assert len(near_identical(phash, np.zeros((100, 361), np.uint8), settings, names)) == pairs
        monkeypatch.setattr(duplicates, "MOST_PAIRS", pairs - 1)
        for given, name in ((names, "p/10.jpg"), (None, f"that with the phash {phash[10]}")):
            with pytest.raises(SourceError) as caught:
                near_identical(phash, np.zeros((100, 361), np.uint8), settings, given)
            told = f"{alike} pictures look like {name}, and more than {pairs - 1} pairs are near-identical; "
            assert caught.value.message.startswith(told)


def test_groups_are_connected_components() -> None:
    labels = groups(5, np.array([0, 1]), np.array([1, 3]))
    assert labels[0] == labels[1] == labels[3]
    assert len(set(labels.tolist())) == 3
