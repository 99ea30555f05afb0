"""The report's figures: what they tell in words beside numbers worked out by hand, and lines that can be told apart."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from faceline.evaluation import figures
from faceline.evaluation.judged import Judged
from tests.answers import predictions, wrong_genders

COLOUR_BLIND = {  # linear RGB as people without one of three cones see it: Machado, Oliveira and Fernandes 2009
    "nobody": np.eye(3),
    "red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]),
    "blue": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
# Years off: five rows each by 1, 2, 4, 5, 7, 10, 11 and 20, three quarters of them too old.
ERRORS = [1, 2, 4, -5, 7, 10, 11, -20]


def judged(**changes: Any) -> Judged:
    return Judged.of(predictions(**changes))


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    x, y, z = np.cbrt(np.clip(TO_XYZ @ rgb / np.array([0.9505, 1, 1.089]), 0.008856, None))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("lacking", COLOUR_BLIND)
def test_colours_of_networks_differ_to_everybody_and_from_paper(lacking: str) -> None:
    seen = [lab(COLOUR_BLIND[lacking] @ linear(colour)) for colour in figures.NETWORKS]
    gaps = [np.linalg.norm(one - other) for place, one in enumerate(seen) for other in seen[:place]]
    assert min(gaps) > 25  # 2.3 can just be seen
    assert all(1.05 / (TO_XYZ[1] @ linear(colour) + 0.05) > 3 for colour in figures.NETWORKS)  # WCAG 2.1, 1.4.11


def test_each_network_of_an_ensemble_has_lines_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[tuple[Any, ...]] = []
    plot = Axes.plot

    def watched(axes: Axes, *given: Any, **look: Any) -> Any:
        looks.append((given[-1], look["color"], look["marker"]))
        return plot(axes, *given, **look)

    monkeypatch.setattr(Axes, "plot", watched)
    epochs = [{"network": f"n{n}", "epoch": e, "mae": 9.0 - e, "val_mae": 9.5 - e} for n in range(9) for e in (1, 2)]
    figures.learning_curve(pd.DataFrame(epochs), "mae")
    assert len(looks) == len(set(looks)) == 18
    assert len({look[1:] for look in looks}) == 9


def test_a_learning_curve_tells_where_each_line_begins_and_ends() -> None:
    epochs = [{"network": "a", "epoch": e, "mae": 9.0 - e, "val_mae": 9.25 - e} for e in (1, 2, 3)]
    picture = figures.learning_curve(pd.DataFrame(epochs), "mae")
    assert picture.alt == "mae by epoch. a, training: from 8 to 6; a, validation: from 8.25 to 6.25."


def test_cumulative_scores_tell_shares_and_quartiles() -> None:
    picture = figures.cumulative_scores(judged(age_predicted=[30.0 + error for error in ERRORS] * 5))
    # Of 40 sorted errors five each; the quartile at place 9.75 lies between 2 and 4, that at 29.25 between 10 and 11.
    assert picture.alt == (
        "Cumulative scores: 50% of the ages within 5 years, 75% within 10; "
        "quartiles of the error 3.5 / 6.0 / 10.2 years, largest 20.0."
    )


def test_errors_of_age_tell_their_median_and_how_many_are_too_old() -> None:
    picture = figures.error_histogram(judged(age_predicted=[30.0 + error for error in ERRORS] * 5))
    assert picture.alt == "Errors of age: median +3.0 years; 75% of the answers are too old."


def test_a_confusion_matrix_tells_the_share_that_is_right_of_each_label() -> None:
    picture = figures.confusion(judged(female_probability=wrong_genders(10)), "gender")
    assert picture.alt == "Confusion matrix of gender. Right: male 75% of 20; female 75% of 20."


def test_ages_tell_their_quartiles() -> None:
    picture = figures.age_before_after(pd.Series([10, 20, 30, 40, 50]), pd.Series([20, 30, 40]))
    before = "5 rows, half of them from 20 to 40 years, median 30"
    assert picture.alt == f"Ages before cleaning: {before}. After: 3 rows, half of them from 25 to 35 years, median 30."


def test_a_reliability_diagram_tells_both_errors() -> None:
    picture = figures.reliability_diagram(judged(), "gender", 0.5)
    # Given with .9 and all right; odds of 9 to 1 are those of 3 to 1, squared.
    assert "on 40 pictures" in picture.alt
    assert picture.alt.endswith("without temperature: ECE 25.0%; as given: ECE 10.0%.")
