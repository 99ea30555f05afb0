"""What runs leave in the UI, as rows and pages: from verdicts, metrics and counts."""

from pathlib import Path

from pipelines.artifacts import flat, gate_rows, metric_rows, summary
from pipelines.project import Stage


def finding(success: bool, **more: object) -> dict[str, object]:
    return {
        "table": "clean/kept.parquet", "column": "age", "expectation": "expect_column_values_to_be_between",
        "expected": {"min_value": 9, "max_value": 99}, "observed": {"of": 3, "unexpected": 1}, "success": success,
        "share": 0.3, "key": "image_id", "examples": [{"image_id": str(i), "age": 100} for i in range(9)],
        "reason": "the rules say so", **more,
    }  # fmt: skip


def test_a_row_an_expectation_the_failed_ones_first() -> None:
    rows = gate_rows({"expectations": [finding(True, column=None, examples=[]), finding(False)]})
    assert [row["verdict"] for row in rows] == ["NOT MET", "met"]
    assert rows[0]["expectation"] == "column_values_to_be_between"
    assert rows[0]["expected"] == "min_value 9, max_value 99"
    assert rows[0]["rows"] == "; ".join(f"image_id {i}, age 100" for i in range(5))
    assert rows[1]["column"] == ""


def test_metrics_beside_the_last_run_and_the_baseline() -> None:
    now = flat({"age": {"mae": 5.5, "names": {"a": "text"}}, "rows": 10, "ok": True})
    assert now == {"age.mae": 5.5, "rows": 10}
    first, second = metric_rows(now, {"age.mae": 6.0}, {"age.mae": 5.0})
    assert first == {
        "metric": "age.mae", "value": 5.5, "last run": 6.0, "change": -0.5, "baseline": 5.0, "against baseline": 0.5
    }  # fmt: skip
    assert second["change"] is None and second["baseline"] is None


def test_the_summary_tells_states_and_counts(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text('{"rows_in": 1210, "kept": 1207, "rejected": {"no_face": 2, "blurred": 1}}')
    stage = Stage("crop", (), True, "", (), (tmp_path,), ())
    without = Stage("train", (), True, "", (), (tmp_path / "none",), ())
    states = {"crop": ("Completed", "ran"), "train": ("Failed", "a | b\nc")}
    page = summary(states, [stage, without], "http://127.0.0.1:4201/workspace/index.html")
    assert "| crop | Completed | ran |" in page
    assert "| train | Failed | a \\| b c |" in page
    assert "| crop | 1,210 | 1,207 | no_face 2, blurred 1 |" in page
    assert page.count("| train |") == 1
    assert page.startswith("[The report](http://127.0.0.1:4201/workspace/index.html)")
