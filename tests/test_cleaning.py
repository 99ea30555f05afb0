"""The cleaning rules, each on rows made to break it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from faceline.datasets.cleaning import CleanSettings, Verdict, apply_overrides, judge_labels, limit
from faceline.datasets.tables import OVERRIDES
from faceline.errors import SettingsError
from faceline.params import parse_settings

NEAR = {"distance": 8, "correlation": 0.98, "age_tolerance": 1, "contradicting": "report"}
SYSTEM_B = {
    "require": ["age", "gender"],
    "age": {"minimum": 9, "maximum": 99},
    "face_score": {"above": 1.0},
    "second_face": "reject",
    "near_identical": NEAR,
}


def settings(**changes: Any) -> CleanSettings:
    return parse_settings(CleanSettings, {**SYSTEM_B, **changes}, "clean")


def rows(*changes: dict[str, Any]) -> pd.DataFrame:
    """Rows that every rule keeps, but for the changes given to each."""
    plain = {"age": 30, "gender": 0, "race": 1, "face_score": 3.0, "second_face_score": None}
    frame = pd.DataFrame([{"image_id": f"{i:064x}", "path": f"p/{i}.jpg", **plain, **c} for i, c in enumerate(changes)])
    types = {"age": "Int16", "gender": "Int8", "race": "Int8", "face_score": float, "second_face_score": float}
    return frame.astype(types)


def overrides(*items: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(items), columns=OVERRIDES.names)


def judged(frame: pd.DataFrame, wrong: pd.DataFrame | None = None, **changes: Any) -> Verdict:
    return judge_labels(frame, overrides() if wrong is None else wrong, settings(**changes))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"gender": None}, "gender_unknown"),
        ({"age": None}, "age_unknown"),
        ({"age": -3}, "taken_before_birth"),
        ({"age": 8}, "age_below_minimum"),
        ({"age": 9}, None),
        ({"age": 99}, None),
        ({"age": 100}, "age_above_maximum"),
        ({"face_score": -np.inf}, "no_face_score"),
        ({"face_score": 1.0}, "low_face_score"),
        ({"face_score": 1.01}, None),
        ({"second_face_score": 2.5}, "second_face"),
        ({"race": None}, None),
    ],
)
def test_each_rule_names_its_reason(change: dict[str, Any], reason: str | None) -> None:
    verdict = judged(rows({}, change, {"second_face_score": 9.0}))
    assert verdict.reason[1] == reason or (reason is None and pd.isna(verdict.reason[1]))
    assert pd.isna(verdict.reason[0])
    assert reason is None or str(verdict.detail[1])


def test_a_rule_on_a_field_that_the_source_lacks_is_skipped_and_said() -> None:
    frame = rows({"face_score": None}, {"face_score": None, "age": 30})
    verdict = judged(frame)
    assert verdict.kept.all()
    assert verdict.skipped == {"face_score": "face_score", "second_face": "second_face_score"}


def test_a_rule_on_a_field_that_one_of_several_sources_lacks_is_skipped_for_its_rows() -> None:
    frame = rows({}, {"face_score": None}, {"path": "mine/1.jpg", "face_score": None})
    verdict = judged(frame)
    assert list(verdict.kept) == [True, False, True]
    assert verdict.skipped == {"face_score in mine": "face_score", "second_face": "second_face_score"}


def test_a_missing_score_is_no_face_when_other_rows_have_one() -> None:
    assert judged(rows({}, {"face_score": None})).reason[1] == "no_face_score"


def test_byte_identical_pictures_keep_one_when_their_labels_agree() -> None:
    verdict = judged(rows({"image_id": "a"}, {"image_id": "a"}, {"image_id": "a", "race": None}))
    assert [pd.isna(r) for r in verdict.reason] == [True, False, False]
    assert verdict.reason[1] == "duplicate"
    assert "p/0.jpg" in verdict.detail[1]


def test_byte_identical_pictures_keep_none_when_their_labels_contradict() -> None:
    verdict = judged(rows({"image_id": "a"}, {"image_id": "a", "age": 31}, {}))
    assert verdict.reason[:2].tolist() == ["contradicting_duplicate"] * 2
    assert "age" in verdict.detail[0]
    assert pd.isna(verdict.reason[2])


def test_a_copy_whose_label_would_be_rejected_still_contradicts() -> None:
    verdict = judged(rows({"image_id": "a"}, {"image_id": "a", "age": 5}))
    assert verdict.reason.tolist() == ["contradicting_duplicate"] * 2


def test_overrides_set_and_reject() -> None:
    wrong = overrides(
        {"path": "p/0.jpg", "action": "set", "gender": 1}, {"path": "p/1.jpg", "action": "reject", "note": "a statue"}
    )
    frame = apply_overrides(rows({}, {}, {}), wrong)
    assert frame["gender"].tolist() == [1, 0, 0]
    assert frame["age"].tolist() == [30, 30, 30]
    verdict = judge_labels(frame, wrong, settings())
    assert (verdict.reason[1], verdict.detail[1]) == ("overridden", "a statue")
    assert verdict.kept.tolist() == [True, False, True]


def test_thinning_keeps_a_stable_share_of_an_age_range() -> None:
    frame = rows(*({"age": 2} for _ in range(600)), *({"age": 40} for _ in range(50)))
    options = {"age": {"minimum": 0, "maximum": 80}, "thin": {"minimum": 0, "maximum": 4, "keep": 0.33}}
    verdict = judged(frame, **options)
    limit(verdict, settings(**options))
    young = verdict.kept[frame["age"] == 2]
    assert 0.25 < young.mean() < 0.41
    assert verdict.kept[frame["age"] == 40].all()
    half = frame.iloc[::2].reset_index(drop=True)
    again = judged(half, **options)
    limit(again, settings(**options))
    assert again.kept.tolist() == verdict.kept.iloc[::2].tolist()


def test_system_e_keeps_a_third_up_to_age_4_and_drops_above_80() -> None:
    frame = rows(*({"age": age} for age in (0, 4) for _ in range(300)), *({"age": age} for age in (5, 80, 81)))
    options = {"age": {"minimum": 0, "maximum": 80}, "thin": {"minimum": 0, "maximum": 4, "keep": 1 / 3}}
    verdict = judged(frame, **options)
    limit(verdict, settings(**options))
    for age in (0, 4):
        assert 0.25 < verdict.kept[frame["age"] == age].mean() < 0.42
    assert verdict.kept.iloc[-3:].tolist() == [True, True, False]
    assert verdict.reason.iloc[-1] == "age_above_maximum"


def test_the_cap_keeps_exactly_so_many_rows() -> None:
    frame = rows(*({} for _ in range(40)))
    verdict = judged(frame)
    limit(verdict, settings(max_rows=15))
    assert verdict.kept.sum() == 15
    assert set(verdict.reason.dropna()) == {"over_max_rows"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"age": {"minimum": 60, "maximum": 20}}, "clean.age = .*minimum 60 is above maximum 20"),
        ({"age_range": [9, 99]}, "clean.age_range is not a setting"),
        ({"age": {"minimum": -1, "maximum": 20}}, "clean.age.minimum = -1"),
        ({"require": ["hair"]}, "clean.require.0 = 'hair'"),
        ({"second_face": "maybe"}, "'reject' or 'keep'"),
    ],
)
def test_a_bad_setting_names_the_key_the_value_and_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**changes)
