"""Nothing is left of a client in any table or object, by a look that knows nothing of how it was erased."""

from core.settings import Settings
from pipelines.privacy.canary import look_everywhere
from pipelines.privacy.erase import erase_subject
from pipelines.privacy.plant import plant
from pipelines.privacy.plant_rows import Cast
from pipelines.privacy.verify import verify_receipt
from tests.factories.erasure import verify_request
from tests.factories.people import Organisation
from tests.factories.sessions import EMBEDDER, require_id


def cast(organisation: Organisation) -> Cast:
    return Cast(
        tenant_id=organisation.tenant_id, client=require_id(organisation.client_a),
        coach=require_id(organisation.coach_a), colleague=require_id(organisation.coach_b),
        peer=require_id(organisation.client_b),
    )  # fmt: skip


async def test_no_canary_survives_a_whole_organisation_s_end(organisation: Organisation, store: Settings) -> None:
    planted = await plant(store, cast(organisation), EMBEDDER, canaries=160)
    assert (await look_everywhere(store, planted.words)).stores["object store: archives"] == 4
    request = await verify_request(organisation, "tenant", organisation.tenant_id)
    await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    found = await verify_receipt(request, tenant_id=organisation.tenant_id)
    assert found.holds, {name: left for name, left in found.left.items() if left}
    assert (await look_everywhere(store, planted.words)).stores == {}


async def test_no_canary_survives(organisation: Organisation, store: Settings) -> None:
    planted = await plant(store, cast(organisation), EMBEDDER, canaries=160)
    before = await look_everywhere(store, planted.words)
    assert before.total >= 0.95 * len(planted.words)
    assert len(before.stores) > 40, before.stores
    assert before.stores["object store: archives"] == 4, "Parquet of a month long past"
    assert before.stores["governance.audit_logs"] == 3
    request = await verify_request(organisation, "person", require_id(organisation.client_a))
    await erase_subject(organisation.tenant_id, request, embedder=EMBEDDER)
    found = await verify_receipt(request, tenant_id=organisation.tenant_id)
    assert found.holds, {name: left for name, left in found.left.items() if left}
    after = await look_everywhere(store, planted.words)
    assert after.stores == {}
