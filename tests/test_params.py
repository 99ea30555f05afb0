"""Settings: read, frozen, and refused with a line that says what is wrong."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from faceline.errors import SettingsError
from faceline.params import Settings, chosen, parse_settings, read_settings, section


class Toy(Settings):
    size: int
    name: str = "x"
    bound: float = 0.0
    inner: Annotated[tuple["Toy", ...], Field(min_length=1)] = ()


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(
        "dataset: a\nrecipe: r\ndatasets: {a: {toy: {size: 3}}, b: {toy: {size: x, colour: red}}}\nrecipes: {r: {}}\n"
    )
    return path


def test_a_section_is_read_as_its_class_and_frozen(params: Path) -> None:
    toy = read_settings(Toy, "datasets", "a", "toy", path=params)
    assert toy == Toy(size=3)
    with pytest.raises(ValidationError):
        toy.size = 4  # type: ignore[misc]


def test_every_fault_is_named_with_its_key_and_value(params: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(Toy, "datasets", "b", "toy", path=params)
    assert "datasets.b.toy.size = 'x'" in caught.value.message
    assert "datasets.b.toy.colour is not a setting (its value: 'red')" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_a_number_is_finite(bound: float) -> None:
    """A bound of NaN would let everything pass."""
    with pytest.raises(SettingsError, match=r"toy.bound = (nan|inf): input should be a finite number"):
        parse_settings(Toy, {"size": 1, "bound": bound}, "toy")


def test_a_fault_inside_a_list_is_told_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings(Toy, {"size": 1, "inner": [{"size": "x"}]}, "toy")
    assert "toy.inner.0.size = 'x'" in caught.value.message
    assert "at least 1 item" not in caught.value.message
    with pytest.raises(SettingsError, match="at least 1 item"):
        parse_settings(Toy, {"size": 1, "inner": []}, "toy")


def test_an_unknown_name_is_answered_with_those_that_there_are(params: Path) -> None:
    params.write_text(params.read_text().replace("dataset: a", "dataset: c"))
    with pytest.raises(SettingsError, match="'c' is not in 'datasets'; allowed: a, b"):
        chosen(params)


def test_the_choice(params: Path) -> None:
    assert chosen(params) == ("a", "r")


@pytest.mark.parametrize(
    ("text", "message"), [(b"a: [", "is not valid YAML"), (b"a: \xff", "is not valid YAML"), (None, "is missing")]
)
def test_a_file_that_cannot_be_read(params: Path, text: bytes | None, message: str) -> None:
    if text is None:
        params.unlink()
    else:
        params.write_bytes(text)
    with pytest.raises(SettingsError, match=message):
        chosen(params)


def test_settings_are_read_anew_and_are_the_readers_own(params: Path) -> None:
    section("datasets", "a", path=params)["toy"] = None
    assert section("datasets", "a", path=params) == {"toy": {"size": 3}}
    params.write_text("datasets: {a: {toy: {size: 4}}}")
    assert section("datasets", "a", path=params) == {"toy": {"size": 4}}
