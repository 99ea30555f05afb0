"""What `faceline evaluate` prints of metrics."""

from rich.console import Console

from faceline.evaluation.metrics_table import groups_table, metrics_table


def test_a_metric_stands_with_its_interval_where_it_has_one() -> None:
    alone = {"age": {"mae": 5.0}, "rows": 3}
    metrics = {"age": {"mae": 4.2, "mae_low": 4.0, "mae_high": 4.4}, "rows": 40, "all_readable": alone, "baseline": {}}
    console = Console(width=160, record=True, file=None)
    with console.capture() as printed:
        console.print(metrics_table(metrics))
    line = next(line for line in printed.get().splitlines() if "mean absolute error" in line)
    assert "4.20 (4.00 to 4.40)" in line
    assert "5.00 " in line and "5.00 (" not in line


def test_numbers_from_few_rows_are_marked() -> None:
    many, few = {"accuracy": 0.9, "n": 30}, {"accuracy": 0.7, "n": 29}
    console = Console(width=160, record=True, file=None)

    def printed(**groups: dict[str, dict[str, float]]) -> list[list[str]]:
        with console.capture() as lines:
            console.print(groups_table({"slices": {"gender": groups}}))
        return [[cell.strip() for cell in line.split("│")[1:-1]] or [line.strip()] for line in lines.get().splitlines()]

    lines = printed(male={"gender": many, "race": few}, female={"gender": few, "race": few})
    assert ["gender male", "30", "", "", "90.0%", "70.0% *"] in lines
    assert ["gender female", "29 *", "", "", "70.0%", "70.0%"] in lines
    assert lines[-1] == ["* from fewer than 30 pictures: it says little"]
    assert not any("*" in cell for line in printed(male={"gender": many, "race": many}) for cell in line)
