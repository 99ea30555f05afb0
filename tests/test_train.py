import re
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from click.testing import CliRunner
from ruamel.yaml import YAML

from faceline.datasets.records import ShardSettings
from faceline.errors import SettingsError, SourceError, TrainingError
from faceline.files import write_json
from faceline.gates.passes import write_pass
from faceline.learning import inputs, optimizers, training
from faceline.learning.augmentation import augment
from faceline.learning.card import FORMULAS, Input, read_card
from faceline.learning.inputs import Subset
from faceline.learning.pixels import prepare
from faceline.learning.recipe import Augmentation, Recipe, Scaling
from faceline.learning.weighting import require_labels
from faceline.params import section
from stages.train import main
from tests.toys import RECIPE, ROWS, SIDE, network, recipe, write_shards

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
SETTINGS = ShardSettings(formats=("tfrecord",), rows=20, seed=1)


class KilledError(Exception):
    """Stands for a kill: the process ends where it is raised."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("toys") / "shards", SETTINGS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def trained(shards: Path, store: Path) -> training.Trained:
    return train(recipe(), shards, store)


def train(settings: Recipe, shards: Path, store: Path, say: Any = lambda line: None) -> training.Trained:
    return training.train(settings, shards, store, say)[0]


def same(first: keras.Model, second: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


def test_the_same_shards_and_recipe_give_the_same_weights(
    shards: Path, trained: training.Trained, tmp_path: Path
) -> None:
    again = train(recipe(), shards, tmp_path)
    assert same(again.model, trained.model)
    assert again.history == trained.history


AVERAGED = {"name": "adamw", "learning_rate": 0.003, "weight_decay": 0.01, "ema_momentum": 0.9}
SGD = {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9, "nesterov": True, "clip_norm": 1.0, "ema_momentum": 0.9}
MIXED = {**RECIPE["augmentation"], "mixup": 0.4, "jpeg": {"share": 0.5}}


@pytest.mark.parametrize("changes", [{}, {"optimizer": AVERAGED}, {"optimizer": SGD, "augmentation": MIXED}])
def test_a_killed_training_goes_on_to_the_same_end(
    shards: Path, trained: training.Trained, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = recipe(**changes)
    whole = train(settings, shards, tmp_path / "whole") if changes else trained
    said: list[str] = []

    def die_after_the_first(line: str) -> None:
        said.append(line)
        if "validation" in line:
            raise KilledError

    with pytest.raises(KilledError):
        train(settings, shards, tmp_path / "killed", die_after_the_first)
    resumed = train(settings, shards, tmp_path / "killed", said.append)
    assert [line.split(", ")[0] for line in said if "validation" in line] == [
        f"system_d-age-gender: epoch {epoch}/3" for epoch in (1, 2, 3)
    ]
    parameters = f"system_d-age-gender: {resumed.model.count_params():,} parameters"
    assert sum(line.startswith(parameters) for line in said) == 2  # said again by the one that goes on
    assert same(resumed.model, whole.model)
    assert resumed.history == whole.history


def test_parquet_alone_gives_the_same_training(trained: training.Trained, tmp_path: Path) -> None:
    parquet = write_shards(tmp_path / "shards", SETTINGS.model_copy(update={"formats": ("parquet",)}))
    again = train(recipe(), parquet, tmp_path)
    assert same(again.model, trained.model)
    assert again.history == trained.history


def test_a_finished_training_is_not_trained_again(shards: Path, trained: training.Trained, store: Path) -> None:
    said: list[str] = []
    assert same(train(recipe(), shards, store, said.append).model, trained.model)
    assert said == ["system_d-age-gender: trained before, up to epoch 3/3"]


def test_a_loss_that_is_no_number_stops_the_training_and_the_last_good_epoch_is_kept(
    shards: Path, tmp_path: Path
) -> None:
    settings = recipe(optimizer={"name": "sgd", "learning_rate": 1e38}, augmentation={})
    with pytest.raises(TrainingError) as caught:
        train(settings, shards, tmp_path)
    assert caught.value.exit_code
    assert re.fullmatch(
        r"system_d-age-gender: the loss is (nan|inf) at step 2 of epoch 1; no epoch had ended; .*", caught.value.message
    )
    assert not list(tmp_path.iterdir())


def test_of_a_later_epoch_the_weights_before_it_stay_in_the_store(shards: Path, tmp_path: Path) -> None:
    settings = recipe(schedule={"name": "constant"})
    saved = tmp_path / "system_d-age-gender.npz"

    def spoil_after_the_first(line: str) -> None:
        if "epoch 1/3" in line:
            state = dict(np.load(saved))
            weights = [name for name in state if name.startswith("network") and state[name].dtype == np.float32]
            np.savez(saved, **state | {name: state[name] * np.float32(np.nan) for name in weights})
            raise KilledError

    with pytest.raises(KilledError):
        train(settings, shards, tmp_path, spoil_after_the_first)
    before = saved.read_bytes()
    with pytest.raises(TrainingError, match=rf"at step 1 of epoch 2; the weights of epoch 1 are kept in {saved};"):
        train(settings, shards, tmp_path)
    assert saved.read_bytes() == before


def test_a_batch_larger_than_the_set_is_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"batch_size = 49: must be at most 48, the rows to train on"):
        train(recipe(batch_size=49), shards, tmp_path)


def test_pictures_too_small_for_the_network_are_told_in_one_line(shards: Path, tmp_path: Path) -> None:
    entry = {"network": "facenet", "arguments": {"pretrained": False}, "targets": network("age")["targets"]}
    with pytest.raises(SettingsError, match=r"^input_size = 48 does not suit facenet: "):
        train(recipe(networks=[entry], input_size=48), shards, tmp_path)


def test_a_gradient_is_shortened_and_sgd_has_its_momentum() -> None:
    settings = recipe(optimizer={"name": "sgd", "learning_rate": 1.0, "momentum": 0.5, "clip_norm": 5.0})
    optimizer = optimizers.shared(settings, 1, "float32")
    weights = keras.Variable([0.0, 0.0])
    for _ in range(2):
        optimizer.apply([keras.ops.convert_to_tensor([30.0, 40.0])], [weights])
    assert np.allclose(weights.numpy(), [-3 - 4.5, -4 - 6], atol=1e-5)  # a step of 5, then one and a half


def test_the_best_weights_are_kept_and_training_stops_early(shards: Path, tmp_path: Path) -> None:
    wild = {"name": "adam", "learning_rate": 0.5}
    settings = recipe(optimizer=wild, epochs=9, early_stopping={"patience": 1}, schedule={"name": "constant"})
    result = train(settings, shards, tmp_path)
    losses = [row["val_loss"] for row in result.history]
    assert len(losses) < 9
    assert losses[-1] >= min(losses)
    entry = settings.networks[0]
    training.compile_network(result.model, entry, settings, 1)
    judged = result.model.evaluate(
        inputs.judging(Subset.of(shards, "val"), settings, entry.targets.names), return_dict=True, verbose=0
    )
    assert judged["loss"] == pytest.approx(min(losses), rel=1e-5)


def test_the_learning_rate_falls_on_a_plateau(shards: Path, tmp_path: Path) -> None:
    still = {"name": "rmsprop", "learning_rate": 1e-15}  # too small to change a weight, so the loss never falls
    schedule = {"name": "plateau", "factor": 0.5, "patience": 2, "minimum": 4e-16}
    result = train(recipe(optimizer=still, schedule=schedule, epochs=6), shards, tmp_path)
    rates = [row["learning_rate"] for row in result.history]
    assert rates == pytest.approx([1e-15, 1e-15, 1e-15, 5e-16, 5e-16, 4e-16])


def test_a_plateau_does_not_raise_a_learning_rate_below_its_minimum(shards: Path, tmp_path: Path) -> None:
    still = {"name": "rmsprop", "learning_rate": 1e-15}
    schedule = {"name": "plateau", "patience": 1}
    result = train(recipe(optimizer=still, schedule=schedule, epochs=3), shards, tmp_path)
    assert [row["learning_rate"] for row in result.history] == pytest.approx([1e-15] * 3)


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_a_seed_that_tensorflow_takes_for_none_is_one(shards: Path, tmp_path: Path, seed: int) -> None:
    first, again = (train(recipe(seed=seed, epochs=1), shards, tmp_path / run) for run in ("first", "again"))
    for mine, same in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
        assert np.array_equal(mine, same)


def test_other_shards_recipe_or_network_have_other_checkpoints(shards: Path, tmp_path: Path) -> None:
    other = write_shards(tmp_path / "shards", SETTINGS.model_copy(update={"rows": 10}))
    settings = recipe()
    folders = {
        training.checkpoints(tmp_path, shards, settings),
        training.checkpoints(tmp_path, other, settings),
        training.checkpoints(tmp_path, shards, recipe(seed=2)),
    }
    assert len(folders) == 3
    assert training.checkpoints(tmp_path, shards, recipe()) in folders


def test_a_target_without_labels_is_refused() -> None:
    counts = {"age": {"20": 3}, "gender": {"0": 2, "unknown": 1}, "race": {"unknown": 3}}
    require_labels(recipe(), "toy", counts)  # age and gender
    with pytest.raises(SettingsError, match=r"recipes.toy learns race, which no row of train has"):
        require_labels(recipe(networks=[network()]), "toy", counts)
    with pytest.raises(SettingsError, match=r"recipes.toy.sampling.by = 'race', which no row of train has"):
        require_labels(recipe(sampling={"by": "race"}), "toy", counts)


def test_a_missing_label_has_no_weight(shards: Path) -> None:
    batch = next(iter(inputs.judging(Subset.of(shards, "val"), recipe(), ("age", "race"))))
    pictures, labels, weights = batch
    assert pictures.shape == (16, 28, 28, 3)
    assert weights["race"].numpy().tolist() == [float(index % 3 != 0) for index in range(16)]
    assert weights["age"].numpy().min() == 1
    assert labels["race"].numpy().min() >= 0


def test_epochs_differ_and_an_epoch_can_be_had_again(shards: Path) -> None:
    settings = recipe()
    subset = Subset.of(shards, "train")
    steps = inputs.steps(subset, settings)
    assert steps == ROWS["train"] // 16
    whole = [batch[0].numpy() for batch in inputs.training(subset, settings, ("age",), 0)]
    later = [batch[0].numpy() for batch in inputs.training(subset, settings, ("age",), 1)]
    assert len(whole) == steps * 3
    assert not np.array_equal(whole[0], whole[steps])
    assert all(np.array_equal(a, b) for a, b in zip(whole[steps:], later, strict=True))


def test_augmentation_that_changes_nothing_is_plain_resizing() -> None:
    crops = np.random.default_rng(1).integers(0, 256, (4, 24, 24, 3)).astype(np.uint8)
    seed = tf.constant([1, 2], tf.int64)
    assert np.allclose(augment(tf.constant(crops), 24, seed, Augmentation()), crops, atol=1e-3)


def test_every_augmentation_keeps_shape_and_range_and_follows_its_seed() -> None:
    settings = Augmentation(
        flip=True,
        smallest_crop=0.7,
        zoom=0.2,
        rotation=40,
        shear=10,
        brightness=0.3,
        contrast=0.3,
        saturation=0.3,
        erase=0.3,
    )
    crops = tf.constant(np.random.default_rng(1).integers(0, 256, (8, 40, 40, 3)).astype(np.uint8))
    first, again, other = (
        augment(crops, 16, tf.constant([1, number], tf.int64), settings).numpy() for number in (1, 1, 2)
    )
    assert first.shape == (8, 16, 16, 3)
    assert first.min() >= 0
    assert first.max() <= 255
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_mirroring_mirrors_some_pictures_exactly() -> None:
    crops = np.random.default_rng(1).integers(0, 256, (32, 16, 16, 3)).astype(np.uint8)
    varied = augment(tf.constant(crops), 16, tf.constant([1, 1], tf.int64), Augmentation(flip=True)).numpy()
    mirrored = [np.allclose(new, old[:, ::-1], atol=0.01) for new, old in zip(varied, crops, strict=True)]
    same_as_before = [np.allclose(new, old, atol=0.01) for new, old in zip(varied, crops, strict=True)]
    assert sum(mirrored) + sum(same_as_before) == 32
    assert 0 < sum(mirrored) < 32


def given(size: int, channels: Literal[1, 3], scaling: Scaling) -> Input:
    return Input(size=size, channels=channels, scaling=scaling, formula=FORMULAS[scaling])


def test_grey_pictures_have_one_scaled_channel() -> None:
    white = tf.constant(np.full((1, 8, 8, 3), 255, np.uint8))
    assert np.allclose(prepare(white, given(4, 1, "symmetric")), np.ones((1, 4, 4, 1)), atol=1e-3)


def test_whitened_pictures_have_mean_0_and_deviation_1() -> None:
    pictures = np.random.default_rng(1).integers(0, 90, (2, 8, 8, 3)).astype(np.uint8)
    pictures[1] = 7  # no deviation to divide by
    first, second = prepare(tf.constant(pictures), given(8, 3, "whitened")).numpy()
    assert first.mean() == pytest.approx(0, abs=1e-5) and first.std() == pytest.approx(1, abs=1e-4)
    assert np.all(second == 0)


def test_shards_without_validation_rows_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "manifest.json", {"rows": {"train": 0, "val": 0, "test": 0}, "formats": ["tfrecord"]})
    with pytest.raises(SourceError, match="has no rows in train"):
        train(recipe(), tmp_path, tmp_path)


def write_params(crop_size: int, **changes: Any) -> None:
    whole = RECIPE["networks"][0]
    two = [{**whole, "targets": {name: whole["targets"][name]}} for name in ("age", "gender")]
    sample = section("datasets", "sample", path=Path(__file__).parent.parent / "params.yaml")
    sample["crop"]["size"] = crop_size
    params = {
        "dataset": "toy",
        "recipe": "two",
        "hardware": {},
        "datasets": {"toy": sample},
        "recipes": {"two": {**RECIPE, "networks": two, "epochs": 2, **changes}},
    }
    with Path("params.yaml").open("w") as file:
        YAML(typ="safe", pure=True).dump(params, file)


def run_stage(shards: Path) -> Any:
    write_pass(Path("gates"), "shard", shards)
    options = {"shards": shards, "gates": "gates", "store": "store", "history": "history.csv", "output": "bundle"}
    return CliRunner().invoke(main, [f"--{name}={value}" for name, value in options.items()])


def test_the_stage_leaves_bundle_and_history_and_no_checkpoint(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(SIDE)
    result = run_stage(shards)
    assert result.exit_code == 0, result.output
    assert re.search(r"system_d-age: \d+ CPU cores, float32, no XLA; 48 rows, 3 batches of 16 an epoch", result.output)
    history = pd.read_csv("history.csv")
    assert history["network"].tolist() == ["system_d-age"] * 2 + ["system_d-gender"] * 2
    assert history["epoch"].tolist() == [1, 2, 1, 2]
    assert history["val_age_mae"].notna().tolist() == [True, True, False, False]
    assert history["val_gender_accuracy"].notna().tolist() == [False, False, True, True]
    assert np.isfinite(history[["loss", "val_loss", "learning_rate"]]).all(axis=None)
    card = read_card(Path("bundle"))
    assert card.targets == ("age", "gender")
    assert {network.file for network in card.networks} == {"system_d-age.keras", "system_d-gender.keras"}
    assert card.constants.model_dump() == {"age_mean": 40, "age_median": 30, "gender": 1, "race": 3}
    assert card.age_interval is not None
    assert card.age_interval.coverage == 0.9
    assert card.age_interval.typical_deviation
    assert card.nonconformity is not None and card.nonconformity.age is not None
    assert card.nonconformity.age[0].rows == ROWS["val"]
    assert set(card.temperatures) == {"age", "gender"}
    assert card.flip_averaging is False
    best = history.loc[history["val_loss"][:2].idxmin()]
    assert card.validation["age"]["mae"] <= best["val_age_mae"] * (1 + 1e-4)  # its temperature is fitted for it
    assert list(Path("store").iterdir()) == []


def test_the_stage_refuses_shards_of_another_crop_size(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params(72)
    result = run_stage(shards)
    assert result.exit_code == 2
    assert "24 pixels a side, but datasets.toy.crop.size is 72" in result.output
