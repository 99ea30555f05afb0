"""Judge a table by the suite of its gate, and leave a report and, if it is good, a pass.

Reads the table and what it was made from; writes data/gates/<name>.json always, data/gates/<name>.pass only on success.
Exits 3 if the table does not pass. Run it with `dvc repro gate@clean`, or

    python -m stages.gate clean --table data/clean --beside data/ingest --output data/gates
"""

from importlib import import_module
from pathlib import Path

import click

from faceline.errors import GateError
from faceline.files import write_json
from faceline.gates.expectations import NAMES, Gate, Inputs
from faceline.gates.passes import pass_file, write_pass
from faceline.gates.suite import run
from faceline.params import chosen, read_settings


def load(name: str) -> Gate:
    """The gate of that name; the suites of the others are not imported."""
    gate: Gate = import_module(f"faceline.gates.{name}").GATE
    return gate


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
    click.echo(
        f"gate {name} passed: {verdict.met} of {len(verdict.findings)} expectations met; see {output / name}.json"
    )
    for skipped in verdict.skipped:
        click.echo(f"  not judged: {skipped}")


if __name__ == "__main__":
    main()
