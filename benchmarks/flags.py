"""How often an audit flags what is stated truly, and what is stated falsely.

Takes labels with a bundle's answers beside them, as `evaluate` writes them, of pictures that the bundle was neither
trained nor calibrated on. First the labels are what is stated: what is flagged is flagged falsely, or has a wrong
label. Then the other gender is stated, or an age that is years off. Prints shares of the rows that state so.

    python -m benchmarks.flags data/evaluate/predictions.parquet --bundle models/bundle --json
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

from faceline.audit.judging import Codes, Statements
from faceline.audit.verdicts import category, holm
from faceline.cli import BUNDLES
from faceline.console import load_tensorflow
from faceline.datasets.labels import OLDEST
from faceline.evaluation.comparing import read_predictions
from faceline.evaluation.judged import Judged
from faceline.evaluation.slices import groups
from faceline.learning.card import Nonconformity, read_card

if TYPE_CHECKING:  # it imports TensorFlow
    from faceline.learning.answering import Answers

ROOT = Path(__file__).parent.parent
OFF = (10, -10, 20, -20, 30, -30)  # years from the label
ADOLESCENTS, ADULT = (10, 15), 18  # years: who may say to be grown up, and the age that they state

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Pictures:
    """Labels and answers of n pictures, all known, and the calibration of the bundle's card."""

    judged: Judged
    answers: "Answers"
    calibration: Nonconformity

    def flagged(self, rate: float, ages: Codes | None, genders: Codes | None, target: str | None = None) -> Mask:
        """Whether what is stated is flagged, (n,); of a `target`, whether that is."""
        nothing = np.full(len(self.judged.age), -1)
        ages, genders = (nothing if codes is None else codes for codes in (ages, genders))
        statements = Statements.of(ages, genders, self.answers, self.calibration)
        found = [category(holm(statements.p_values_of(number)), rate) for number in range(len(nothing))]
        wanted = ("contradicts_both", f"contradicts_{target}") if target else ()
        return np.array([name in wanted if wanted else name != "consistent" for name in found])

    def of_true(self, rate: float) -> dict[str, dict[str, float]]:
        """The flagged share of each group, by what is stated: `true age`, `true gender`, `both true`."""
        ages, genders = self.judged.age.astype(int), self.judged.gender.astype(int)
        stated = {"both true": (ages, genders), "true age": (ages, None), "true gender": (None, genders)}
        masks = {"all": np.full(len(ages), True)} | {
            name: mask for by_name in groups(self.judged).values() for name, mask in by_name.items()
        }
        flags = {name: self.flagged(rate, *codes) for name, codes in stated.items()}
        return {name: {group: share(flag, mask) for group, mask in masks.items()} for name, flag in flags.items()}

    def of_false(self, rate: float) -> dict[str, float]:
        """The share flagged as what is false, by what that is; the other statement is true."""
        ages, genders = self.judged.age.astype(int), self.judged.gender.astype(int)
        other = self.flagged(rate, ages, 1 - genders, "gender")
        found = {
            "other gender, 0-8": share(other, ages < 9),
            "other gender, 9-19": share(other, (ages >= 9) & (ages < 20)),
            "other gender, 20+": share(other, ages >= 20),
        }
        for off in OFF:
            stated = ages + off
            possible = (stated >= 0) & (stated <= OLDEST)
            flags = self.flagged(rate, np.where(possible, stated, ages), genders, "age")
            found[f"{off:+d} years"] = share(flags, possible)
        grown = self.flagged(rate, np.full_like(ages, ADULT), genders, "age")
        low, high = ADOLESCENTS
        return found | {f"{low}-{high} years old, stating {ADULT}": share(grown, (ages >= low) & (ages <= high))}


def share(flags: Mask, rows: Mask) -> float:
    """Of the flagged among the rows; 0 where there are none."""
    return round(float(flags[rows].mean()), 4) if rows.any() else 0.0


def read(predictions: Path, bundle: Path) -> Pictures:
    """The pictures with labels and answers of age and gender."""
    load_tensorflow()
    from faceline.learning.answering import Answers

    calibration = read_card(bundle).nonconformity
    judged = Judged.of(read_predictions(predictions))
    judged = judged.where(judged.known("age") & judged.known("gender"))
    answers = Answers(age=judged.age_predicted, age_high=judged.age_high, female_probability=judged.female_probability)
    return Pictures(judged, answers, calibration or Nonconformity())


@click.command(help=__doc__)
@click.argument("predictions", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / BUNDLES[0], show_default=str(BUNDLES[0]))
@click.option("--rate", "rates", type=click.FloatRange(0, 1), multiple=True, default=(0.01, 0.05), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def main(predictions: Path, bundle: Path, rates: tuple[float, ...], as_json: bool) -> None:
    """Judge, print."""
    pictures = read(predictions, bundle)
    if not len(pictures.judged.age):
        raise click.ClickException(f"{predictions} has no row with labels and answers of age and gender")
    found = {f"{rate:g}": {**pictures.of_true(rate), "false": pictures.of_false(rate)} for rate in rates}
    if as_json:
        click.echo(json.dumps({"bundle": bundle.name, "rows": len(pictures.judged.age), "rates": found}, indent=2))
        return
    for at, by_statement in found.items():
        for stated, by_group in by_statement.items():
            told = "  ".join(f"{group} {value:.1%}" for group, value in by_group.items())
            click.echo(f"rate {at}, {stated}: {told}")


if __name__ == "__main__":
    main()
