"""What schemathesis makes up from the OpenAPI document: no answer may be a fault of the server or undocumented."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.serving import listening
from tests.toy_bundle import write_toy_bundle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
KEY = "a key"
OPERATIONS = ["GET /health", "GET /model", "GET /metrics", "POST /predict", "POST /predict/batch"]


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, schemathesis.schemas.APIOperation]]:
    """What the OpenAPI document of a server describes, by its label."""
    bundle = write_toy_bundle(tmp_path_factory.mktemp("fuzz") / "bundle")
    with listening(bundle, api_key=KEY) as port:
        schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
        found = [result.ok() for result in schema.get_all_operations()]
        yield {operation.label: operation for operation in found}


def test_every_route_is_described(operations: dict[str, schemathesis.schemas.APIOperation]) -> None:
    assert sorted(operations) == sorted(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_makes_the_server_fail(operations: dict[str, schemathesis.schemas.APIOperation], label: str) -> None:
    @given(case=operations[label].as_strategy())
    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
    def check(case: schemathesis.Case) -> None:
        # A schema cannot say which bytes are a picture, so that not all that it allows is accepted.
        case.call_and_validate(headers={"X-API-Key": KEY}, excluded_checks=[positive_data_acceptance])

    check()
