"""Put the metrics of models/metrics.json into README.md, between its markers: `make readme`.

With `--check` nothing is written; the exit status says whether README.md is up to date.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parent.parent
START, END = "<!-- metrics: made by `make readme` -->", "<!-- end of metrics -->"


def table(metrics: dict[str, Any]) -> str:
    """The metrics against the constant predictor's, as a Markdown table."""
    age, gender, race, constant = (metrics[name] for name in ("age", "gender", "race", "baseline"))
    rows = [
        ("age, mean absolute error (years)", f"{age['mae']:.2f}", f"{constant['age']['mae']:.2f}"),
        ("age, root mean squared error (years)", f"{age['rmse']:.2f}", f"{constant['age']['rmse']:.2f}"),
        ("age, within 5 years", f"{age['cs5']:.1%}", f"{constant['age']['cs5']:.1%}"),
        ("gender, accuracy", f"{gender['accuracy']:.1%}", f"{constant['gender']['accuracy']:.1%}"),
        ("gender, AUC", f"{gender['auc']:.3f}", "0.500"),
        ("race, accuracy", f"{race['accuracy']:.1%}", f"{constant['race']['accuracy']:.1%}"),
        ("race, macro F1", f"{race['macro_f1']:.3f}", ""),
    ]
    lines = [f"| test set of the sample, {metrics['rows']} faces | model | constant |", "|---|---:|---:|"]
    return "\n".join([*lines, *(f"| {name} | {model} | {fixed} |" for name, model, fixed in rows)])


def renewed(readme: str, metrics: dict[str, Any]) -> str:
    """README with the table between its markers."""
    before, rest = readme.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table(metrics)}\n{END}{after}"


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if README.md is out of date.")
def main(check: bool) -> None:
    """Read, renew, write."""
    metrics = json.loads((ROOT / "models/metrics.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    new = renewed(readme, metrics)
    if check:
        sys.exit(new != readme)
    (ROOT / "README.md").write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
