"""Objects as files of one folder; nothing outside of it is ever read or written."""

import asyncio
import errno
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from core.errors import AppError
from core.storage import (
    ObjectMissing,
    ObjectTooLarge,
    StoredObject,
    StoreForbidden,
    StoreMissing,
    StoreUnreachable,
    UnsafeKey,
    check_key,
)

PAGE = 1000
DEEPEST = 64  # folders within folders


class FolderStore:
    """The files below a folder, hidden ones included. Links are listed but only read when they stay inside."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().resolve()

    @property
    def url(self) -> str:
        """The folder as a file URL."""
        return self._root.as_uri()

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Iterate over the files by path; raises `StoreMissing` where there is no such folder."""
        if not await asyncio.to_thread(self._root.is_dir):
            raise StoreMissing(f"The folder {self._root} does not exist; check the path.")
        above = prefix.rpartition("/")[0]
        start = self._inside(above) if above else self._root
        found = self._walk(start, prefix, 0) if await asyncio.to_thread(start.is_dir) else iter(())
        while page := await asyncio.to_thread(lambda: tuple(islice(found, PAGE))):
            for stored in page:
                yield stored

    async def find(self, key: str) -> StoredObject | None:
        """Return the file as listed, None where it is missing."""

        def look() -> StoredObject | None:
            with _translated(key), suppress(FileNotFoundError, NotADirectoryError):
                return _describe(check_key(key), (self._root / key).lstat())
            return None

        return await asyncio.to_thread(look)

    async def read(self, key: str, *, max_bytes: int) -> bytes:
        """Return the file's bytes; only regular files inside the folder are read."""
        return await asyncio.to_thread(self._read, key, max_bytes)

    async def write(self, key: str, content: bytes) -> None:
        """Store the file whole or not at all, readable by its owner only."""
        await asyncio.to_thread(self._write, key, content)

    async def delete(self, key: str) -> None:
        """Remove the file and the folders it leaves empty."""
        await asyncio.to_thread(self._delete, key)

    async def presign(self, key: str, *, seconds: int) -> str | None:  # noqa: ARG002 - the protocol's shape
        """Return None: files are served by the application."""
        return None

    def _walk(self, folder: Path, prefix: str, depth: int) -> Iterator[StoredObject]:
        with _translated(str(folder)), os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        for entry in entries:
            key = Path(entry.path).relative_to(self._root).as_posix()
            if entry.is_dir(follow_symlinks=False):
                if depth < DEEPEST and f"{key}/".startswith(prefix):
                    yield from self._walk(Path(entry.path), prefix, depth + 1)
            elif key.startswith(prefix):
                with suppress(FileNotFoundError):  # gone since it was listed
                    yield _describe(key, entry.stat(follow_symlinks=False))

    def _inside(self, key: str) -> Path:
        path = (self._root / check_key(key)).resolve()
        if not path.is_relative_to(self._root):
            raise UnsafeKey(f"{key} is a link that leads out of its folder; put the file itself there.")
        return path

    def _read(self, key: str, max_bytes: int) -> bytes:
        with _translated(key):
            # A pipe would block for ever without O_NONBLOCK; it is refused just below.
            descriptor = os.open(self._inside(key), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                about = os.fstat(file.fileno())
                if not stat.S_ISREG(about.st_mode):
                    raise UnsafeKey(f"{key} is not a regular file; put a plain file there.")
                if about.st_size > max_bytes:
                    raise ObjectTooLarge(f"{key} has {about.st_size:,} bytes, {max_bytes:,} are allowed; split it.")
                content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise ObjectTooLarge(f"{key} has more than the {max_bytes:,} bytes allowed; split it.")
        return content

    def _write(self, key: str, content: bytes) -> None:
        with _translated(key):
            path = self._inside(key)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".draft-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                Path(draft).replace(path)
            except BaseException:
                Path(draft).unlink(missing_ok=True)
                raise

    def _delete(self, key: str) -> None:
        with _translated(key):
            path = self._inside(key)
            path.unlink(missing_ok=True)
            with suppress(OSError):  # the first folder that still holds something ends this
                for folder in path.relative_to(self._root).parents[:-1]:
                    (self._root / folder).rmdir()


def _describe(key: str, about: os.stat_result) -> StoredObject:
    modified = datetime.fromtimestamp(about.st_mtime, UTC)
    return StoredObject(key, about.st_size, f"{about.st_mtime_ns}-{about.st_ino}", modified)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """Turn the operating system's errors into the store's, in this one place."""
    try:
        yield
    except AppError:
        raise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ObjectMissing(f"{name} is not a file of this folder; check the path.") from error
    except PermissionError as error:
        raise StoreForbidden(f"{name} may not be read or written; give this program's user the right.") from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.EINVAL):
            raise UnsafeKey(f"{name[:80]} can't be opened ({error.strerror}); put a plain file there.") from error
        raise StoreUnreachable(f"{name} can't be read or written ({error.strerror}); try again shortly.") from error
    except (ValueError, RuntimeError) as error:  # pathlib raises the latter for links in a circle
        raise UnsafeKey(f"The name {name[:80]!r} can't be used ({error}); rename the file.") from error
