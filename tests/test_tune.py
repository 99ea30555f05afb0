"""Tuning without training: pruning by what a training writes, the study on disk, the value of a trial."""

import json
import logging
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from prefect.logging import disable_run_logger

from faceline.errors import SettingsError
from pipelines.project import Project, ProjectError
from pipelines.space import Range, TuneSettings
from pipelines.tune import Watch, database, finished, metric_kept, open_study, require_own_recipe


@pytest.fixture(autouse=True)
def quiet() -> Any:
    optuna.logging.set_verbosity(logging.WARNING)
    with disable_run_logger():
        yield


def settings(**more: Any) -> TuneSettings:
    values = {
        "study": "found", "recipe": "plain", "trials": 3, "metric": "val_age_mae", "direction": "minimize", "seed": 1,
        "startup_trials": 1, "warmup_epochs": 1, "space": {"rate": Range(low=0, high=1)},
    }  # fmt: skip
    return TuneSettings(**{**values, **more})


def write_epochs(folder: Path, values: list[float]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"epoch": epoch, "val_age_mae": value} for epoch, value in enumerate(values, start=1)]
    (folder / "network.json").write_text(json.dumps(rows))


def test_a_trial_that_does_worse_than_others_did_is_pruned(tmp_path: Path) -> None:
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(1, 1))
    write_epochs(tmp_path / "before", [1.0])  # of another training; none of this one's business
    for values, pruned in (([9.0, 8.0, 7.0], False), ([10.0, 12.0], True)):
        trial = study.ask()
        watch = Watch(tmp_path, "val_age_mae", trial)
        folder = tmp_path / str(trial.number)
        for count in range(1, len(values) + 1):
            write_epochs(folder, values[:count])
            if pruned and count == len(values):
                with pytest.raises(optuna.TrialPruned, match="val_age_mae 12 at epoch 2"):
                    watch.listen("epoch")
            else:
                watch.listen("epoch")
        if pruned:
            watch.forget()
            assert not folder.exists()
        else:
            study.tell(trial, values[-1])
    assert (tmp_path / "before").exists()
    assert study.get_trials()[0].intermediate_values == {0: 9.0, 1: 8.0, 2: 7.0}


def test_a_trial_that_goes_on_after_a_kill_can_be_pruned(tmp_path: Path) -> None:
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(1, 1))
    first = study.ask()
    for step, value in enumerate([9.0, 8.0, 7.0]):
        first.report(value, step)
    study.tell(first, 7.0)
    write_epochs(tmp_path / "1", [10.0])  # before the kill
    watch = Watch(tmp_path, "val_age_mae", study.ask())
    watch.listen("trained before, up to epoch 1")
    write_epochs(tmp_path / "1", [10.0, 12.0])
    with pytest.raises(optuna.TrialPruned, match="val_age_mae 12 at epoch 2"):
        watch.listen("epoch")


def test_the_epochs_of_each_network_are_counted_apart(tmp_path: Path) -> None:
    study = optuna.create_study()
    trial = study.ask()
    watch = Watch(tmp_path, "val_age_mae", trial)
    (tmp_path / "1").mkdir()
    (tmp_path / "1/network.json").write_text(json.dumps([{"epoch": 1}, {"epoch": 2}]))  # it does not tell of ages
    watch.listen("epoch 2")
    (tmp_path / "1/network-2.json").write_text(json.dumps([{"epoch": 1, "val_age_mae": 9.0}]))  # by name before it
    watch.listen("epoch 1")
    assert study.get_trials()[0].intermediate_values == {0: 9.0}


def test_the_value_is_that_of_the_epoch_whose_weights_are_kept() -> None:
    history = [
        {"val_loss": "3", "val_age_mae": "9"}, {"val_loss": "2", "val_age_mae": "8"},
        {"val_loss": "2.5", "val_age_mae": "7"}, {"val_loss": "1", "val_age_mae": ""},
    ]  # fmt: skip
    assert metric_kept(history, "val_age_mae") == 8
    with pytest.raises(ProjectError, match=r"no column val_agemae .*; it has val_loss, val_age_mae"):
        metric_kept(history, "val_agemae")


@pytest.fixture
def sharded(built_toy: Path) -> Path:
    """A project whose first stage is called as the one that trials depend on."""
    lock = built_toy / "dvc.lock"
    lock.write_text(lock.read_text().replace("  prepare:", "  shard:"))
    return built_toy


def test_a_study_that_goes_on_draws_other_values(sharded: Path) -> None:
    space, drawn = {"rate": optuna.distributions.FloatDistribution(0, 1)}, []
    for _ in range(3):
        study = open_study(Project(sharded), settings(), {"rate": 0.5})
        trial = study.ask(space)
        study.tell(trial, 5.0)
        drawn.append(trial.params["rate"])
    assert len(set(drawn)) == 3
    new = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=settings().seed))
    assert drawn[0] == new.ask(space).params["rate"]


def test_a_study_replaces_no_recipe_but_its_own(toy: Path) -> None:
    (toy / "params.yaml").write_text("recipes: {plain: {}, found: {}}")
    project, refused = Project(toy), r"recipes.found is there .*; give tune.study another name"
    with pytest.raises(SettingsError, match=refused):
        require_own_recipe(project, settings())
    database(project, settings()).parent.mkdir(parents=True)
    database(project, settings()).touch()
    require_own_recipe(project, settings())
    with pytest.raises(SettingsError, match=refused):
        require_own_recipe(project, settings(recipe="found"))


def test_a_study_goes_on_where_it_was_ended(sharded: Path) -> None:
    project, base = Project(sharded), {"rate": 0.5}
    study = open_study(project, settings(), base)
    study.tell(study.ask({"rate": optuna.distributions.FloatDistribution(0, 1)}), 5.0)
    killed = study.ask({"rate": optuna.distributions.FloatDistribution(0, 1)})
    again = open_study(project, settings(), base)
    assert [trial.value for trial in finished(again)] == [5.0]
    assert again.get_trials()[killed.number].state is TrialState.FAIL
    assert again.ask().suggest_float("rate", 0, 1) == killed.params["rate"]
    with pytest.raises(SettingsError, match="the study found was begun with another space, recipe or other data"):
        open_study(project, settings(), {"rate": 0.6})
    with pytest.raises(SettingsError, match="another space"):
        open_study(project, settings(space={"rate": Range(low=0, high=2)}), base)
    lock = sharded / "dvc.lock"
    lock.write_text(lock.read_text().replace("md5: ", "md5: 0"))
    with pytest.raises(SettingsError, match="other data"):
        open_study(project, settings(), base)
