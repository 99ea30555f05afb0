"""What may be tuned: the section `tune` of params.yaml, and recipes made of it."""

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

from optuna.trial import Trial
from pydantic import Field, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from faceline.errors import SettingsError
from faceline.files import atomic_file
from faceline.params import PARAMS, Settings


class Range(Settings):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    whole: bool = False  # integers alone

    @model_validator(mode="after")
    def _sound(self) -> "Range":
        if self.low >= self.high or (self.log and (self.low <= 0 or self.step)):
            raise ValueError("low must be below high; with log, low is above 0 and there is no step")
        return self

    def suggest(self, trial: Trial, name: str) -> Any:
        """A value for a trial."""
        if self.whole:
            return trial.suggest_int(name, round(self.low), round(self.high), log=self.log, step=round(self.step or 1))
        return trial.suggest_float(name, self.low, self.high, log=self.log, step=self.step)


class Choice(Settings):
    """One of some values; a value may be a whole group of settings."""

    choices: tuple[Any, ...] = Field(min_length=2)

    def suggest(self, trial: Trial, name: str) -> Any:
        """A value for a trial."""
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in self.choices]))


class TuneSettings(Settings):
    """The section `tune` of params.yaml."""

    study: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")  # also the name of the recipe that is found
    recipe: str  # where the search starts
    trials: int = Field(ge=1)  # in all, pruned ones included
    metric: str  # a column of models/history.csv
    direction: Literal["minimize", "maximize"]
    seed: int
    startup_trials: int = Field(ge=0)  # trials before any is pruned
    warmup_epochs: int = Field(ge=0)  # epochs of a trial before it may be pruned
    space: dict[str, Range | Choice] = Field(min_length=1)  # by the dotted place in the recipe


class _Representer(RoundTripRepresenter):
    """Writes null where ruamel would leave nothing, as params.yaml does."""


_Representer.add_representer(type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null"))


def require_space(settings: TuneSettings, base: Mapping[str, Any]) -> None:
    """Refuse a place in the space that the recipe cannot have, before any work."""
    for name in settings.space:
        try:
            changed(base, {name: None})
        except (LookupError, TypeError, ValueError):
            raise SettingsError(
                f"{PARAMS}: tune.space has {name}, which is no place in recipes.{settings.recipe}"
            ) from None


def changed(recipe: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with other values at dotted places; the number in a place is that of an item of a list."""
    new: dict[str, Any] = deepcopy(dict(recipe))
    for name, value in values.items():
        *above, last = name.split(".")
        where: Any = new
        for part in above:
            where = where[int(part)] if isinstance(where, list) else where[part]
        where[int(last) if isinstance(where, list) else last] = value
    return new


def write_recipe(path: Path, name: str, recipe: Mapping[str, Any], *, choose: bool) -> None:
    """Put a recipe into params.yaml beside the others, and choose it there or not; the rest stays as it is."""
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes, yaml.width = True, 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    params = yaml.load(path)
    params["recipes"][name] = dict(recipe)
    if choose:
        params["recipe"] = name
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)
