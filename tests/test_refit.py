"""Second-stage learners in the place of heads: their rows, their features, killed trainings, bundles, bad settings."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from faceline.datasets.records import ShardSettings, read_rows
from faceline.errors import SettingsError
from faceline.gates.passes import write_pass
from faceline.learning import inputs, oversampling, refit, training
from faceline.learning.answering import CropPredictor
from faceline.learning.forest_head import ForestHead
from faceline.learning.inputs import Subset
from faceline.learning.recipe import Recipe
from faceline.params import section
from stages.train import main
from tests.toys import RECIPE, ROWS, SIDE, network, recipe, write_shards

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
TARGETS = ("age", "gender", "race")
FOREST = {"learner": "forest", "trees": 5, "max_depth": 4, "min_samples_leaf": 2, "max_features": 0.5}
CROSSENTROPY = {"loss": "crossentropy"}
SMOTE = {"learner": "smote", "k_neighbors": 1}  # of one race the toys have 2 rows
SETTINGS = ShardSettings(formats=("tfrecord",), rows=20, seed=1)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("toys") / "shards", SETTINGS)


def settings(**learners: Any) -> Recipe:
    return recipe(networks=[{**network(), "refit": learners}], epochs=1)


def small(**learners: Any) -> Recipe:
    """A network that is trained faster; it has no race."""
    return recipe(networks=[{**RECIPE["networks"][0], "refit": learners}], epochs=1)


def untrained(wanted: Recipe) -> keras.Model:
    keras.utils.set_random_seed(1)
    return training.build(wanted.networks[0], wanted)


def refitted(model: keras.Model, wanted: Recipe, shards: Path) -> keras.Model:
    return refit.refit(model, wanted.networks[0], wanted, Subset.of(shards, "train"), lambda line: None)


def features(model: keras.Model, wanted: Recipe, shards: Path, head: str = "age") -> tuple[np.ndarray, Any]:
    trunk = keras.Model(model.input, model.get_layer(head).input)
    return refit.extract(trunk, wanted, Subset.of(shards, "train"), TARGETS)


def answers(model: keras.Model, wanted: Recipe, shards: Path) -> dict[str, np.ndarray]:
    batches = inputs.judging(Subset.of(shards, "train"), wanted, TARGETS)
    parts = [model.predict_on_batch(pictures) for pictures, _, _ in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_features_come_in_order_with_labels_or_nan(shards: Path) -> None:
    wanted = settings()
    model = untrained(wanted)
    found, labels = features(model, wanted, shards)
    rows = list(read_rows(shards, "train"))
    assert found.shape == (ROWS["train"], 16) and found.dtype == np.float32
    assert labels["age"].tolist() == [row["age"] for row in rows]
    assert np.isnan(labels["race"]).tolist() == [row["race"] is None for row in rows]
    kernel, bias = model.get_layer("gender").get_weights()
    assert np.allclose(1 / (1 + np.exp(-(found @ kernel + bias))), answers(model, wanted, shards)["gender"], atol=1e-5)


def test_forests_answer_in_the_place_of_the_heads_as_scikit_learn_does(shards: Path) -> None:
    wanted = settings(age=FOREST, race=FOREST)
    model = untrained(wanted)
    found, labels = features(model, wanted, shards)
    before, after = (answers(network, wanted, shards) for network in (model, refitted(model, wanted, shards)))
    options = {"n_estimators": 5, "max_depth": 4, "min_samples_leaf": 2, "max_features": 0.5, "random_state": 1}
    ages = RandomForestRegressor(**options).fit(found, labels["age"]).predict(found)
    known = ~np.isnan(labels["race"])
    races = RandomForestClassifier(**options).fit(found[known], labels["race"][known]).predict_proba(found)
    assert np.allclose(after["age"], ages[:, None], rtol=0, atol=1e-5)
    assert np.allclose(after["race"], races, rtol=0, atol=1e-5)
    assert np.array_equal(after["gender"], before["gender"])


def test_each_forest_learns_from_the_features_of_its_own_head(shards: Path) -> None:
    wanted = recipe(networks=[{**network("age", "gender"), "refit": {"age": FOREST, "gender": FOREST}}])
    image = keras.Input((28, 28, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)  # ages make them light, gender a hue
    own = {"age": keras.layers.Lambda(lambda x: x[:, :1])(pooled), "gender": pooled}
    model = keras.Model(image, {name: keras.layers.Dense(1, name=name)(own[name]) for name in own})
    changed = refitted(model, wanted, shards)
    heads = [changed.get_layer(name) for name in ("age", "gender")]
    assert all(isinstance(head, ForestHead) for head in heads)
    assert [head.input.shape[-1] for head in heads] == [1, 3]
    rows = list(read_rows(shards, "train"))
    right = (answers(changed, wanted, shards)["gender"][:, 0] > 0.5) == [row["gender"] == 1 for row in rows]
    assert right.mean() > 0.95


def test_smote_learns_one_head_anew_and_leaves_the_rest(shards: Path) -> None:
    wanted = settings(race=SMOTE)
    model = untrained(wanted)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    found, labels = features(model, wanted, shards)
    changed = refitted(model, wanted, shards)
    assert changed is model
    for layer in model.layers:
        kept = all(map(np.array_equal, before[layer.name], layer.get_weights()))
        assert kept == (layer.name != "race"), layer.name
    known = ~np.isnan(labels["race"])
    learner = wanted.networks[0].refit.race
    assert isinstance(learner, oversampling.Smote)
    weights = oversampling.learn_head(learner, "race", found[known], labels["race"][known], seed=1)
    assert all(map(np.array_equal, model.get_layer("race").get_weights(), weights))


def test_a_training_killed_before_its_heads_are_learned_goes_on_to_the_same_end(shards: Path, tmp_path: Path) -> None:
    wanted = small(age=FOREST, gender=SMOTE)
    whole = training.train(wanted, shards, tmp_path / "whole", lambda line: None)[0]
    said: list[str] = []

    def die_at_the_first_head(line: str) -> None:
        said.append(line)
        if "age by" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(wanted, shards, tmp_path / "killed", die_at_the_first_head)
    resumed = training.train(wanted, shards, tmp_path / "killed", said.append)[0]
    told = [line.split(", ")[0].split(": ")[1] for line in said if "validation" in line or " by a " in line]
    assert told == [
        "epoch 1/1",
        "age by a forest of 5 trees",
        "age by a forest of 5 trees",
        "gender by a head learned on oversampled features",
    ]
    assert all(map(np.array_equal, resumed.model.get_weights(), whole.model.get_weights()))


def test_features_that_would_not_fit_are_refused_before_training(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refit, "LARGEST", ROWS["train"] * 16 * 4)
    refit.require_room(untrained(settings()), settings(age=FOREST).networks[0], ROWS["train"])
    message = "compact-age-gender-race: refit.race: 240 rows of 16 features take 0.0 GiB; at most 0 GiB are allowed"
    with pytest.raises(SettingsError, match=message):
        training.train(settings(race=SMOTE), shards, tmp_path, pytest.fail)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refit": {"age": SMOTE}}, "refit.age.learner = 'smote': input should be 'forest'"),
        ({"refit": {"race": {"learner": "boosting"}}}, "'forest', 'smote'"),
        ({"refit": {"race": {**FOREST, "trees": 0}}}, "refit.race.forest.trees = 0"),
        ({"refit": {"age": {**FOREST, "depth": 3}}}, "refit.age.depth is not a setting"),
        ({**network("age"), "refit": {"race": SMOTE}}, "refit can be of the network's own targets, age"),
        (
            {"targets": {"age": {"loss": "mae", "given": ["race"]}, "race": CROSSENTROPY}, "refit": {"race": FOREST}},
            "race is given to another head, so it cannot be refitted",
        ),
    ],
)
def test_a_wrong_learner_is_named_with_what_is_allowed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        recipe(networks=[{**network(), **changes}])
    assert message in caught.value.message


def run_stage(shards: Path, **learners: Any) -> Any:
    sample = section("datasets", "sample", path=Path(__file__).parent.parent / "params.yaml")
    sample["crop"]["size"] = SIDE
    toy = small(**learners).model_dump()
    with Path("params.yaml").open("w") as file:
        chosen = {"dataset": "toy", "recipe": "toy", "hardware": {}}
        whole = {**chosen, "datasets": {"toy": sample}, "recipes": {"toy": toy}}
        YAML(typ="safe", pure=True).dump(whole, file)
    write_pass(Path("gates"), "shard", shards)
    options = {"shards": shards, "gates": "gates", "store": "store", "history": "history.csv", "output": "bundle"}
    return CliRunner().invoke(main, [f"--{name}={value}" for name, value in options.items()])


def test_a_bundle_of_forests_is_served_as_any_other(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_stage(shards, age=FOREST, gender=FOREST)
    assert result.exit_code == 0, result.output
    found = CropPredictor(Path("bundle")).predict_crops(np.full((3, SIDE, SIDE, 3), 90, np.uint8))
    assert found.age is not None and found.female_probability is not None
    assert found.age.shape == (3,) and 10 < found.age[0] < 90
    assert 0 <= found.female_probability[0] <= 1


def test_a_code_too_rare_to_be_oversampled_stops_the_stage(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_stage(shards, gender=SMOTE)  # the toys' manifest counts one man
    assert result.exit_code == 2
    assert "smote.k_neighbors is 1, but train has 1 rows of gender male; it must be smaller" in result.output
