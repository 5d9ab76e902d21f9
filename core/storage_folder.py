"""Objects as files of one folder; nothing outside of it is ever read or written."""

import asyncio
import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from core.errors import AppError
from core.storage import (
    ObjectChanged,
    ObjectMissing,
    ObjectTooLarge,
    StoredObject,
    StoreForbidden,
    StoreMissing,
    StoreUnreachable,
    UnsafeKey,
    check_key,
)

try:
    import fcntl
except ImportError:  # not POSIX: two processes that replace one object at once are not told apart there
    fcntl = None  # type: ignore[assignment]

PAGE = 1000
PIECE = 1 << 20
"""Bytes of a stream read at once."""
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

    async def read_stream(self, key: str, *, max_bytes: int | None = None) -> AsyncGenerator[bytes, None]:
        """Iterate over the file's bytes; a file replaced meanwhile is read on as it was."""
        file, size = await asyncio.to_thread(self._open, key)
        try:
            if max_bytes is not None and size > max_bytes:
                raise ObjectTooLarge(f"{key} has {size:,} bytes, {max_bytes:,} are allowed; split it.")
            while piece := await asyncio.to_thread(_read_piece, file, key):
                yield piece
        finally:
            file.close()

    async def read_start(self, key: str, *, count: int) -> bytes:
        """Return the file's first bytes."""

        def load() -> bytes:
            file, _ = self._open(key)
            with _translated(key), file:
                return file.read(count)

        return await asyncio.to_thread(load)

    async def write(self, key: str, content: bytes, *, replacing: str | None = None) -> None:
        """Store the file whole or not at all, readable by its owner only."""

        def store() -> None:
            with self._draft(key) as draft, _translated(key):
                draft.file.write(content)
                draft.settle(replacing)

        await asyncio.to_thread(store)

    async def write_stream(self, key: str, chunks: AsyncIterable[bytes], *, replacing: str | None = None) -> int:
        """Store the file whole or not at all, written as the chunks come."""
        size = 0
        with self._draft(key) as draft:
            async for chunk in chunks:
                with _translated(key):
                    size += await asyncio.to_thread(draft.file.write, chunk)
            with _translated(key):
                await asyncio.to_thread(draft.settle, replacing)
        return size

    async def delete(self, key: str) -> None:
        """Remove the file and the folders it leaves empty."""
        await asyncio.to_thread(self._delete, key)

    async def purge(self, key: str, *, keep_newest: bool = False) -> int:
        """Remove the file and what writes of it that were killed have left."""

        def remove() -> int:
            with _translated(key):
                path = self._inside(key)
                drafts = path.parent.glob(f"{_name_draft(key)}*")
                left = sum([_remove_draft(draft, though_written=not keep_newest) for draft in drafts])
                if keep_newest:
                    return left
                there = path.is_symlink() or path.exists()
                self._delete(key)
            return there + left

        return await asyncio.to_thread(remove)

    async def purge_below(self, prefix: str) -> int:
        """Remove the files whose path begins so."""
        removed = 0
        if await asyncio.to_thread(self._root.is_dir):
            keys = [stored.key async for stored in self.list(prefix)]
            for key in keys:
                removed += await self.purge(key)
        return removed

    async def list_versions(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """Iterate over the files: a folder keeps one version of each."""
        if await asyncio.to_thread(self._root.is_dir):
            async for stored in self.list(prefix):
                yield stored

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

    def _open(self, key: str) -> tuple[BinaryIO, int]:
        """Return the file, which the caller closes, and its size."""
        with _translated(key):
            # A pipe would block for ever without O_NONBLOCK; it is refused just below.
            descriptor = os.open(self._inside(key), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                os.close(descriptor)
                raise UnsafeKey(f"{key} is not a regular file; put a plain file there.")
            return os.fdopen(descriptor, "rb"), about.st_size

    def _read(self, key: str, max_bytes: int) -> bytes:
        file, size = self._open(key)
        with _translated(key), file:
            if size > max_bytes:
                raise ObjectTooLarge(f"{key} has {size:,} bytes, {max_bytes:,} are allowed; split it.")
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise ObjectTooLarge(f"{key} has more than the {max_bytes:,} bytes allowed; split it.")
        return content

    @contextmanager
    def _draft(self, key: str) -> Iterator["_Draft"]:
        """Give a new file beside the object's own; what is not settled is removed again."""
        with _translated(key):
            path = self._inside(key)
            descriptor, written = _make_beside(path, _name_draft(key))
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield _Draft(key, file, Path(written), path)
        finally:
            Path(written).unlink(missing_ok=True)

    def _delete(self, key: str) -> None:
        with _translated(key):
            path = self._inside(key)
            with suppress(FileNotFoundError), _locked(path.parent):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # the first folder that still holds something ends this
                for folder in path.relative_to(self._root).parents[:-1]:
                    (self._root / folder).rmdir()


def _read_piece(file: BinaryIO, key: str) -> bytes:
    with _translated(key):
        return file.read(PIECE)


def _name_draft(key: str) -> str:
    """Return how drafts of this object's file begin, so that those a killed process left can be found."""
    return f".draft-{hashlib.sha256(key.encode()).hexdigest()[:16]}-"


def _make_beside(path: Path, prefix: str) -> tuple[int, str]:
    """Make a draft, locked as long as it is open, so that nobody takes it for one a killed process left."""
    for _ in range(3):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # somebody deleted the last file of the folder, and the folder with it
            descriptor, written = tempfile.mkstemp(dir=path.parent, prefix=prefix)
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                return descriptor, written
            os.close(descriptor)  # removed before it was locked
    raise StoreUnreachable(f"The folder of {path.name} is removed again and again; try again shortly.")


def _remove_draft(draft: Path, *, though_written: bool) -> bool:
    """Remove a draft; one that somebody is writing only if told so, whose write then fails."""
    with suppress(FileNotFoundError, BlockingIOError):
        if fcntl is not None and not though_written:
            with draft.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                draft.unlink()
        else:
            draft.unlink()
        return True
    return False


@dataclass(frozen=True, slots=True)
class _Draft:
    """A file on its way to an object's place."""

    key: str
    file: BinaryIO
    written: Path
    path: Path

    def settle(self, replacing: str | None) -> None:
        """Put the draft in the object's place; `ObjectChanged` where another version than `replacing` is there."""
        self.file.flush()
        os.fsync(self.file.fileno())
        with _locked(self.path.parent):
            if replacing is not None and _find_version(self.path) != replacing:
                raise ObjectChanged(f"{self.key} was changed or deleted meanwhile; read it again and retry.")
            self.written.replace(self.path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let those who replace or delete in one folder follow one another, whatever their processes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # let go by closing
        yield
    finally:
        os.close(descriptor)


def _find_version(path: Path) -> str | None:
    with suppress(FileNotFoundError):
        return _describe("", path.lstat()).version
    return None


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
