"""A DVC pipeline that trains, judges and reports a model of one number, for the flows that compare, tune and promote.

The closer `rate` of the chosen recipe is to 0.3 the better the model; a `rate` below 0 makes training fail. Training
tells of its epochs as the project's own does: a line each, and beside its checkpoint the epochs so far as JSON. While
raw/hold names a number of trainings, one that comes after so many does not go beyond its first epoch.
"""

from pathlib import Path

from tests.e2e.project import Project
from tests.toy_pipeline import repository

STAGE = r"""
import json, pathlib, random, sys, time
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML
from faceline.datasets.tables import PREDICTIONS
def write(path, value):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
name = sys.argv[1]
if name == "shard":
    write("data/shards/rows", pathlib.Path("raw/rows").read_text())
elif name == "train":
    params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
    recipe = params["recipes"][params["recipe"]]
    if recipe["rate"] < 0:
        sys.exit(f"Error: rate {recipe['rate']} is below 0")
    rows = []
    for epoch in range(1, recipe["epochs"] + 1):
        error = 1 + 10 * abs(recipe["rate"] - 0.3) + 1 / epoch
        rows.append({"network": "toy", "epoch": epoch, "val_loss": error, "val_age_mae": error})
        write(f"data/store/train/{recipe['rate']}/toy.json", rows)
        print(f"epoch {epoch}", flush=True)
        time.sleep(0.3)
        hold, trainings = pathlib.Path("raw/hold"), len(list(pathlib.Path("data/store/train").iterdir()))
        while hold.exists() and trainings > int(hold.read_text()):
            time.sleep(0.1)
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    write("models/history.csv", "\n".join(lines) + "\n")
    write("models/bundle/card.json", {"error": error})
elif name == "evaluate":
    error, chance = json.loads(pathlib.Path("models/bundle/card.json").read_text())["error"], random.Random(1)
    ages = [chance.randint(9, 99) for _ in range(200)]
    columns = {field.name: [None] * 200 for field in PREDICTIONS}
    columns |= {"image_id": [str(i) for i in range(200)], "age": ages,
                "age_predicted": [age + error * chance.gauss(0, 1) for age in ages]}
    pathlib.Path("data/evaluate").mkdir(parents=True)
    pq.write_table(pa.table(columns, PREDICTIONS), "data/evaluate/predictions.parquet")
    mae = sum(abs(a - p) for a, p in zip(ages, columns["age_predicted"])) / 200
    write("models/metrics.json", {"age": {"mae": mae}, "rows": 200})
elif name == "gate":
    key, ceiling = sys.argv[2], float(sys.argv[3])
    metrics = pathlib.Path("models/metrics.json")
    mae = json.loads(metrics.read_text())["age"]["mae"] if key == "evaluate" else 0
    finding = {"table": "floors and ceilings", "column": "age_mae", "expectation": "expect_column_values_to_be_between",
               "expected": {"max_value": ceiling}, "observed": mae, "success": mae <= ceiling, "share": 0, "key": None,
               "examples": [], "reason": "a worse model is of no use"}
    write(f"data/gates/{key}.json", {"gate": key, "success": mae <= ceiling, "expectations_total": 1, "skipped": [],
                                     "expectations": [finding]})
    if mae > ceiling:
        sys.exit(f"Error: gate {key} failed")
    write(f"data/gates/{key}.pass", "passed")
elif name == "report":
    write("data/report/index.html", "a report")
    write("models/CARD.md", "# The card")
"""
DVC = """
stages:
  shard:
    cmd: python stage.py shard
    deps: [raw/rows]
    outs: [data/shards]
  train:
    cmd: python stage.py train
    params: [recipe, "recipes.${recipe}"]
    deps: [data/shards, data/gates/shard.pass]
    outs:
      - models/bundle
      - models/history.csv:
          cache: false
  evaluate:
    cmd: python stage.py evaluate
    deps: [models/bundle]
    outs: [data/evaluate]
    metrics:
      - models/metrics.json:
          cache: false
  report:
    cmd: python stage.py report
    deps: [data/evaluate, data/gates/evaluate.json]
    outs:
      - data/report
      - models/CARD.md:
          cache: false
  gate:
    foreach:
      shard: {table: data/shards, beside: raw/rows}
      evaluate: {table: data/evaluate, beside: models/baseline.json}
    do:
      cmd: python stage.py gate ${key} ${ceiling}
      deps: ["${item.table}", "${item.beside}"]
      outs:
        - data/gates/${key}.pass
      metrics:
        - data/gates/${key}.json:
            cache: false
artifacts:
  toy: {path: models/bundle, type: model}
"""
PARAMS = """
dataset: toy
recipe: plain
ceiling: 99
compare:
  variants:
    - {name: worse, set: [recipes.plain.rate=0.9]}
    - {name: wrong, set: [recipes.plain.rate=-1]}
    - {name: better, set: [recipes.plain.rate=0.35]}
  metric: age.mae
  direction: minimize
  show: [rows]
tune:
  study: tuned
  recipe: plain
  trials: 6
  metric: val_age_mae
  direction: minimize
  seed: 1
  startup_trials: 1
  warmup_epochs: 1
  space:
    rate: {low: 0.0, high: 1.0}
recipes:
  plain:
    rate: 0.6 # a comment that must stay
    epochs: 3
"""


def toy_models(root: Path) -> Project:
    """The pipeline at `root`, built and committed."""
    (root / "raw").mkdir(parents=True)
    (root / "models").mkdir()
    (root / "raw/rows").write_text("one two")
    (root / "models/baseline.json").write_text("{}\n")
    project = repository(root, STAGE, DVC, PARAMS)
    project.dvc("repro", "-q")
    project.commit("the first model")
    return project
