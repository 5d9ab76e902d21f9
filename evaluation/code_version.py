"""Tells which code answers and scores, so that a run goes on only under the code that began it."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_DECIDING: Final = ("domain", "rag", "pipelines", "evaluation")
"""What a question passes through; a change elsewhere, such as of a page, leaves its answer as it is."""


@cache
def hash_code() -> str:
    """Return the SHA-256, in hex, of the sources that decide an answer and its scores, read once a process."""
    digest = hashlib.sha256()
    for package in _DECIDING:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted((*Path(folder).rglob("*.py"), *Path(folder).rglob("*.sql"))):
                digest.update(f"{package}/{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
