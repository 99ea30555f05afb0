"""dvc.yaml, params.yaml, stages/ and the code agree: one name everywhere, and every dependency declared."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.imports import ROOT, closure

DVC: dict[str, Any] = YAML(typ="safe").load(ROOT / "dvc.yaml")
STAGES: dict[str, Any] = DVC["stages"]
GATES: dict[str, Any] = STAGES["gate"]["foreach"]
NETWORKS = {path.relative_to(ROOT).as_posix() for path in (ROOT / "faceline/learning/networks").glob("[!_]*.py")}
SHARED_BY_NETWORKS = {path.relative_to(ROOT).as_posix() for path in (ROOT / "faceline/learning/networks").glob("_*.py")}


def deps(stage: dict[str, Any]) -> set[str]:
    return set(stage["deps"])


def code(paths: set[str]) -> set[str]:
    return {path for path in paths if path.endswith(".py")}


def needed(stage: str) -> set[str]:
    """The code that a stage's results depend on.

    Only `settings` looks at the architectures; the chosen ones reach `train` as digests in data/settings/network.json,
    since a new one must not make every training rerun.
    """
    files = closure(f"stages/{stage}.py")
    return files | NETWORKS | SHARED_BY_NETWORKS if stage == "settings" else files - NETWORKS


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "gate"])
def test_a_stage_declares_the_code_that_its_results_depend_on(stage: str) -> None:
    wanted = sorted(needed(stage))
    assert sorted(code(deps(STAGES[stage]))) == wanted, "dvc.yaml should say:\n" + "\n".join(
        f"      - {f}" for f in wanted
    )


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_declares_its_code(gate: str) -> None:
    """Its own suite, what all gates share, and one more file; the rest are dependencies of the stage that it judges."""
    item, body = GATES[gate], STAGES["gate"]["do"]
    declared = {dep.replace("${key}", gate).replace("${item.code}", item["code"]) for dep in body["deps"]}
    judged = deps(STAGES[gate])
    assert not (closure(f"faceline/gates/{gate}.py") | closure("stages/gate.py")) - NETWORKS - declared - judged
    assert item["table"] in STAGES[gate]["outs"]


def test_a_gate_stands_behind_each_table_and_its_readers_need_its_pass() -> None:
    tables = {item["table"]: f"data/gates/{name}.pass" for name, item in GATES.items()}
    for name, stage in STAGES.items():
        if name in ("gate", "report", "settings", "sample"):
            continue  # the report needs only the verdicts, so that it can show a failure
        read = {t for t in tables for dep in stage["deps"] if dep.startswith(t) and not dep.endswith("summary.json")}
        needs = {tables[table] for table in read}
        assert needs == {dep for dep in stage["deps"] if dep.endswith(".pass")}, name


def test_one_name_everywhere() -> None:
    for name in STAGES:
        assert (ROOT / "stages" / f"{name}.py").is_file()
        assert (ROOT / "tests" / f"test_{name}.py").is_file()
    files = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert files == set(STAGES)
    for name in GATES:
        assert name in STAGES
        assert (ROOT / "faceline" / "gates" / f"{name}.py").is_file()


def test_every_stage_is_described() -> None:
    for name, stage in STAGES.items():
        assert (stage["do"] if name == "gate" else stage)["desc"]


def test_every_dataset_sets_every_gate_and_stage() -> None:
    datasets = YAML(typ="safe").load(ROOT / "params.yaml")["datasets"]
    for name, entry in datasets.items():
        assert list(entry) == ["ingest", "clean", "detect", "crop", "split", "gates"], name
        assert list(entry["gates"]) == list(GATES), name


def test_no_code_is_declared_that_is_not_there() -> None:
    for stage in STAGES.values():
        for dep in (stage.get("do") or stage)["deps"]:
            assert "$" in dep or not dep.endswith(".py") or Path(ROOT / dep).is_file(), dep
