"""Passwords: which are good enough, and hashing them with argon2id without letting a flood take the machine."""

import asyncio
import os
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Final, TypeVar

from argon2 import PasswordHasher, profiles
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import Invalid, Unavailable

SHORTEST: Final = 12
LONGEST: Final = 1024
_HASHER: Final = PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)
"""argon2id, 3 passes over 64 MiB (RFC 9106 §4, the second recommended option)."""
_AT_ONCE: Final = max(1, min(4, os.cpu_count() or 1))
"""Each hash takes 64 MiB and a core; more at once would only make all of them slower."""
_MOST_WAITING: Final = 100
_LETTERS_NEEDED: Final = 8
"""Characters that must remain of a password when names and common words are taken away."""

_COMMON: Final = (
    "password", "passwort", "passw0rd", "p@ssw0rd", "p@ssword", "qwertyuiop", "qwertzuiop", "qwerty", "qwertz",
    "azerty", "asdfghjkl", "asdfgh", "zxcvbnm", "1q2w3e4r5t", "1qaz2wsx", "3edc4rfv", "letmein", "welcome", "iloveyou",
    "sunshine", "princess", "monkey", "dragon", "football", "baseball", "superman", "batman", "master", "shadow",
    "abc123", "trustno1", "whatever", "freedom", "michael", "jennifer", "starwars", "computer", "changeme", "secret",
    "admin", "login", "default", "hello", "summer", "winter", "spring", "autumn", "january", "february", "august",
    "september", "october", "november", "december", "regenesis", "coaching", "coach", "abcdefghijklmnopqrstuvwxyz",
    "abcdefgh", "abcdef",
)  # fmt: skip

T = TypeVar("T")


class PasswordTooShort(Invalid):
    """The password has fewer than 12 characters; take a longer one, such as four unrelated words."""


class PasswordTooLong(Invalid):
    """The password has more than 1024 characters; take a shorter one."""


class PasswordTooCommon(Invalid):
    """The password is easy to guess; take one of four unrelated words, without sequences or repetitions."""


class PasswordIsPersonal(Invalid):
    """The password is made of your own name or address; take one that has nothing to do with you."""


class SignInsBusy(Unavailable):
    """Too many people are signing in at this moment; try again in a few seconds."""


def _normalize(password: str) -> str:
    """Return the same text for the same characters however a keyboard made them (NIST SP 800-63B §5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


def ensure_acceptable(password: str, personal: Iterable[str] = ()) -> None:
    """Raise what is wrong with the password; `personal` are the person's own names and addresses."""
    text = _normalize(password).casefold()
    if len(text) < SHORTEST:
        raise PasswordTooShort
    if len(password) > LONGEST:
        raise PasswordTooLong
    names = {part for whole in personal for part in (whole.casefold(), *re.split(r"[\W_]+", whole.casefold()))}
    rest = _without(text, (name for name in names if len(name) > 2))
    if rest != text and len(re.sub(r"[\W\d_]+", "", rest)) < _LETTERS_NEEDED:
        raise PasswordIsPersonal
    rest = _without(text, _COMMON)
    if len(set(text)) < 5 or (rest != text and len(re.sub(r"[\W\d_]+", "", rest)) < _LETTERS_NEEDED):
        raise PasswordTooCommon
    if _is_sequence(text):
        raise PasswordTooCommon


def _without(text: str, words: Iterable[str]) -> str:
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, "")
    return text


def _is_sequence(text: str) -> bool:
    """Tell whether nearly every character follows, repeats or precedes the one before, as in 123456789012."""
    steps = [ord(after) - ord(before) for before, after in pairwise(text)]
    return sum(abs(step) <= 1 or abs(step) == 9 for step in steps) >= len(steps) - 1


async def hash_password(password: str) -> str:
    """Return the argon2id hash with its parameters; raises `SignInsBusy`."""
    return await _in_turn(lambda: _HASHER.hash(_normalize(password)))


async def verify_password(stored: str | None, password: str) -> bool:
    """Tell whether this is the password; without a stored hash the answer is no, and takes as long.

    Raises `SignInsBusy`.
    """
    if len(password) > LONGEST:
        return False
    against: str = await _in_turn(_decoy) if stored is None else stored

    def verify() -> bool:
        try:
            return _HASHER.verify(against, _normalize(password))
        except (VerificationError, InvalidHashError):
            return False

    return await _in_turn(verify) and stored is not None


def needs_rehash(stored: str) -> bool:
    """Tell whether the hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(stored)


def make_password() -> str:
    """Return a random password of 100 bits, in groups that can be read aloud."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))


@cache
def _decoy() -> str:
    return _HASHER.hash(secrets.token_urlsafe())


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="argon2")


_waiting = 0


async def _in_turn(work: Callable[[], T]) -> T:
    """Run in one of the few threads for hashing; raises `SignInsBusy` where too many wait already."""
    global _waiting  # noqa: PLW0603  # one count for the process, as there is one set of threads
    if _waiting >= _MOST_WAITING:
        raise SignInsBusy
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads(), work)
    finally:
        _waiting -= 1
