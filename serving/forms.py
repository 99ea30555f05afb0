"""The pictures of a multipart form, taken from its bytes as they come; what does not belong is refused at once."""

import io
from typing import Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.problems import ProblemError, too_large


def bad_form(detail: str) -> ProblemError:
    """A form that is none, or that holds something else than is asked for."""
    return ProblemError(422, "bad_form", "The form cannot be used", detail)


class PictureForm:
    """A form whose files `field` are pictures; each byte of them is held once, and by the form only within its block.

    Args:
        boundary: between the parts.
        field: the only name that a part may have.
        most: files.
        max_bytes: of a file.

    Raises:
        ProblemError: as `write`.
    """

    def __init__(self, boundary: bytes, field: str, most: int, max_bytes: int):
        self._field, self._most, self._max_bytes = field, most, max_bytes
        self._files: list[io.BytesIO] = []
        self._name, self._value = bytearray(), bytearray()  # of the header that is being read
        self._disposition = b""
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header,
                    "on_headers_finished": self._open,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise bad_form(str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The parser refers back to the form: left to the garbage collector, the bytes would stay for a while.
        self._files.clear()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            ProblemError: this is no form, it holds something else or too many files, or one has too many bytes.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise bad_form(str(error)) from None

    def pictures(self) -> list[bytes]:
        """The files, in the order sent; ProblemError where there is none or the form has no end."""
        if not self._ended:
            raise bad_form("it does not end with its boundary")
        if not self._files:
            raise bad_form(f"nothing was uploaded; allowed: {self._field!r}")
        return [file.getvalue() for file in self._files]  # not copied

    def _begin(self) -> None:
        self._disposition = b""

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name != self._field or b"filename" not in options:
            kind = "file" if b"filename" in options else "field"
            raise bad_form(f"the {kind} {name!r} was sent; allowed: the file {self._field!r}")
        if len(self._files) == self._most:
            raise bad_form(f"more than {self._most} files")
        self._files.append(io.BytesIO())

    def _data(self, data: bytes, start: int, end: int) -> None:
        file = self._files[-1]
        if file.tell() + end - start > self._max_bytes:
            raise too_large(self._max_bytes)
        file.write(memoryview(data)[start:end])

    def _end(self) -> None:
        self._ended = True
