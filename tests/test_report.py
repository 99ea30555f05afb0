"""The page and the card from small tables: whole, and with parts missing."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

from faceline.datasets.labels import TARGETS
from faceline.datasets.tables import SUSPECTS
from faceline.evaluation.card import model_card
from faceline.evaluation.judged import Judged
from faceline.evaluation.material import Material, gather
from faceline.evaluation.metrics import Constants, coverage, evaluate
from faceline.evaluation.page import page
from faceline.evaluation.pictures import ReportSettings, random_crops, suspect_crops, thumbnails, worst
from faceline.evaluation.sections import slice_rows, steps, verdicts
from faceline.evaluation.wording import FEW, gaps, words
from faceline.files import digest, read_json, read_table, write_json
from faceline.gates.verdict import Finding, Verdict
from stages import report as stage
from tests.builders import CONSTANTS, World, world

SECTIONS = ["steps", "gates", "labels", "by-gender", "crops", "learning"]
SECTIONS += ["metrics", "slices", "answers", "beliefs", "worst", "folds", "suspects", "reading"]
SETTINGS = ReportSettings(seed=1, grid=12, worst=5)
FAILED: dict[str, Any] = {
    "gate": "crop",
    "success": False,
    "skipped": [],
    "expectations": [
        {
            "expectation": "expect_column_values_to_be_between",
            "column": "sharpness",
            "expected": {"min_value": 4},
            "observed": {"unexpected": 2, "of": 55},
            "success": False,
            "share": 0.036,
            "examples": [{"image_id": "abc<b>", "sharpness": 1.5}],
            "reason": "a blurred face teaches nothing",
        }
    ],
}
CARD = {
    "shards": {"digest": "s" * 64},
    "licence": "Synthetic faces & nothing else",
    "dataset": "drawn",
    "recipe": {"name": "small", "digest": "r" * 64},
    "networks": [{"targets": ["age", "gender"], "parameters": 883746}],
    "age_interval": {"half_width": 8.25, "coverage": 0.9},
}


class Page(HTMLParser):
    """What a page holds: section ids, and every reference that a browser would follow."""

    def __init__(self, text: str):
        super().__init__()
        self.sections: list[str] = []
        self.references: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.references += [values[name] or "" for name in ("src", "href", "srcset", "data") if name in values]
        if tag == "section":
            self.sections.append(str(values["id"]))
        if tag == "img":
            self.images.append(values)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("project")
    tables = world(root / "data")
    models = root / "models"
    models.mkdir()
    (tables / "bundle").rename(models / "bundle")
    (tables / "history.csv").rename(models / "history.csv")
    metrics = evaluate(read_table(tables / "evaluate/predictions.parquet"), Constants(**CONSTANTS))
    write_json(models / "bundle/card.json", CARD)
    judged = {"metrics": {**metrics, "coverage": coverage(60, 58, 55)}, "bundle": digest(models / "bundle/card.json")}
    write_json(tables / "evaluate/summary.json", read_json(tables / "evaluate/summary.json") | judged)
    write_json(tables / "gates/crop.json", FAILED)
    return tables


@pytest.fixture(scope="module")
def material(made: World) -> Material:
    return gather(made.root, made.root.parent / "models")


@pytest.fixture(scope="module")
def text(material: Material) -> str:
    return page(material, "sample", "compact", SETTINGS)


def test_every_section_is_there(text: str) -> None:
    shown = Page(text)
    assert shown.sections == SECTIONS
    assert {f"#{name}" for name in SECTIONS} <= set(shown.references)


def test_nothing_is_loaded_from_anywhere(text: str) -> None:
    shown = Page(text)
    assert all(reference.startswith(("#", "data:")) for reference in shown.references)
    assert not shown.tags & {"script", "iframe", "object", "embed", "base"}
    assert not re.search(r"url\(|@import|https?://", text)


def test_every_picture_has_words(text: str) -> None:
    shown = Page(text)
    assert len(shown.images) > 12 + 10
    assert all(image.get("alt") for image in shown.images)


def test_the_same_tables_give_the_same_page(material: Material, text: str) -> None:
    assert page(material, "sample", "compact", SETTINGS) == text


def test_a_failed_gate_is_shown_with_its_rows_and_others_as_not_run(material: Material, text: str) -> None:
    assert "crop: failed" in text
    assert "image_id abc&lt;b&gt;, sharpness 1.5" in text
    assert text.count(": not run") == 7
    crop = next(verdict for verdict in verdicts(material.gates) if verdict.gate == "crop")
    assert (crop.met, crop.total) == (0, 1)


def test_without_cross_validation_the_page_says_how_to_do_it(text: str) -> None:
    assert text.count("python -m pipelines crossvalidate") == 2


def test_cross_validation_and_the_most_suspect_labels_are_shown(made: World, material: Material) -> None:
    names = [(target, rank) for target in ("age", "race") for rank in (2, 1, 3)]
    rows = [
        {"target": target, "rank": rank, "image_id": made.image_id(10 + rank), "path": "", "label": 2 + rank,
         "predicted": 1.0, "score": rank / 10}
        for target, rank in names
    ]  # fmt: skip
    assert [shown.lines for shown in suspect_crops(pa.Table.from_pylist(rows, SUSPECTS), "race", 2)] == [
        ("label indian", "predicted black", "score 0.100"),
        ("label other", "predicted black", "score 0.200"),
    ]
    age = {"mae": 5.0, "bias": -1.0}
    folds = {"recipe": "compact", "dataset": "sample", "rows": 55, "folds": [{}, {}], "shards": "s" * 64}
    folds |= {"mean": {"age": age}, "sd": {"age": {"mae": 0.25, "bias": 0.5}}}
    tables = {"crossvalidation": folds, "suspects": pa.Table.from_pylist(rows[:3], SUSPECTS)}
    text = page(replace(material, **tables), "sample", "compact", SETTINGS)
    assert "<td>Age: mean absolute error</td><td>5.00 years</td><td>0.25 years</td>" in text
    assert "<td>-1.00 years</td><td>0.50 years</td>" in text
    assert "pipelines crossvalidate" not in text and "other data than the bundle" not in text
    assert text.index("score 0.100") < text.index("score 0.200") and "predicted 1.0" in text
    crop = text.split("label 3</span>")[0].rpartition("<img src=")[2]
    assert crop.startswith('"data:image/jpeg') and made.image_id(11) in crop
    changed = page(replace(material, **{**tables, "crossvalidation": {**folds, "shards": "t"}}), "a", "b", SETTINGS)
    assert "other data than the bundle" in changed
    none = page(replace(material, **{**tables, "suspects": SUSPECTS.empty_table()}), "a", "b", SETTINGS)
    assert "Cross-validation has found none" in none


def test_without_predictions_the_page_says_so(material: Material) -> None:
    text = page(replace(material, predictions=None, metrics=None), "sample", "compact", SETTINGS)
    assert Page(text).sections == SECTIONS
    assert "There are no predictions yet." in text
    assert "There are no metrics yet." in text


def test_a_page_of_nothing_has_every_section(tmp_path: Path) -> None:
    nothing = gather(tmp_path / "data", tmp_path / "models")
    text = page(nothing, "sample", "compact", SETTINGS)
    assert Page(text).sections == SECTIONS
    assert Page(text).images == []
    assert "Not measured yet" in model_card(nothing, "sample", "compact")


def test_what_was_measured_of_another_bundle_is_not_shown(made: World, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    write_json(tmp_path / "bundle/card.json", {**CARD, "licence": "another"})
    newer = gather(made.root, tmp_path)
    assert (newer.metrics, newer.predictions) == (None, None) and "evaluate" not in newer.summaries
    assert "Not measured yet" in model_card(newer, "sample", "compact")
    assert Page(page(newer, "sample", "compact", SETTINGS)).sections == SECTIONS


def test_a_target_that_was_not_judged_is_not_drawn(material: Material) -> None:
    assert material.predictions is not None
    assert material.metrics is not None
    names = material.predictions.schema.names
    unknown = pa.nulls(len(material.predictions), pa.list_(pa.float32(), 5))
    predictions = material.predictions.set_column(names.index("race_probabilities"), "race_probabilities", unknown)
    metrics = {key: value for key, value in material.metrics.items() if key != "race"}
    text = page(replace(material, predictions=predictions, metrics=metrics), "sample", "compact", SETTINGS)
    assert "Confusion matrix of gender" in text
    assert "Confusion matrix of race" not in text
    assert "Race right" not in text


def test_rows_at_every_step_add_up(material: Material) -> None:
    found = {step.stage: step for step in steps(material.summaries)}
    assert list(found) == ["ingest", "clean", "detect", "crop", "split", "shard", "evaluate"]
    assert (found["ingest"].rows_in, found["ingest"].kept, found["ingest"].rejected) == (61, 60, [("empty_file", 1)])
    assert found["crop"].kept_share == 55 / 61
    for step in found.values():
        assert step.rows_in == step.kept + sum(count for _, count in step.rejected)


def test_a_skipped_rule_is_told() -> None:
    summary = {"rows_in": 3, "kept": 3, "rejected": {}, "skipped": {"second_face": "second_face_score"}}
    (step,) = steps({"clean": summary})
    assert step.notes == ["rule second_face skipped: the source has no second_face_score"]


def test_the_worst_come_first(material: Material) -> None:
    assert material.predictions is not None
    judged = Judged.of(material.predictions)
    ages = worst(judged, "age", 5)
    assert all(shown.lines[2] in ("error +2.0 years", "error -2.0 years") for shown in ages)
    wrong = {judged.image_id[row] for row in range(60) if judged.race[row] != judged.race_predicted[row]}
    assert {shown.image_id for shown in worst(judged, "race", 100)} == wrong
    assert worst(judged, "gender", 1)[0].lines[:2] == ("label male", "predicted female")


def test_the_grid_is_random_but_the_same(material: Material) -> None:
    first = random_crops(material.crops, material.kept, SETTINGS)
    assert first == random_crops(tuple(reversed(material.crops)), material.kept, SETTINGS)
    assert first != random_crops(material.crops, material.kept, SETTINGS.model_copy(update={"seed": 2}))
    assert len({shown.image_id for shown in first}) == 12
    assert set(thumbnails(material.crops, [shown.image_id for shown in first])) == {shown.image_id for shown in first}


def test_groups_keep_their_order_and_few_rows_are_marked(material: Material) -> None:
    assert material.metrics is not None
    shuffled = {"slices": {by: dict(sorted(groups.items())) for by, groups in material.metrics["slices"].items()}}
    rows = slice_rows(shuffled)
    assert [row["group"] for row in rows if row["by"] == "gender"] == ["male", "female"]
    assert [row["group"] for row in rows if row["by"] == "race"] == ["white", "black", "asian", "indian", "other"]
    assert all(row["few"] == (row["n"] < FEW) for row in rows)


def test_a_number_from_few_rows_is_marked_in_a_group_of_many(material: Material) -> None:
    many, few = {"accuracy": 0.9, "n": FEW}, {"accuracy": 0.7, "n": FEW - 1}
    age = {"mae": 4.0, "bias": 1.0, "interval_coverage": 0.8, "interval_width": 9.0, "n": FEW - 1}
    groups = {"male": {"age": age, "gender": many, "race": few}, "female": {"gender": few, "race": few}}
    metrics = {"slices": {"gender": groups}, "crossings": {"gender, race": {"male, white": groups["male"]}}}
    whole = replace(material, metrics={**(material.metrics or {}), **metrics})
    card, html = model_card(whole, "sample", "compact"), page(whole, "sample", "compact", SETTINGS)
    cells = "30 | 4.00 years \\* | +1.00 years \\* | 80.0% \\* | 9.00 years \\* | 90.0% | 70.0% \\* |"
    assert f"| gender: male | {cells}" in card and f"| gender, race: male, white | {cells}" in card
    assert "| gender: female | 29 \\* | – | – | – | – | 70.0% | 70.0% |" in card  # one mark for all of them
    unsure = "".join(f'<td class="few">{text}</td>' for text in ("4.00 years", "+1.00 years", "80.0%", "9.00 years"))
    assert f'<td>gender: male</td><td>30</td>{unsure}<td>90.0%</td><td class="few">70.0%</td></tr>' in html
    assert '<tr class="few"><td>gender: female</td><td>29</td><td>–</td>' in html


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (None, "years", "–"),
        (4.567, "years", "4.57 years"),
        (-0.001, "signed", "+0.00 years"),
        (0.9234, "share", "92.3%"),
        (0.434486, "share", "43.4%"),
        (0.98765, "number", "0.988"),
    ],
)
def test_numbers_bear_their_unit(value: float | None, unit: str, told: str) -> None:
    assert words(value, unit) == told


def test_crossings_gaps_and_intervals_are_shown_where_rows_are_enough(material: Material) -> None:
    assert material.predictions is not None
    many = pa.concat_tables([material.predictions] * 20)
    metrics = evaluate(many, Constants(**CONSTANTS), {"gender": 2.0})
    whole = replace(material, predictions=many, metrics=metrics)
    for text in (page(whole, "sample", "compact", SETTINGS), model_card(whole, "sample", "compact")):
        assert "Two labels at a time" in text
        assert "gender, race: male, white" in text
        assert all(gap in text for gap in gaps(metrics))
        assert re.search(r"Gender: accuracy *(\||</td><td>) *\d\d\.\d% *(\||</td><td>) *\d\d\.\d% to \d\d\.\d%", text)
    assert "Two labels at a time" not in page(material, "sample", "compact", SETTINGS)
    assert Page(page(whole, "sample", "compact", SETTINGS)).sections == SECTIONS


def test_the_largest_gap_is_among_groups_of_one_kind_with_rows_enough() -> None:
    def scores(accuracy: float, n: int = FEW) -> dict[str, dict[str, float]]:
        return {"gender": {"accuracy": accuracy, "n": n}}

    ages = {"0-8": scores(0.67), "9-19": scores(0.95), "60-69": scores(0.98), "80+": scores(0.1, FEW - 1)}
    slices = {"age": ages, "race": {"white": scores(0.5), "other": scores(0.6)}}
    assert gaps({"slices": slices}) == ["Gender right: 67.0% for age 0-8 (30) against 98.0% for age 60-69 (30)"]
    errors = {name: {"age": {"mae": mae, "n": FEW}} for name, mae in (("male, 0-8", 4.0), ("female, 0-8", 7.5))}
    assert gaps({"crossings": {"gender, age": errors}}) == [
        "Age error: 7.50 years for female, 0-8 (30) against 4.00 years for male, 0-8 (30)"
    ]
    assert gaps({"slices": {"age": {"0-8": scores(0.67)}}}) == []


def test_the_card_tells_what_matters(material: Material) -> None:
    card = model_card(material, "sample", "compact")
    for heading in ("Intended use", "Data and licence", "What the labels are", "Metrics", "Errors by group", "Limits"):
        assert f"\n## {heading}\n" in card
    assert "Synthetic faces & nothing else" in card
    assert "883,746 parameters" in card
    assert "| Gender: accuracy |" in card
    assert "drawn by a program" in card
    assert "drawn by a program" not in model_card(material, "utkface", "compact")
    assert all(target.capitalize() in card for target in TARGETS)


@pytest.mark.parametrize(
    ("bound", "observed", "told"),
    [
        ({"min_value": 0.98}, 0.979983, ("values to be between, min_value 0.98", "0.979983")),
        ({"max_value": 23704.5}, 23705.0, ("values to be between, max_value 23704.5", "23705.0")),
        ({"min_value": 4}, {"unexpected": 2, "of": 55}, ("values to be between, min_value 4", "unexpected 2, of 55")),
    ],
)
def test_a_failure_never_looks_as_if_it_were_met(bound: dict[str, float], observed: Any, told: tuple[str, str]) -> None:
    failed = {**FAILED["expectations"][0], "expected": bound, "observed": observed}
    (found,) = (each for each in verdicts({"crop": {**FAILED, "expectations": [failed]}}) if each.gate == "crop")
    (failure,) = found.failures
    assert (failure.what, failure.observed) == (f"sharpness: {told[0]}", told[1])
    kind, column = failed["expectation"], failed["column"]
    finding = Finding("faces", kind, column, bound, observed, False, 0.0, None, [], "why")
    assert (
        f"faces: sharpness: expected {told[0]}, observed {told[1]} (why)"
        in Verdict("crop", (finding,), {}, ()).failure()
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "± 8.2 years, for 90%"),
        ({"coverage": 0.995}, "± 8.2 years, for 99.5%"),
        ({"coverage": 0.29, "half_width": 3.96}, "± 4.0 years, for 29%"),
        ({"typical_deviation": 4.0}, "± 8.2 years, wider where the network is less sure, for 90%"),
        ({"typical_deviation": None}, "± 8.2 years, for 90%"),
    ],
)
def test_the_card_tells_how_wide_intervals_of_age_are(material: Material, changes: dict[str, Any], told: str) -> None:
    card = dict(material.card or {})
    card["age_interval"] = {**card["age_interval"], **changes}
    assert f"| interval of age | {told} |" in model_card(replace(material, card=card), "sample", "compact")


def test_the_card_tells_how_far_rare_labels_are_favoured(material: Material) -> None:
    networks = [
        {"targets": {"age": {}, "race": {"logit_adjustment": 0.3}}},
        {"targets": {"age": {"logit_adjustment": 0.1}}},
    ]
    adjusted = {**(material.card or {}), "recipe": {"settings": {"networks": networks}}}
    card = model_card(replace(material, card=adjusted), "sample", "compact")
    assert "| probabilities of race | divided by the race's share of the training rows to the power of 0.3 |" in card
    assert (
        "| probabilities of age | divided by the age's share of the training rows to the power of 0 and 0.1 |" in card
    )
    assert "to the power of" not in model_card(material, "sample", "compact")


def test_the_stage_writes_page_and_card(made: World, tmp_path: Path) -> None:
    options = ["--data", made.root, "--models", made.root.parent / "models"]
    options += ["--card", tmp_path / "CARD.md", "--output", tmp_path / "report"]
    result = CliRunner().invoke(stage.main, [str(option) for option in options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "report/index.html").stat().st_size > 10_000
    assert "<title>faceline: drawn, small</title>" in (tmp_path / "report/index.html").read_text()
    assert (tmp_path / "CARD.md").read_text().startswith("# Model card: small on drawn\n")  # not what is chosen
