"""What `regenesis doctor` and `regenesis db check` look at: each check says what it found and what to do about it."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable

from cli.console import has_store
from core.errors import AppError
from core.findings import Finding, Status
from core.settings import Settings

MIN_POSTGRES = 18
"""The store's keys are made by `uuidv7()`, which came with PostgreSQL 18."""
MIN_PGVECTOR = (0, 8)
"""Half vectors and sparse vectors came with 0.7, iterative index scans with 0.8."""
FEW_BYTES, TOO_FEW_BYTES = 5_000_000_000, 500_000_000
CHECK_SECONDS = 60
"""No check may hang the doctor."""


Check = Callable[[Settings], Awaitable[Finding]]


async def run_check(name: str, check: Check, settings: Settings, *, bounded: bool = True) -> Finding:
    """Run one check to its end, within `CHECK_SECONDS` where it is bounded; whatever breaks it is what it found."""
    try:
        return await asyncio.wait_for(check(settings), CHECK_SECONDS if bounded else None)
    except AppError as error:
        finding, _, cure = error.message.partition("; ")
        return Finding(name, "fail", finding, cure or None)
    except TimeoutError:
        return Finding(name, "fail", f"no answer in {CHECK_SECONDS} s", "look at the machine's load, then run it again")
    except Exception as error:  # noqa: BLE001  # the doctor reports what is broken, whatever it is
        return Finding(name, "fail", f"{type(error).__name__}: {error}", "report this with the line above")


async def check_python(_: Settings) -> Finding:
    """Look at the interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", f"{version} at {sys.executable}")


async def check_home(settings: Settings) -> Finding:
    """Look whether the home can be written."""
    from core.settings import ensure_home

    return Finding("home", "ok", str(ensure_home(settings)))


async def check_disk(settings: Settings) -> Finding:
    """Look at the space left where the state lives."""
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free"
    if free < FEW_BYTES:
        status: Status = "fail" if free < TOO_FEW_BYTES else "warn"
        return Finding("disk", status, detail, f"free some space on the disk of {folder}, or move REGENESIS_HOME")
    return Finding("disk", "ok", detail)


async def check_database(settings: Settings) -> Finding:
    """Look whether PostgreSQL answers, is new enough and migrated to the newest revision."""
    from sqlalchemy import text

    from db.locate import app_url
    from db.migrate import current_and_head
    from db.provision import to_driver_url
    from db.session import unbound_session

    if not has_store():
        return Finding("database", "warn", "not created yet", "run `regenesis up` or `regenesis db migrate`")
    query = (
        "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,"
        " (SELECT extversion FROM pg_extension WHERE extname = 'vector')"
    )
    async with unbound_session() as session:
        version, major, vector = (await session.execute(text(query))).one()
    current, head = await asyncio.to_thread(lambda: current_and_head(to_driver_url(app_url(settings))))
    where = "embedded" if settings.db.url is None else "REGENESIS_DB__URL"
    detail = f"PostgreSQL {version.split()[0]}, pgvector {vector}, revision {current} ({where})"
    if major < MIN_POSTGRES:
        return Finding("database", "fail", detail, f"use PostgreSQL {MIN_POSTGRES} or newer")
    if vector is None or tuple(map(int, vector.split(".")[:2])) < MIN_PGVECTOR:
        return Finding("database", "fail", detail, "install pgvector 0.8 or newer on the server")
    if current != head:
        return Finding("database", "fail", f"{detail}, the newest is {head}", "run `regenesis db migrate`")
    return Finding("database", "ok", detail)


async def check_database_role(_: Settings) -> Finding:
    """Look whether the role the product signs in with is bound by row-level security at all."""
    from sqlalchemy import text

    from db.session import unbound_session

    if not has_store():
        return Finding("database role", "warn", "not created yet", "run `regenesis up` or `regenesis db migrate`")
    query = (
        "SELECT rolname, rolsuper, rolbypassrls, (SELECT count(*) FROM pg_class WHERE relowner = r.oid)"
        " FROM pg_roles r WHERE rolname = current_user"
    )
    async with unbound_session() as session:
        name, is_superuser, bypasses, owned = (await session.execute(text(query))).one()
    faults = [
        fault
        for fault, found in (
            ("is a superuser", is_superuser),
            ("bypasses row-level security", bypasses),
            (f"owns {owned} tables or indexes", owned),
        )
        if found
    ]
    if faults:
        cure = "sign in with a role that owns nothing, such as regenesis_app, in REGENESIS_DB__URL"
        return Finding("database role", "fail", f"{name} {' and '.join(faults)}", cure)
    return Finding("database role", "ok", f"{name}: no superuser, owns nothing, bound by row-level security")


async def check_row_level_security(_: Settings) -> Finding:
    """Look whether every table that holds a tenant's rows forces row-level security and has a policy."""
    from sqlalchemy import text

    from db.base import SCHEMAS
    from db.session import unbound_session

    if not has_store():
        return Finding("row-level security", "warn", "not created yet", "run `regenesis up` or `regenesis db migrate`")
    query = (
        "SELECT format('%s.%s', n.nspname, c.relname), c.relrowsecurity AND c.relforcerowsecurity"
        "   AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = ANY (:schemas) AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
        "   AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')"
        " ORDER BY 1"
    )
    async with unbound_session() as session:
        tables = [(name, is_bound) for name, is_bound in await session.execute(text(query), {"schemas": list(SCHEMAS)})]
    open_tables = [name for name, is_bound in tables if not is_bound]
    if open_tables or not tables:
        detail = f"not forced on {', '.join(open_tables)}" if open_tables else "there are no tables"
        return Finding("row-level security", "fail", detail, "run `regenesis db migrate`")
    return Finding("row-level security", "ok", f"forced on all {len(tables)} tenant tables")


async def check_master_key(settings: Settings) -> Finding:
    """Look whether the key that wraps every organisation's key can be read, by nobody else."""
    from core.crypto import MASTER_KEY_FILE, load_master_key

    path = settings.home / MASTER_KEY_FILE
    if settings.crypto.kms_key_id is not None:
        master = load_master_key(settings)
        made, wrapped = await master.make("doctor")
        if await master.unwrap(wrapped, "doctor") != made or await master.wrap(made, "doctor") == made:
            return Finding("master key", "fail", f"{master.id} gave back another key", "look at that key service")
        return Finding("master key", "ok", f"{master.id} makes, wraps and unwraps keys")
    if settings.crypto.master_key is None and not path.exists():
        return Finding("master key", "ok", f"{path} is made when it is first needed")
    key = load_master_key(settings)
    where = "REGENESIS_CRYPTO__MASTER_KEY" if settings.crypto.master_key else f"{path}; keep a copy with your backups"
    return Finding("master key", "ok", f"{key.id} in {where}")


async def check_backups(_: Settings) -> Finding:
    """Look how old the last good backup is, and how its last drill went."""
    from cli.backup import describe_seconds
    from pipelines.backup.history import OLD_BACKUP_SECONDS, OLD_DRILL_SECONDS, read_last

    if not has_store():
        return Finding("backups", "warn", "none yet", "run `regenesis db backup` once there is a store")
    last = await read_last()
    if last.last_good is None:
        failed = f"; the last try failed: {last.error}" if last.error else ""
        return Finding("backups", "warn", f"none yet{failed}", "run `regenesis db backup`, best every night")
    age = (last.now - last.last_good).total_seconds()
    parts = [f"last good backup {describe_seconds(age)} ago"]
    if last.drilled_at is None:
        parts.append("never drilled")
    else:
        how = f"passed, {last.recovery_seconds or 0:.0f} s" if last.passed else f"failed: {last.difference}"
        parts.append(f"last drill {describe_seconds((last.now - last.drilled_at).total_seconds())} ago {how}")
    detail = ", ".join(parts)
    drilled = last.drilled_at is not None and (last.now - last.drilled_at).total_seconds() <= OLD_DRILL_SECONDS
    status: Status = "ok"
    cure = None
    if last.passed is False:
        status, cure = "fail", "look into the difference, then run `regenesis db drill` again"
    elif last.last_status == "failed":
        detail += f"; the last try failed: {last.error}"
        status, cure = "fail", "mend that, then run `regenesis db backup`"
    elif age > OLD_BACKUP_SECONDS:
        status, cure = "warn", "run the flow back-up every night, or `regenesis db backup`"
    elif not drilled:
        status, cure = "warn", "run `regenesis db drill`: only a backup that was restored is one"
    return Finding("backups", status, detail, cure)


async def check_keyring(settings: Settings) -> Finding:
    """Look whether every organisation's entry opens with today's master key or the one before it."""
    from core.crypto import load_master_key
    from core.crypto_keyring import Keyring
    from core.errors import AppError
    from domain.platform import list_tenants

    if not has_store():
        return Finding("keyring", "ok", f"{settings.keyring_url} is made when it is first needed")
    keyring, today = Keyring(settings), load_master_key(settings).id
    shut: list[str] = []
    opened = older = 0
    for tenant in await list_tenants():
        try:
            entry = await keyring.find_entry(tenant.id)
            if entry is not None and entry.destroyed_at is None:
                await keyring.get(tenant.id)
                opened += 1
                older += entry.master_key_id != today
        except AppError as error:
            shut.append(f"{tenant.slug}: {error.message}")
    if shut:
        return Finding("keyring", "fail", f"{len(shut)} entries do not open; {shut[0]}", "restore the keyring's copy")
    if older:
        detail = f"{older} of {opened} entries are wrapped by an earlier master key"
        return Finding("keyring", "warn", detail, "run `regenesis encryption rewrap`, then forget that key")
    return Finding("keyring", "ok", f"{opened} entries in {keyring.url}; keep a copy apart from your backups")


async def check_storage(settings: Settings) -> Finding:
    """Write, read and delete a small object."""
    from core.storage import open_store

    store = open_store(settings.storage_url, settings.storage)
    key, content = f".doctor-{os.getpid()}", b"regenesis"
    await store.write(key, content)
    try:
        back = await store.read(key, max_bytes=100)
    finally:
        await store.delete(key)
    if back != content:
        return Finding("object store", "fail", f"{settings.storage_url} gave back other bytes", "look at that store")
    return Finding("object store", "ok", settings.storage_url)


async def check_embedder(settings: Settings) -> Finding:
    """Load the embedder and time it on a few sentences of everyday length."""
    from pipelines.ingest import load_embedder

    started = time.perf_counter()
    embedder = await load_embedder(settings)
    loaded = time.perf_counter()
    texts = [f"In week {week} she said she would hand the rota to Sam and go home by six." for week in range(64)]
    vectors = await embedder.embed(texts)
    took = time.perf_counter() - loaded
    detail = (
        f"{embedder.name}, {vectors.shape[1]} dimensions, ready in {loaded - started:.1f} s,"
        f" {len(texts) / took:,.0f} sentences/s"
    )
    return Finding("embedder", "ok", detail)


async def check_model(settings: Settings) -> Finding:
    """Ask the language model's endpoint which models it has."""
    import httpx

    llm = settings.llm
    if llm.model is None:
        return Finding("language model", "ok", "none: answers are built from quotes (REGENESIS_LLM__MODEL names one)")
    base = (llm.base_url or "https://api.openai.com/v1").rstrip("/")
    headers = {"Authorization": f"Bearer {llm.api_key.get_secret_value()}"} if llm.api_key else {}
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            reply = await client.get(f"{base}/models", headers=headers)
    except httpx.HTTPError as error:
        cure = "check REGENESIS_LLM__BASE_URL; until it answers, answers are built from quotes"
        return Finding("language model", "warn", f"{base} does not answer ({error})", cure)
    if reply.status_code in {401, 403}:
        return Finding("language model", "fail", f"{base} refuses the key", "correct REGENESIS_LLM__API_KEY")
    if reply.is_error:
        return Finding("language model", "warn", f"{base} answers {reply.status_code}", "check REGENESIS_LLM__BASE_URL")
    names = [one.get("id") for one in reply.json().get("data", [])]
    if names and llm.model not in names:
        listed = ", ".join(map(str, names[:5]))
        return Finding("language model", "warn", f"{base} does not list {llm.model}", f"it has {listed}")
    return Finding("language model", "ok", f"{llm.model} at {base}")


async def check_tenants(_: Settings) -> Finding:
    """List the organisations there are."""
    from domain.platform import list_tenants

    if not has_store():
        return Finding("organisations", "warn", "none yet", "run `regenesis up` for the sample ones")
    slugs = [tenant.slug for tenant in await list_tenants()]
    if not slugs:
        return Finding("organisations", "warn", "none yet", "run `regenesis up`, or `regenesis tenants create`")
    return Finding("organisations", "ok", f"{len(slugs)}: {', '.join(slugs[:8])}{' …' if len(slugs) > 8 else ''}")
