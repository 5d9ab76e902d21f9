"""PostgreSQL's own pg_dump and pg_restore: which of them is new enough, and how they are run."""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, Literal

from sqlalchemy.engine import URL

from core.errors import Invalid, Unavailable
from db.embedded import bundled_tools
from db.provision import to_libpq_url

Tool = Literal["pg_dump", "pg_restore"]
OPTIONS: Final = "-c statement_timeout=0 -c lock_timeout=60s -c idle_in_transaction_session_timeout=0"

_ENTRY: Final = re.compile(r"\d+; \d+ (?P<oid>\d+) (?P<kind>.+)")
_AFTER_ROWS: Final = (
    "CONSTRAINT ", "FK CONSTRAINT ", "CHECK CONSTRAINT ", "INDEX ", "TRIGGER ", "EVENT TRIGGER ", "RULE ", "POLICY ",
    "ROW SECURITY ", "STATISTICS ", "MATERIALIZED VIEW ",
)  # fmt: skip
_LAST: Final = ("VIEW ", "ACL ", "DEFAULT ACL ", "COMMENT ")


class ToolMissing(Invalid):
    """No pg_dump or pg_restore as new as this PostgreSQL was found; install its client tools, or put them on PATH."""


class ToolFailed(Unavailable):
    """PostgreSQL's pg_dump or pg_restore failed, which its own words in the log explain."""


def find_tool(tool: Tool, major: int) -> Path:
    """Return the tool of this major version of PostgreSQL or a newer one: ours, else of PATH; raises `ToolMissing`."""
    named = shutil.which(tool)
    seen: list[str] = []
    for path in (*(folder / tool for folder in bundled_tools()), *([Path(named)] if named else [])):
        version = read_major(path)
        if version is not None and version >= major:
            return path
        seen.append(f"{path} ({version or 'does not run'})")
    raise ToolMissing(
        f"PostgreSQL is version {major}, and no {tool} as new was found (looked at {', '.join(seen) or 'nothing'}); "
        f"install PostgreSQL {major}'s client tools, or put them on PATH."
    )


def run_tool(path: Path, arguments: Sequence[str], url: URL, *, settings: str = "") -> None:
    """Run the tool on this database to its end; raises `ToolFailed` with its first complaint."""
    # A password must not stand in the list of processes.
    environment = {**os.environ, "PGOPTIONS": f"{OPTIONS} {settings}".strip(), "PGAPPNAME": "regenesis-backup"}
    if url.password:
        environment["PGPASSWORD"] = str(url.password)
    command = [str(path), *arguments, f"--dbname={to_libpq_url(url.set(password=None))}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603  # the arguments are ours
    if done.returncode != 0:
        said = next((line for line in done.stderr.splitlines() if "error" in line.lower()), done.stderr.strip()[:300])
        raise ToolFailed(f"{path.name} failed ({said.strip()[:300]}); mend that and run the command again.")


def split_archive(tool: Path, archive: Path, on_views: Collection[int]) -> tuple[Path, Path, Path]:
    """Return three lists for pg_restore's --use-list: what rows go into, what finds and guards them, and the rest.

    The sections pg_dump knows will not do, as it says itself: a view that groups by a primary key comes after that key,
    and with it each function that takes or returns the view's rows (`on_views`, by their ids in the archive). The rest
    holds those, the plain views and every right, so while rows are loaded nobody has any. Only the second list is for
    parallel jobs.
    """
    listed = subprocess.run([str(tool), "--list", str(archive)], capture_output=True, text=True, check=False)  # noqa: S603  # a tool of PostgreSQL
    entries = [line for line in listed.stdout.splitlines() if line and not line.startswith(";")]
    if listed.returncode != 0 or not entries:
        raise ToolFailed(
            f"pg_restore can't read the backup's tables ({listed.stderr.strip()[:300]}); take another one."
        )
    before, after, rest = list[str](), list[str](), list[str]()
    for line in entries:
        found = _ENTRY.match(line)
        if found is None:
            raise ToolFailed(f"pg_restore lists what is not understood ({line[:100]}); use another version of it.")
        if found["kind"].startswith(_AFTER_ROWS):
            after.append(line)
        elif found["kind"].startswith(_LAST) or int(found["oid"]) in on_views:
            rest.append(line)
        else:
            before.append(line)
    paths = archive.with_suffix(".before"), archive.with_suffix(".after"), archive.with_suffix(".rest")
    for path, lines in zip(paths, (before, after, rest), strict=True):
        path.write_text("\n".join(lines) + "\n")
    return paths


def read_major(path: Path) -> int | None:
    """Return the tool's major version, None where it does not run."""
    try:
        said = subprocess.run([str(path), "--version"], capture_output=True, text=True, timeout=20, check=False).stdout  # noqa: S603  # a tool of PostgreSQL
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(found[1]) if found else None
