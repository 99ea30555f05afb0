"""Levels in stacks and on sheets: everything once, nothing over anything else, and no answer lost at a seam."""

import numpy as np
import pytest

from faceline.faces.mtcnn import sheets
from faceline.faces.mtcnn.sheets import Piece, answers, drawn, gathered, laid_out, pieces, stacked


def test_answers_along_a_side() -> None:
    # A window of 12 every 2 pixels; at an odd edge pooling takes half a window more.
    assert [answers(side) for side in (0, 8, 10, 11, 12, 13, 14, 15, 16)] == [0, 0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("side", [*range(11, 60), 510, 511, 512, 513, 514, 522, 523, 1014, 1015, 1500])
def test_pieces_give_each_answer_once(side: int) -> None:
    cut = list(pieces(0, side, 40))
    assert all(piece.top % 2 == piece.left % 2 == 0 for piece in cut)
    assert all(piece.height <= sheets.SIDE and piece.top + piece.height <= side for piece in cut)
    rows = [piece.top // 2 + row for piece in cut for row in range(answers(piece.height))]
    # Pieces inside end on an even row, so none of their answers comes of half a window.
    assert sorted(set(rows)) == list(range(answers(side)))
    assert len(rows) == len(set(rows))


def test_stacks_are_of_equal_levels_and_of_equal_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "STACK", 3)
    monkeypatch.setattr(sheets, "STACK_PIXELS", 4000)
    shapes = [(20, 30)] * 7 + [(30, 20)] * 2 + [(40, 50)] * 3 + [(80, 80)] * 2 + [(10, 10)] * 9
    stacks, loose = stacked(shapes)
    assert stacks == [[0, 1, 2], [3, 4, 5], [9, 10]]
    assert loose == [6, 7, 8, 11, 12, 13, *range(14, 23)]


def test_nothing_lies_over_anything_and_everything_comes_back() -> None:
    rng = np.random.default_rng(4)
    levels = [rng.random((int(h), int(w), 3), np.float32) for h, w in rng.integers(12, 700, (40, 2))]
    cut = [piece for index, level in enumerate(levels) for piece in pieces(index, *level.shape[:2])]
    laid = laid_out(cut)
    assert sorted(placed.piece for sheet in laid for placed in sheet) == sorted(cut)
    found = [[np.full((answers(level.shape[0]), answers(level.shape[1]), 3), np.nan)] for level in levels]
    for sheet in laid:
        taken = np.zeros((sheets.SIDE, sheets.SIDE), int)
        for piece, y, x in sheet:
            assert y % 2 == x % 2 == 0
            taken[y : y + piece.height, x : x + piece.width] += 1
        assert taken.max() == 1
        pixels, masks = drawn([sheet], levels)
        assert masks.shape == (1, pixels.shape[1] - 2, pixels.shape[2] - 2, 1)
        gathered(sheet, [pixels[0, ::2, ::2]], found)  # of each answer the first pixel that it sees
    for level, (corner,) in zip(levels, found, strict=True):
        rows, columns = corner.shape[:2]
        assert np.array_equal(corner, level[::2, ::2][:rows, :columns])


def test_a_sheet_that_is_not_full_is_short_and_its_mask_keeps_neighbours_apart() -> None:
    levels = [np.ones((13, 20, 3), np.float32), np.full((12, 12, 3), 2, np.float32)]
    (sheet,) = laid_out([Piece(0, 0, 0, 13, 20), Piece(1, 0, 0, 12, 12)])
    pixels, masks = drawn([sheet], levels)
    assert pixels.shape == (1, sheets.STEP, sheets.SIDE, 3)
    through = masks[0, ..., 0] > 0
    assert through.sum() == 11 * 18 + 10 * 10
    assert through[:11, :18].all() and not through[11:].any() and not through[:, 18:20].any()
    assert through[:10, 20:30].all()
