"""Judge a table by the suite of its gate, and leave a report and, if it is good, a pass.

Reads the table and what it was made from; writes data/gates/<name>.json always, data/gates/<name>.pass only on success.
Exits 3 if the table does not pass. Run it with `dvc repro gate@clean`, or

    python -m stages.gate clean --table data/clean --beside data/ingest --output data/gates
"""

from collections import Counter
from importlib import import_module
from pathlib import Path

import click
from rich.box import SIMPLE
from rich.table import Table

from faceline.console import stderr
from faceline.errors import GateError
from faceline.files import write_json
from faceline.gates.expectations import NAMES, Gate, Inputs
from faceline.gates.passes import pass_file, write_pass
from faceline.gates.suite import run
from faceline.gates.verdict import Verdict
from faceline.params import chosen, read_settings


def load(name: str) -> Gate:
    """The gate of that name; the suites of the others are not imported."""
    gate: Gate = import_module(f"faceline.gates.{name}").GATE
    return gate


def summary(verdict: Verdict) -> Table:
    """What was found of a table that passed, a line for each frame judged."""
    lines: dict[str, list[str]] = {}
    for finding in verdict.findings:
        told = lines.setdefault(finding.table, [])
        if isinstance(finding.observed, int | float):
            told.append(f"{finding.column or 'rows'} {finding.observed}")
    met = Counter(finding.table for finding in verdict.findings)
    table = Table(title=f"gate {verdict.gate} passed", box=SIMPLE)
    if verdict.skipped:
        table.caption = f"not judged: {'; '.join(verdict.skipped)}"
    for heading in ("judged", "expectations met", "observed"):
        table.add_column(heading)
    for name, told in lines.items():
        table.add_row(name, str(met[name]), ", ".join(told))
    return table


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(NAMES))
@click.option("--table", type=click.Path(path_type=Path, exists=True), required=True, help="The folder to judge.")
@click.option("--beside", type=click.Path(path_type=Path, exists=True), required=True, help="What it was made from.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder of reports and passes.")
@click.option("--store", type=click.Path(path_type=Path), help="What gates remember: the last accepted split.")
def main(name: str, table: Path, beside: Path, output: Path, store: Path | None) -> None:
    """Read, judge, write."""
    dataset, recipe = chosen()
    gate = load(name)
    limits = read_settings(gate.limits, "datasets", dataset, "gates", name)
    for stale in (pass_file(output, name), output / f"{name}.json"):
        stale.unlink(missing_ok=True)
    inputs = Inputs(table, beside, dataset, recipe, store)
    verdict = run(name, gate.suite(inputs, limits))
    write_json(output / f"{name}.json", verdict.report())
    if not verdict.success:
        raise GateError(f"{verdict.failure()}\n  The whole report: {output / name}.json")
    if gate.accept:
        gate.accept(inputs)
    write_pass(output, name, table)
    stderr().print(summary(verdict))


if __name__ == "__main__":
    main()
