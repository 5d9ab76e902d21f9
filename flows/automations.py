"""What the Prefect server does by itself when a run's process dies: nothing stays "Running" for ever.

`python -m flows.automations` puts it on the server that PREFECT_API_URL names.
"""

import asyncio
from datetime import timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.server import HEARTBEAT_SECONDS

TAG = "regenesis"
"""Deployments that bear it are started again after a crash; their flows give up after some starts (flows/starts.py)."""
SILENCE = timedelta(seconds=3 * HEARTBEAT_SECONDS)


def list_automations(silence: timedelta = SILENCE) -> list[AutomationCore]:
    """Return the two automations: silent runs have crashed; crashed runs are started again."""
    return [
        AutomationCore(
            name="regenesis: a silent run has crashed",
            description="A run whose process no longer sends heartbeats is marked as crashed.",
            trigger=EventTrigger(
                after={"prefect.flow-run.heartbeat"},
                # Any later event of the run will do: a run that has ended is silent too.
                expect={"prefect.flow-run.*"},
                match=ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"}),
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=silence,
            ),
            actions=[ChangeFlowRunState(state=StateType.CRASHED, message="Its process sends no heartbeat.")],
        ),
        AutomationCore(
            name="regenesis: a crashed run starts again",
            description="Every flow may be repeated safely; one that dies again and again gives up by itself.",
            trigger=EventTrigger(
                expect={"prefect.flow-run.Crashed"},
                match=ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"}),
                match_related=ResourceSpecification.model_validate(
                    {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
                ),
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            actions=[ChangeFlowRunState(state=StateType.SCHEDULED, name="AwaitingRetry", message="Starting again.")],
        ),
    ]


async def ensure_automations(silence: timedelta = SILENCE) -> None:
    """Put the automations on the server, replacing earlier ones of their names."""
    async with get_client() as client:
        for wanted in list_automations(silence):
            found = await client.read_automations_by_name(wanted.name)
            if found:
                await client.update_automation(found[0].id, wanted)
            else:
                await client.create_automation(wanted)


if __name__ == "__main__":
    asyncio.run(ensure_automations())
