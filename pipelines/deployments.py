"""Which flows the server offers and starts by itself. prefect.yaml says the same for work pools."""

from pathlib import Path
from typing import Any

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment

from pipelines.check import check
from pipelines.compare import compare
from pipelines.crossvalidate import crossvalidate
from pipelines.promote import promote
from pipelines.rebuild import rebuild
from pipelines.tune import tune

NIGHTLY = "0 2 * * *"  # UTC
HOURLY = "0 * * * *"
WAIT = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)
REFUSE = ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


def deployments(folder: Path) -> list[RunnerDeployment]:
    """The deployments of the project in `folder`.

    Those named `workspace` work in the folder itself, one after another. `nightly` works in a clone of its own, at the
    commit that is checked out, and leaves its result on the branch `nightly`; a second one while it runs is cancelled.
    """
    here: dict[str, Any] = {"folder": str(folder.resolve())}
    nightly = {**here, "ref": "HEAD", "branch": "nightly", "when_busy": "cancel"}
    return [
        rebuild.to_deployment("workspace", parameters=here, concurrency_limit=WAIT),
        rebuild.to_deployment("nightly", cron=NIGHTLY, parameters=nightly, concurrency_limit=REFUSE),
        check.to_deployment("hourly", cron=HOURLY, parameters=here, concurrency_limit=REFUSE),
        compare.to_deployment("workspace", parameters=here, concurrency_limit=WAIT),
        tune.to_deployment("workspace", parameters=here, concurrency_limit=WAIT),
        crossvalidate.to_deployment("workspace", parameters=here, concurrency_limit=WAIT),
        promote.to_deployment("workspace", parameters=here, concurrency_limit=WAIT),
    ]


def serve_all(folder: Path) -> None:
    """Register the deployments and run what they start, until interrupted."""
    serve(*deployments(folder))
