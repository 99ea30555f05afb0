"""Running a gate's suite with Great Expectations; the one module that imports it, and only when a suite is run.

The context lives in memory alone: no project folder, no analytics, no progress bars, nothing fetched or kept.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from faceline.gates.expectations import Expectation, Judged
from faceline.gates.verdict import Finding, Verdict, plain

EXAMPLES = 20  # failing rows named in a report


def run(gate: str, frames: Iterable[Judged]) -> Verdict:
    """Judge the frames one by one, each let go before the next is built; stop where an essential one fails."""
    frame = _context().data_sources.add_pandas("gate").add_dataframe_asset("frame")
    definition = frame.add_batch_definition_whole_dataframe("whole")
    findings: list[Finding] = []
    numbers: dict[str, int] = {}
    skipped: list[str] = []
    for judged in frames:
        found = list(_judge(definition, judged)) if judged.expectations else []
        findings += found
        numbers |= judged.numbers
        skipped += judged.skipped
        if judged.essential and not all(finding.success for finding in found):
            skipped.append(f"everything that needs {judged.name}")
            break
    return Verdict(gate, tuple(findings), numbers, tuple(skipped))


def _context() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the package is imported
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it imports modules that Python has deprecated
        import great_expectations

        context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


def _judge(definition: Any, judged: Judged) -> Iterator[Finding]:
    from great_expectations.core.expectation_suite import ExpectationSuite

    # Given at once: its `add_…` would let a second expectation of one type on one column replace the first.
    configurations = [_configuration(expectation, place) for place, expectation in enumerate(judged.expectations)]
    suite = ExpectationSuite(name=judged.name, expectations=configurations)
    batch = definition.get_batch({"dataframe": judged.frame})
    form: dict[str, Any] = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    if judged.key is not None:
        form["unexpected_index_column_names"] = [judged.key]
    results = batch.validate(suite, result_format=form).results
    by_place = {result.expectation_config.meta["place"]: result for result in results}  # their order is its own
    for place, expectation in enumerate(judged.expectations):
        yield _finding(judged, expectation, by_place[place])


def _configuration(expectation: Expectation, place: int) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(type=expectation.type, kwargs=expectation.kwargs, meta={"place": place})


def _finding(judged: Judged, expectation: Expectation, result: Any) -> Finding:
    kwargs = dict(expectation.kwargs)
    column = kwargs.pop("column", None) or kwargs.pop("column_A", None)
    counted = result.result.get("element_count") or 0
    unexpected = result.result.get("unexpected_count") or 0
    return Finding(
        table=judged.name,
        expectation=expectation.type,
        column=column,
        expected=plain(kwargs),
        observed=plain(_observed(judged, column, result)),
        success=bool(result.success),
        share=plain(unexpected / counted if counted else 0.0),
        key=judged.key,
        examples=plain(_examples(result)) if judged.key else [],
        reason=expectation.why,
    )


def _examples(result: Any) -> list[Any]:
    return (result.result.get("partial_unexpected_index_list") or [])[:EXAMPLES]


def _observed(judged: Judged, column: str | None, result: Any) -> Any:
    """The observed value of an aggregate or of a frame of one row; else how many rows were unexpected, and values."""
    if "observed_value" in result.result:
        return result.result["observed_value"]
    if not result.result:  # it could not be judged at all, for want of the column, say
        raised = result.exception_info
        return next((item["exception_message"] for item in raised.values() if isinstance(item, dict)), "not judged")
    if len(judged.frame) == 1 and column is not None:
        return judged.frame[column].iloc[0]
    values = [item["value"] for item in result.result.get("partial_unexpected_counts") or []]
    return {"unexpected": result.result["unexpected_count"], "of": result.result["element_count"], "values": values[:5]}
