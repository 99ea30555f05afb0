"""Networks with settings of their own: how each is trained, what it takes in, how it is stored; wrong settings."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from faceline.datasets.records import ShardSettings, read_rows
from faceline.errors import SettingsError, WeightsError
from faceline.export.answers import predictor_graph
from faceline.learning import training
from faceline.learning.answering import CropPredictor, load_network
from faceline.learning.calibration import validate
from faceline.learning.card import read_card
from faceline.learning.recipe import Recipe
from faceline.learning.training import Trained
from tests.toy_bundle import pack_toy_bundle
from tests.toys import network, pixels, recipe, write_shards

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
OWN: dict[str, Any] = {"input_size": 32, "scaling": "whitened", "epochs": 2, "augmentation": {}}
MIRRORED = {"flip_averaging": True}


def two(**serving: Any) -> Recipe:
    """A network as the recipe has it and one with settings of its own; both answer for gender."""
    networks = [network("age", "gender"), {**network("gender"), "own": OWN}]
    return recipe(networks=networks, serving=serving, epochs=1)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ShardSettings(formats=("tfrecord", "parquet"), rows=20, seed=1)
    return write_shards(tmp_path_factory.mktemp("toys") / "shards", settings)


def test_each_is_trained_as_alone_with_its_own_settings(shards: Path, tmp_path: Path) -> None:
    first, second = training.train(two(), shards, tmp_path / "both", lambda line: None)
    assert [len(each.history) for each in (first, second)] == [1, 2]
    assert [each.model.input_shape[1] for each in (first, second)] == [28, 32]
    alone = recipe(networks=[network("gender")], **OWN)
    (same,) = training.train(alone, shards, tmp_path / "alone", lambda line: None)
    assert all(map(np.array_equal, second.model.get_weights(), same.model.get_weights()))


@pytest.mark.parametrize(
    ("later", "told"),
    [
        ({"network": "system_d", "own": {"input_size": 16}}, "input_size = 16 does not suit system_d"),
        ({"network": "system_d", "own": {"heads_first": {"epochs": 1}}}, "heads_first: the network pools no maps"),
        ({"network": "resnet34", "arguments": {"weights": "cut.pt"}}, "cut.pt"),
    ],
)
def test_what_a_later_network_lacks_is_told_before_the_first_one_trains(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: dict[str, Any], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("cut.pt").write_bytes(b"PK")
    networks = [network("age", "gender"), {"targets": {"gender": {"loss": "crossentropy"}}, **later}]
    said: list[str] = []
    with pytest.raises((SettingsError, WeightsError), match=told):
        training.train(recipe(networks=networks), shards, tmp_path / "store", said.append)
    assert said == []


def prepared(crops: np.ndarray, number: int) -> tf.Tensor:
    """What the first and the second network of `two` take in."""
    wide = tf.image.resize(tf.cast(crops, tf.float32), [(28, 28), (32, 32)][number], antialias=True)
    return tf.image.per_image_standardization(wide) if number else wide / 127.5 - 1


def test_the_answer_is_the_mean_of_what_each_says_of_its_own_input(shards: Path, tmp_path: Path) -> None:
    settings = two(**MIRRORED)
    bundle = pack_toy_bundle(tmp_path / "bundle", settings, {})
    files = read_card(bundle).networks
    assert [(file.input.size, file.input.scaling) for file in files] == [(28, "symmetric"), (32, "whitened")]
    rows = list(read_rows(shards, "val"))
    crops = np.stack([pixels(row) for row in rows])
    networks = [load_network(bundle, file) for file in files]
    says = [
        np.mean([network(fed, training=False)["gender"] for fed in (x, x[:, :, ::-1])], axis=0)
        for network, x in ((each, prepared(crops, number)) for number, each in enumerate(networks))
    ]
    assert not np.allclose(*says, atol=1e-3)
    predictor = CropPredictor(bundle)
    assert np.allclose(predictor.outputs(crops)["gender"], np.mean(says, axis=0), atol=1e-5)

    answers = predictor.predict_crops(crops)
    graph = predictor_graph(bundle)
    exported = {name: values.numpy() for name, values in graph.function(tf.constant(crops)).items()}
    assert np.allclose(exported["female_probability"], answers.female_probability, atol=1e-5)
    assert np.allclose(exported["age"], answers.age, atol=1e-3)

    trained = [
        Trained(file.file, entry, each, [])
        for file, entry, each in zip(files, settings.networks, networks, strict=True)
    ]
    judged = validate(trained, settings, shards).metrics
    right = (np.mean(says, axis=0)[:, 0] >= 0.5) == [row["gender"] for row in rows]
    assert judged["gender"]["accuracy"] == pytest.approx(right.mean())


def test_each_is_stored_as_its_own_settings_say(tmp_path: Path) -> None:
    networks = [network("age"), {**network("gender"), "own": {"serving": {"half_precision": True}}}]
    bundle = pack_toy_bundle(tmp_path / "bundle", recipe(networks=networks), {})
    whole, halved = (load_network(bundle, file) for file in read_card(bundle).networks)
    assert [holds_halves(each) for each in (whole, halved)] == [False, True]


def holds_halves(model: keras.Model) -> bool:
    return all(np.array_equal(weight, weight.astype(np.float16)) for weight in model.get_weights())


def test_a_network_whose_own_heads_learn_first_begins_trained() -> None:
    for own, begins in (({}, False), ({"heads_first": {"epochs": 1}}, True)):
        assert recipe(networks=[network("age"), {**network("gender"), "own": own}]).begins_trained == begins


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"epochs": 0}, "compact.own.epochs = 0: input should be greater than or equal to 1"),
        ({"optimizer": {"name": "adam"}}, "compact.own.optimizer.learning_rate is missing"),
        ({"batch_size": 8}, "own = {'batch_size': 8}: batch_size cannot be a network's own; allowed: input_size"),
        ({"serving": MIRRORED}, "flip_averaging and coverage cannot be the own of one"),
    ],
)
def test_wrong_settings_are_named_with_what_is_allowed(own: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe(networks=[network("age"), {**network("gender"), "own": own}])
    assert message in caught.value.message
    assert "\n" not in caught.value.message
