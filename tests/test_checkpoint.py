"""Checkpoints bring back all of a training, also where another precision is computed in; damaged ones nothing."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from faceline.learning import checkpoint, normalization, optimizers, training
from tests.toys import network, recipe

# Keras 3.15 converts variables the old way when it saves a network.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")


def test_a_checkpoint_brings_back_every_variable(tmp_path: Path) -> None:
    settings = recipe(networks=[network()])
    models = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        model = training.build(settings.networks[0], settings)
        training.compile_network(model, settings.networks[0], settings, 1)
        models.append(model)
    progress = checkpoint.Progress(epoch=2, best=1.5, waited=1, history=[{"epoch": 1}])
    checkpoint.save(tmp_path / "x.npz", models[0], models[0].get_weights(), progress)
    assert json.loads((tmp_path / "x.json").read_text()) == [{"epoch": 1}]
    best, found = checkpoint.restore(tmp_path / "x.npz", models[1])
    assert found == progress
    assert all(np.array_equal(a, b) for a, b in zip(best, models[0].get_weights(), strict=True))
    for a, b in zip(models[0].variables, models[1].variables, strict=True):
        assert np.array_equal(a.numpy(), b.numpy()), a.path
    assert any("seed_generator" in variable.path for variable in models[0].variables)


@pytest.mark.parametrize("keep", [0, 100, -100, None])
def test_a_damaged_checkpoint_is_as_good_as_none(keep: int | None, tmp_path: Path) -> None:
    settings = recipe()
    model = training.build(settings.networks[0], settings)
    training.compile_network(model, settings.networks[0], settings, 1)
    start = model.get_weights()
    file = tmp_path / "x.npz"
    checkpoint.save(file, model, [weight + 1 for weight in start], checkpoint.Progress(epoch=2))
    whole = file.read_bytes()
    file.unlink() if keep is None else file.write_bytes(whole[:keep])
    best, progress = checkpoint.restore(file, model)
    assert progress == checkpoint.Progress()
    assert all(np.array_equal(a, b) for a, b in zip(best, start, strict=True))


def compiled(precision: str) -> keras.Model:
    """A network whose normalization is fused, as in a training with that precision."""
    settings = recipe(networks=[network("age") | {"arguments": {"width": 16}}], precision=precision)
    model = normalization.fused(training.build(settings.networks[0], settings, precision))
    training.compile_network(model, settings.networks[0], settings, 1)
    return model


def test_in_float16_the_loss_is_scaled_and_its_scale_is_in_the_checkpoint(tmp_path: Path) -> None:
    model = compiled("mixed_float16")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert optimizers.rate(model.optimizer) == pytest.approx(0.003)
    model.optimizer.dynamic_scale.assign(1024)
    checkpoint.save(tmp_path / "x.npz", model, model.get_weights(), checkpoint.Progress(epoch=1))
    again = compiled("mixed_float16")
    checkpoint.restore(tmp_path / "x.npz", again)
    assert float(again.optimizer.dynamic_scale) == 1024


@pytest.mark.parametrize(("before", "after"), [("mixed_float16", "mixed_bfloat16"), ("float32", "mixed_float16")])
def test_a_training_goes_on_where_another_precision_is_computed_in(tmp_path: Path, before: str, after: str) -> None:
    first, second = compiled(before), compiled(after)
    batch = np.random.default_rng(1).normal(size=(4, 28, 28, 3)).astype(np.float32), np.full((4, 1), 30)
    if before == "mixed_float16":
        first.optimizer.dynamic_scale.assign(1)  # at the scale it begins with the first step may be skipped
    first.fit(*batch, verbose=0)
    checkpoint.save(tmp_path / "x.npz", first, first.get_weights(), checkpoint.Progress(epoch=1))
    _, progress = checkpoint.restore(tmp_path / "x.npz", second)
    assert progress.epoch == 1
    assert int(second.optimizer.iterations) == 1
    moments = [
        [v.numpy() for v in getattr(model.optimizer, "inner_optimizer", model.optimizer).variables]
        for model in (first, second)
    ]
    assert all(map(np.array_equal, *moments))
    assert all(map(np.array_equal, first.get_weights(), second.get_weights()))
    second.fit(*batch, verbose=0)
