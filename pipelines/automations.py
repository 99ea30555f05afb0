"""What the server does by itself: mark runs whose process is gone as Crashed, tell a webhook of runs that failed."""

from contextlib import suppress
from datetime import timedelta

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.settings import get_current_settings
from prefect.types import SecretDict
from pydantic import SecretStr

from pipelines.building import CACHED
from pipelines.check import UNCHANGED
from pipelines.promote import REFUSED

ZOMBIES = "faceline: runs without a heartbeat"
FAILURES = "faceline: tell of runs that failed"
BLOCK = "faceline-failures"  # the webhook that is told
MISSED = 3  # heartbeats
PAYLOAD = """{
  "run": {{ flow_run.name | tojson }},
  "flow": {{ flow.name | tojson }},
  "state": {{ flow_run.state.name | tojson }},
  "message": {{ flow_run.state.message | tojson }},
  "link": {{ ("UI/runs/flow-run/" ~ flow_run.id) | tojson }}
}"""  # UI stands for where the UI is, as the client that sets this up knows it; the server need not be told
JSON = {"Content-Type": "application/json"}
RUN = "prefect.flow-run"
ENDS = ("Completed", CACHED, UNCHANGED, REFUSED, "Failed", "Cancelled", "Crashed")  # names of final states


def mark_zombies() -> None:
    """Have runs marked as Crashed whose process has stopped telling that it lives, as after a kill -9 or a power cut.

    Source: Prefect's documentation, "How to detect and respond to zombie flows".
    """
    every = get_current_settings().flows.heartbeat_frequency or 30
    ends = {f"{RUN}.{state}" for state in ENDS}
    trigger = EventTrigger(
        after={f"{RUN}.heartbeat"},
        expect={f"{RUN}.heartbeat", *ends},
        match=ResourceSpecification({"prefect.resource.id": [f"{RUN}.*"]}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=MISSED * every),
    )
    crashed = ChangeFlowRunState(state=StateType.CRASHED, message=f"no heartbeat for {MISSED * every} seconds")
    _put(Automation(name=ZOMBIES, trigger=trigger, actions=[crashed]))


def tell_failures(url: str) -> None:
    """Have a webhook called with a JSON object whenever a run ends Failed or Crashed."""
    block = Webhook(method="POST", url=SecretStr(url), headers=SecretDict(JSON)).save(BLOCK, overwrite=True)
    payload = PAYLOAD.replace("UI", (get_current_settings().ui_url or "").rstrip("/"))
    trigger = EventTrigger(
        expect={f"{RUN}.Failed", f"{RUN}.Crashed"},
        match=ResourceSpecification({"prefect.resource.id": [f"{RUN}.*"]}),
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )
    _put(Automation(name=FAILURES, trigger=trigger, actions=[CallWebhook(block_document_id=block, payload=payload)]))


def _put(automation: Automation) -> None:
    """Create an automation, in place of one of that name."""
    with suppress(ValueError):  # there is none
        Automation.read(name=automation.name).delete()
    automation.create()
