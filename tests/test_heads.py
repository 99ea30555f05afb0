"""The heads: what an output stands for, the ordinal layer, and heads that are given what others answer."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from faceline.errors import SettingsError
from faceline.learning import heads
from faceline.learning.answering import CropPredictor
from faceline.learning.targets import Age, Targets
from faceline.learning.training import build
from tests import toys
from tests.toy_bundle import pack_toy_bundle
from tests.toys import SIDE, network, recipe

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


def conditioned(**given: Any) -> dict[str, Any]:
    """A network of three heads, some of which are given others' answers."""
    whole = network()
    learned = {name: {**head, "given": given.get(name, ())} for name, head in whole["targets"].items()}
    return {**whole, "targets": learned}


def test_years_follow_from_what_the_output_is() -> None:
    outputs = np.zeros((1, 117), np.float32)
    outputs[0, [20, 30]] = 0.5
    assert heads.years(outputs, Age(loss="mean_variance").answers).tolist() == [25]
    assert heads.years(np.array([[31.5], [-2.0]], np.float32), Age(loss="huber").answers).tolist() == [31.5, 0]
    older = (np.arange(116) < 25).astype(np.float32)[None]
    assert heads.years(older, Age(loss="ordinal").answers).tolist() == [25]
    for head, output in (
        (Age(loss="dldl"), outputs),
        (Age(loss="mae"), outputs[:, 20:21]),
        (Age(loss="ordinal"), older),
    ):
        told = float(heads.expected(tf.constant(output), head)[0, 0])
        assert told == pytest.approx(float(heads.years(output, head.answers)[0]))


def test_a_distribution_follows_from_ordinal_outputs() -> None:
    older = np.interp(np.arange(116), [19, 40], [1, 0])[None]
    older[0, 30] += 0.1  # out of order
    found = heads.distribution(older, Age(loss="ordinal").answers)
    assert found is not None
    assert found.shape == (1, 117)
    assert found.min() == 0
    assert found.sum() == pytest.approx(1)
    assert float(found[0] @ np.arange(117)) == pytest.approx(30, abs=0.5)
    certain = heads.distribution((np.arange(116) < 25)[None].astype(float), Age(loss="ordinal").answers)
    assert certain is not None
    assert certain.argmax() == 25
    assert heads.distribution(older, Age(loss="mse").answers) is None


def test_the_ordinal_head_has_one_weight_vector_and_falls_with_age() -> None:
    features = keras.Input((7,))
    model = keras.Model(features, heads.outputs({"age": features}, Targets(age=Age(loss="ordinal"))))
    assert model.count_params() == 7 + 116
    output = model(np.random.default_rng(1).normal(size=(3, 7)))["age"].numpy()
    assert output.shape == (3, 116)
    assert np.all(np.diff(output, axis=1) < 0)


def test_a_relu_head_gives_no_age_below_0() -> None:
    features = keras.Input((7,))
    rows = 1000 * np.random.default_rng(1).normal(size=(50, 7))
    lowest = {}
    for activation in ("linear", "relu"):
        keras.utils.set_random_seed(1)
        built = heads.outputs({"age": features}, Targets(age=Age(loss="mse", activation=activation)))
        lowest[activation] = keras.Model(features, built)(rows)["age"].numpy().min()
    assert lowest["linear"] < 0
    assert lowest["relu"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_relu_head_starts_where_it_can_learn(seed: int) -> None:
    keras.utils.set_random_seed(seed)
    features = keras.Input((7,))
    model = keras.Model(features, heads.outputs({"age": features}, Targets(age=Age(loss="mse", activation="relu"))))
    assert model(np.random.default_rng(seed).normal(size=(50, 7)))["age"].numpy().min() > 0


@pytest.mark.parametrize("given", [("race",), ("gender", "race")])
def test_a_head_sees_the_answers_that_it_is_given(given: tuple[str, ...]) -> None:
    settings = recipe(networks=[conditioned(age=given)])
    model = build(settings.networks[0], settings)
    assert tuple(model.output_names) == ("age", "gender", "race")
    features = model.get_layer("gender").input.shape[-1]
    widths = {"gender": 1, "race": 5}
    assert model.get_layer("age").input.shape[-1] == features + sum(widths[name] for name in given)
    picture, kernel = np.zeros((1, 28, 28, 3), np.float32), model.get_layer("race").bias
    before = model(picture)
    kernel.assign([0, 9, 0, 0, 0])
    after = model(picture)
    assert not np.allclose(before["age"], after["age"])
    assert np.allclose(before["gender"], after["gender"])


def test_no_gradient_goes_back_to_a_given_head() -> None:
    settings = recipe(networks=[conditioned(age=("race",))])
    model = build(settings.networks[0], settings)
    with tf.GradientTape() as tape:
        age = tf.reduce_sum(model(np.ones((2, 28, 28, 3), np.float32))["age"][:, 0])
    gradients = tape.gradient(age, [model.get_layer("race").kernel.value, model.get_layer("age").kernel.value])
    assert gradients[0] is None
    assert np.abs(gradients[1]).max() > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"age": ("race",), "race": ("age",)}, "no head comes first: "),
        ({"age": ("age",)}, "no head comes first: age is given to age"),
        ({"age": ("sex",)}, "'age', 'gender' or 'race'"),
    ],
)
def test_a_circle_of_heads_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe(networks=[conditioned(**given)])
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_a_head_that_is_not_there_cannot_be_given() -> None:
    alone = {**network("age"), "targets": {"age": {"loss": "dldl", "given": ["race"]}}}
    with pytest.raises(SettingsError, match="age is given race, for which the network has no head"):
        recipe(networks=[alone, network("race")])


def test_an_activation_belongs_to_a_number() -> None:
    entry = {**network("age"), "targets": {"age": {"loss": "dldl", "activation": "relu"}}}
    with pytest.raises(SettingsError, match="activation relu belongs to mae, mse and huber, not to dldl"):
        recipe(networks=[entry])


@pytest.mark.parametrize(
    "age",
    [
        {"loss": "ordinal", "given": ["gender", "race"]},
        {"loss": "huber", "activation": "relu"},
        {"loss": "mean_variance"},
    ],
    ids=lambda age: age["loss"],
)
def test_a_bundle_answers_as_the_network_that_was_packed(age: dict[str, Any], tmp_path: Path) -> None:
    """Its card says what the output is; the race head is given the age, an expectation."""
    entry = network()
    entry["targets"]["age"] = age
    if "given" not in age:
        entry["targets"]["race"]["given"] = ["age"]
    predictor = CropPredictor(pack_toy_bundle(tmp_path / "bundle", toys.recipe(networks=[entry]), {}))
    crops = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)
    answers, outputs = predictor.predict_crops(crops), predictor.outputs(crops)
    assert answers.age is not None
    assert answers.age.shape == (3,)
    assert outputs["age"].shape[1] == {"ordinal": 116, "huber": 1, "mean_variance": 117}[age["loss"]]
    assert np.allclose(answers.age, heads.years(outputs["age"], Age(**age).answers))
    assert (answers.age >= 0).all() and (answers.age <= 116).all()
