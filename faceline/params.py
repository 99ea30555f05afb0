"""Reading settings from params.yaml: typed, frozen, and refused at once when they make no sense.

A settings class stands beside the code that it sets and derives from `Settings`; a stage reads its own, once:

    settings = read_settings(CleanSettings, "datasets", dataset, "clean")

An unknown key or a value out of range raises `SettingsError` naming the key, the value and what is allowed.
"""

import copy
import functools
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from faceline.errors import SettingsError

PARAMS = Path("params.yaml")


class Settings(BaseModel):
    """Base of every settings class: frozen, typed, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


def read_settings(model: type[S], *keys: str, path: Path = PARAMS) -> S:
    """The section of params.yaml under `keys`, as `model`.

    Raises:
        SettingsError: the section is missing (the message lists its neighbours), or a key or value is not allowed.
    """
    return parse_settings(model, section(*keys, path=path), ".".join(keys), path)


def parse_settings(model: type[S], values: Any, name: str, path: Path = PARAMS) -> S:
    """`values` as `model`; `name` is the dotted key that error messages begin with."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors()
        # Of a list whose only item is wrong pydantic says besides that it is too short.
        short = [item for item in faults if item["type"] == "too_short" and _inside(item["loc"], faults)]
        told = [_explain(name, item) for item in faults if item not in short]
        raise SettingsError(f"{path}: " + "; ".join(told)) from None


def section(*keys: str, path: Path = PARAMS) -> Any:
    """The plain value under `keys`; SettingsError lists what there is where one of them is missing."""
    value = _load(path)
    for depth, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            where = ".".join(keys[:depth]) or str(path)
            there = ", ".join(sorted(map(str, value))) if isinstance(value, dict) else repr(value)
            raise SettingsError(f"{path}: {key!r} is not in {where!r}; allowed: {there}")
        value = value[key]
    return copy.deepcopy(value)


def chosen(path: Path = PARAMS) -> tuple[str, str]:
    """The names of the chosen dataset and recipe."""
    dataset, recipe = section("dataset", path=path), section("recipe", path=path)
    section("datasets", str(dataset), path=path)
    section("recipes", str(recipe), path=path)
    return str(dataset), str(recipe)


def _load(path: Path) -> Any:
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path} is missing; run from the root of the project") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None


@functools.lru_cache(maxsize=1)  # a stage reads some twenty sections of one text
def _parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _inside(place: tuple[int | str, ...], faults: list[Any]) -> bool:
    """Whether one of the faults lies below `place`."""
    return any(len(item["loc"]) > len(place) and item["loc"][: len(place)] == place for item in faults)


def _explain(name: str, item: Any) -> str:
    """One of pydantic's errors as `key = value: what is wrong`."""
    key = ".".join([name, *(str(part) for part in item["loc"])])
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        return f"{key} is not a setting (its value: {item['input']!r})"
    if item["type"] == "missing":
        return f"{key} is missing"
    return f"{key} = {item['input']!r}: {message[:1].lower()}{message[1:]}"
