"""The steps of cross-validation on toy shards: folds share no group, every row is answered, a kill costs little."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from faceline import crossvalidate
from faceline.crossvalidate import main
from faceline.datasets.folding import FoldSettings, part_of, subset_of
from faceline.datasets.records import ShardSettings, read_manifest, read_rows
from faceline.datasets.sources.extras import read_overrides
from faceline.datasets.tables import ASSIGNMENT, KEPT, OUT_OF_FOLD, OVERRIDES, SUBSETS, SUSPECTS
from faceline.errors import SettingsError
from faceline.files import digest, read_json, read_table, sha256_file, write_json, write_table
from faceline.gates.passes import write_pass
from faceline.params import section
from stages import train
from tests.builders import table
from tests.imports import ROOT
from tests.toy_bundle import write_toy_bundle
from tests.toys import RECIPE, ROWS, SIDE, network, recipe, rows, write_shards

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
PLAN = Path("data") / crossvalidate.PLAN
REVIEWED = "toy/0-0"
SMOTE = {"learner": "smote", "k_neighbors": 7}  # enough rows of each race for it, but not in a fold


class KilledError(Exception):
    """Stands for a kill: the process ends where it is raised."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with toy tables that have passed their gates: 72 rows in groups of two, two folds."""
    monkeypatch.chdir(tmp_path)
    write_shards(Path("data/shards"), ShardSettings(formats=("tfrecord", "parquet"), rows=20, seed=1))
    found = [row for seed, count in enumerate(ROWS.values()) for row in rows(count, seed)]
    kept = pd.DataFrame(found).assign(path=lambda frame: "toy/" + frame["image_id"])
    number = np.arange(len(kept)) // 2
    assignment = kept.assign(group=[f"group-{n}" for n in number], fold=number % 2, subset="train")
    write_table(Path("data/clean/kept.parquet"), table(kept, KEPT), KEPT)
    write_table(Path("data/split/assignment.parquet"), table(assignment, ASSIGNMENT), ASSIGNMENT)
    overrides = pd.DataFrame({"path": [REVIEWED], "action": ["set"]})
    write_table(Path("data/ingest/overrides.parquet"), table(overrides, OVERRIDES), OVERRIDES)
    for gate, folder in (("clean", "clean"), ("split", "split"), ("shard", "shards")):
        write_pass(Path("data/gates"), gate, Path("data") / folder)
    write_params()
    yield tmp_path
    assert not list(tmp_path.rglob("*.partial"))


def write_params(**changes: Any) -> None:
    whole = RECIPE["networks"][0]
    two = [{**whole, "targets": {name: whole["targets"][name]}} for name in ("age", "gender")]
    dataset = section("datasets", "sample", path=ROOT / "params.yaml")
    dataset["crop"]["size"] = SIDE
    params = {
        "dataset": "toy",
        "recipe": "two",
        "datasets": {"toy": dataset},
        "shard": {"formats": ["tfrecord", "parquet"], "rows": 20, "seed": 1},
        "hardware": section("hardware", path=ROOT / "params.yaml"),
        "crossvalidate": {"validation": 0.25, "seed": 1},
        "suspects": {"age_error": 0.5, "most": 5},
        "recipes": {"two": {**RECIPE, "networks": two, "epochs": 2}},
    }
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(params | changes, file)


def step(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def train_fold(entry: dict[str, Any]) -> Result:
    options = {name: entry[name] for name in ("shards", "gates", "history")}
    given = {**options, "output": entry["bundle"], "store": "data/store/train"}
    return CliRunner().invoke(train.main, [f"--{name}={value}" for name, value in given.items()])


def folds() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(PLAN)["folds"]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_group_is_on_one_side_alone(seed: int) -> None:
    random = np.random.default_rng(seed)
    fold_of = {f"{seed}-{group}": int(random.integers(5)) for group in range(200)}
    settings = FoldSettings(validation=0.2, seed=seed)
    units = {group: f"{fold}-{part_of(group, settings)}" for group, fold in fold_of.items()}
    for held in range(5):
        subsets = {group: subset_of(unit, held) for group, unit in units.items()}
        assert {group for group, name in subsets.items() if name == "test"} == {
            g for g, f in fold_of.items() if f == held
        }
        assert 0.1 < np.mean([name == "val" for name in subsets.values() if name != "test"]) < 0.3


def test_the_shards_of_a_fold_hold_every_row_once_and_no_group_twice(project: Path) -> None:
    result = step("prepare")
    assert result.exit_code == 0 and "2 folds, 0 of them done" in result.output, result.output
    split = read_table(Path("data/split/assignment.parquet")).to_pandas().set_index("image_id")
    whole = {row["image_id"]: row for name in SUBSETS for row in read_rows(Path("data/shards"), name)}
    for entry in folds():
        shards = Path(entry["shards"])
        found = {name: list(read_rows(shards, name)) for name in SUBSETS}
        assert {name: len(subset) for name, subset in found.items()} == read_manifest(shards)["rows"] == entry["rows"]
        everything = [row for subset in found.values() for row in subset]
        assert len(everything) == 72 and {row["image_id"]: row for row in everything} == whole
        groups = {name: set(split["group"].loc[[row["image_id"] for row in subset]]) for name, subset in found.items()}
        assert not groups["train"] & groups["val"] and not (groups["train"] | groups["val"]) & groups["test"]
        assert {split["fold"][row["image_id"]] for row in found["test"]} == {entry["fold"]}
        for file in read_manifest(shards)["files"]:
            assert sha256_file(shards / file["file"]) == file["sha256"] and file["rows"] <= 20
        counted = read_manifest(shards)["label_counts"]["train"]["gender"]
        assert counted == {str(g): sum(row["gender"] == g for row in found["train"]) for g in (0, 1)}


def test_from_folds_to_metrics_and_suspects_also_after_a_kill(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step("prepare")
    first, second = folds()

    def die(line: str, err: bool) -> None:
        if "epoch 1/" in line:  # its checkpoint is there
            raise KilledError(line)

    with monkeypatch.context() as patched:
        patched.setattr("stages.train.click.echo", die)
        killed = train_fold(first)
    assert isinstance(killed.exception, KilledError), killed.output
    resumed = train_fold(first)
    assert resumed.exit_code == 0, resumed.output
    assert "system_d-age: epoch 2/2" in resumed.output and "system_d-age: epoch 1/2" not in resumed.output
    unseen = step("conclude")
    assert unseen.exit_code == 2 and "fold 0, 1 has no answers yet" in unseen.output
    assert step("answer", "0").exit_code == 0
    assert not Path(first["bundle"]).exists()
    before = digest(Path(first["answers"]).parents[1])
    assert "2 folds, 1 of them done" in step("prepare").output
    assert digest(Path(first["answers"]).parents[1]) == before
    assert train_fold(second).exit_code == 0 and step("answer", "1").exit_code == 0
    done = step("conclude")
    assert done.exit_code == 0, done.output
    assert "Age: mean absolute error" in done.output
    check_results(Path("data/crossvalidate"))
    lost = read_table(Path("data/split/assignment.parquet"))[1:]
    write_table(Path("data/split/assignment.parquet"), lost, ASSIGNMENT)
    stale = step("conclude")
    assert stale.exit_code == 2 and "the folds answered other pictures than are assigned now" in stale.output


@pytest.mark.parametrize("changed", ["recipe", "dataset"])
def test_a_fold_that_was_trained_with_settings_changed_meanwhile_is_refused(project: Path, changed: str) -> None:
    step("prepare")
    plan, (first, _) = read_json(PLAN), folds()
    bundle = Path(first["bundle"])
    bundle.parent.mkdir()
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    card = read_json(write_toy_bundle(bundle) / "card.json")
    if changed == "recipe":
        card["dataset"] = plan["dataset"]
    else:
        card["recipe"]["digest"] = plan["recipe_digest"]
    write_json(bundle / "card.json", card)
    refused = step("answer", "0")
    assert refused.exit_code == 2, refused.output
    assert "the settings in params.yaml changed during the run" in refused.output
    assert not bundle.exists() and not Path(first["answers"]).exists()


def check_results(folder: Path) -> None:
    predictions = read_table(folder / "predictions.parquet")
    split = read_table(Path("data/split/assignment.parquet")).to_pandas().set_index("image_id")
    assert predictions.schema == OUT_OF_FOLD
    assert predictions["image_id"].to_pylist() == sorted(split.index)
    assert predictions["fold"].to_pylist() == split["fold"].loc[predictions["image_id"].to_pylist()].tolist()
    assert predictions["group"].to_pylist() == split["group"].loc[predictions["image_id"].to_pylist()].tolist()
    for answered in ("age_predicted", "age_high", "female_probability"):
        assert predictions[answered].null_count == 0
    assert predictions["race_probabilities"].null_count == 72
    metrics = read_json(folder / "metrics.json")
    maes = [fold["age"]["mae"] for fold in metrics["folds"]]
    assert [fold["rows"] for fold in metrics["folds"]] == [36, 36] and metrics["rows"] == 72
    assert metrics["mean"]["age"]["mae"] == pytest.approx(np.mean(maes), abs=1e-6)
    assert metrics["sd"]["age"]["mae"] == pytest.approx(np.std(maes, ddof=1), abs=1e-6)
    assert metrics["shards"] == sha256_file(Path("data/shards/manifest.json"))
    rows = pd.read_csv(folder / "metrics.csv").set_index("metric")
    assert rows.loc["age.mae", ["fold_0", "fold_1"]].tolist() == pytest.approx(maes, rel=1e-4)
    suspect = read_table(folder / "suspects.parquet")
    assert suspect.schema == SUSPECTS and len(suspect)
    assert REVIEWED not in suspect["path"].to_pylist()
    assert len(read_overrides(folder / "suspects.csv")) == len(set(suspect["path"].to_pylist()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"crossvalidate": {"validation": 1.0, "seed": 1}},
            "crossvalidate.validation = 1.0: input should be less than 1",
        ),
        ({"crossvalidate": {"validation": 1e-9, "seed": 1}}, "without fold 0 there are no rows for val"),
        (
            {"recipes": {"two": {**RECIPE, "distill": {"teacher": "models/teachers/all.parquet", "weight": 0.5}}}},
            "recipes.two.distill: the teacher may have seen the pictures of any fold",
        ),
        ({"recipes": {"two": {**RECIPE, "start": "bundle"}}}, "bundle/card.json is missing"),
        (
            {"recipes": {"two": {**RECIPE, "networks": [{**network(), "refit": {"race": SMOTE}}]}}},
            "without fold 0: smote.k_neighbors is 7, but train has",
        ),
        ({"suspects": {"age_error": -1, "most": 5}}, "suspects.age_error = -1: input should be greater than 0"),
    ],
)
def test_settings_that_cannot_work_stop_at_once(project: Path, change: dict[str, Any], told: str) -> None:
    write_params(**change)
    result = step("prepare")
    assert result.exit_code == 2 and told in result.output
    assert not PLAN.exists()


def test_a_start_that_has_seen_the_pictures_is_refused(project: Path) -> None:
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    write_toy_bundle(Path("bundle"))

    def refusal(dataset: str, trained_on: str, **before: Any) -> str:
        card = read_json(Path("bundle/card.json"))
        card["dataset"] = trained_on
        card["recipe"]["settings"] |= before
        write_json(Path("bundle/card.json"), card)
        with pytest.raises(SettingsError) as caught:
            crossvalidate.require_unseen(recipe(start="bundle"), "two", dataset)
        return str(caught.value.message)

    seen = "recipes.two.start: bundle has seen pictures of utkface_8000, so of any fold"
    assert refusal("utkface_8000", "utkface_8000") == seen
    assert refusal("utkface_8000", "utkface") == seen
    assert "bundle learned from another bundle" in refusal("utkface_8000", "imdb_wiki", start="models/other")


def test_tables_that_did_not_pass_or_do_not_fit_are_refused(project: Path) -> None:
    assert "python -m pipelines crossvalidate" in step("conclude").output
    lost = read_table(Path("data/split/assignment.parquet"))[1:]
    write_table(Path("data/split/assignment.parquet"), lost, ASSIGNMENT)
    assert "gate split passed other tables" in step("prepare").output
    write_pass(Path("data/gates"), "split", Path("data/split"))
    assert "data/shards holds 72 rows, not the 71 assigned to folds" in step("prepare").output
    shutil.rmtree("data/split")
    assert "data/split is missing" in step("prepare").output
