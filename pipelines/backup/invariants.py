"""What must hold in a restored store beyond the same rows: what `db check` and `evidence verify` prove."""

import asyncio

from core.settings import Settings
from pipelines import store_checks
from pipelines.backup.workers import Told
from pipelines.evidence.verify import verify_evidence

INVARIANTS = "invariants"


async def find_broken(settings: Settings, told: Told) -> list[str]:
    """Return what does not hold, a sentence each; the sessions of this loop go to the store that is meant."""
    tenants = await asyncio.to_thread(store_checks.list_all_tenants, settings, None)
    steps = 4

    def tell(step: int) -> "store_checks.OnTenant":
        return lambda done, everyone: told(INVARIANTS, step * len(tenants) + done, (steps + 1) * max(everyone, 1))

    findings = [
        await store_checks.check_guards(),
        await store_checks.check_audit_chains(tenants, tell(0)),
        await store_checks.check_counters(tenants, tell(1), repair=None),
        await store_checks.check_ledger(tenants, tell(2)),
    ]
    broken = [f"{one.name}: {one.detail}." for one in findings if one.status != "ok"]
    proved = await verify_evidence()
    return broken + [
        f"evidence: {one.broken:,} of {one.checked:,} rows break “{one.invariant}”." for one in proved if one.broken
    ]
