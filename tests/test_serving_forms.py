"""Multipart forms as they come over the wire: what they hold, and when one that holds something else is refused."""

import gc
import tracemalloc

import pytest

from serving.forms import PictureForm
from serving.problems import ProblemError

PART = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
MEBIBYTE = 2**20


def form(most: int = 2, max_bytes: int = 100) -> PictureForm:
    return PictureForm(b"x", "picture", most, max_bytes)


def refused(form: PictureForm, body: bytes) -> str:
    """What a form that is refused at the last byte of `body`, and no sooner, is told."""
    form.write(body[:-1])
    with pytest.raises(ProblemError) as caught:
        form.write(body[-1:])
    return f"{caught.value.problem.status} {caught.value.problem.detail}"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 50, 1000])
def test_pictures_are_the_same_however_their_bytes_come(step: int) -> None:
    first, second = b"\r\n--y\r\n\x00-", bytes(range(100))
    header = PART.replace(b"--x\r\n", b'--x\r\nX-Unknown: "\r\n')
    header = header.replace(b"\r\n\r\n", b'\r\nContent-Type: text/plain; name="other"\r\n\r\n')
    body = header + first + b"\r\n" + PART + second + b"\r\n--x--\r\n"
    reading = form()
    for start in range(0, len(body), step):
        reading.write(body[start : start + step])
    assert reading.pictures() == [first, second]


def test_a_part_that_does_not_belong_is_refused_before_its_bytes() -> None:
    photo = PART.replace(b"picture", b"photo")
    assert refused(form(), photo) == "422 the file 'photo' was sent; allowed: the file 'picture'"
    field = PART.replace(b'; filename="a"', b"")
    assert refused(form(), field) == "422 the field 'picture' was sent; allowed: the file 'picture'"
    nameless = b"--x\r\nContent-Type: image/png\r\n\r\n"
    assert "the field ''" in refused(form(), nameless)
    assert "the field ''" in refused(form(), PART + b"\r\n" + nameless)  # the name of the part before is not its own


def test_one_file_too_many_is_refused_before_its_bytes() -> None:
    assert refused(form(most=2), 2 * (PART + b"\r\n") + PART) == "422 more than 2 files"


def test_a_picture_is_refused_at_the_first_byte_too_many() -> None:
    assert refused(form(max_bytes=100), PART + bytes(101)) == "413 more than 100 bytes"
    whole = form(max_bytes=100)
    whole.write(PART + bytes(100) + b"\r\n--x--")
    assert whole.pictures() == [bytes(100)]


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"", "does not end"), (PART + b"abc", "does not end"), (b"--x--\r\n", "nothing was uploaded")],
)
def test_a_form_without_a_picture_or_without_an_end(body: bytes, told: str) -> None:
    reading = form()
    reading.write(body)
    with pytest.raises(ProblemError, match=told):
        reading.pictures()


def test_a_boundary_that_is_too_long() -> None:
    with pytest.raises(ProblemError, match="bad_form"):
        PictureForm(b"x" * 1000, "picture", 1, 1)


def test_the_bytes_of_a_picture_are_held_once() -> None:
    reading, chunk = form(max_bytes=9 * MEBIBYTE), bytes(65536)
    tracemalloc.start()
    try:
        reading.write(PART)
        for _ in range(128):
            reading.write(chunk)
        reading.write(b"\r\n--x--")
        (picture,) = reading.pictures()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(picture) == 8 * MEBIBYTE
    assert peak < 9.5 * MEBIBYTE


def test_the_bytes_of_a_form_are_gone_with_its_block() -> None:
    gc.disable()
    tracemalloc.start()
    try:
        with form(max_bytes=9 * MEBIBYTE) as reading:
            reading.write(PART)
            reading.write(bytes(8 * MEBIBYTE))
        del reading
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < MEBIBYTE
