"""What `faceline evaluate` prints of metrics."""

from rich.console import Console

from faceline.evaluation.metrics_table import metrics_table


def test_a_metric_stands_with_its_interval_where_it_has_one() -> None:
    alone = {"age": {"mae": 5.0}, "rows": 3}
    metrics = {"age": {"mae": 4.2, "mae_low": 4.0, "mae_high": 4.4}, "rows": 40, "all_readable": alone, "baseline": {}}
    console = Console(width=160, record=True, file=None)
    with console.capture() as printed:
        console.print(metrics_table(metrics))
    line = next(line for line in printed.get().splitlines() if "mean absolute error" in line)
    assert "4.20 (4.00 to 4.40)" in line
    assert "5.00 " in line and "5.00 (" not in line
