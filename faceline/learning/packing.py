"""Packing what training leaves into a bundle; `faceline.learning.bundle` opens it again."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faceline.datasets.labels import GENDERS, RACES
from faceline.files import sha256_file, write_json
from faceline.learning.card import CARD, FORMAT, Card, Input, NamedRecipe, NetworkFile
from faceline.learning.keras_file import save_network
from faceline.learning.recipe import Recipe, recipe_digest
from faceline.learning.training import Trained


def write_bundle(folder: Path, trained: Sequence[Trained], recipe: Recipe, *, name: str, **card: Any) -> None:
    """Write the networks and the card to an existing folder.

    Args:
        trained: the networks of `recipe`, which is called `name`.
        card: the fields of `Card` that do not follow from these.
    """
    files = []
    for network in trained:
        path = folder / f"{network.name}.keras"
        own = recipe.of(network.settings)
        save_network(path, network.model, own.serving)
        targets, parameters = network.settings.targets.names, network.model.count_params()
        files.append(
            NetworkFile(
                file=path.name,
                sha256=sha256_file(path),
                input=Input.of(own),
                targets=targets,
                parameters=parameters,
            )
        )
    whole = Card(
        format=FORMAT,
        recipe=NamedRecipe(name=name, digest=recipe_digest(recipe), settings=recipe),
        targets=recipe.targets,
        labels={"gender": GENDERS, "race": RACES},
        networks=tuple(files),
        flip_averaging=recipe.serving.flip_averaging,
        **card,
    )
    write_json(folder / CARD, whole.model_dump(mode="json"))
