"""Passwords that are easy to guess are refused with the reason; hashing is argon2id, and a flood is turned away."""

import asyncio

import pytest
from argon2 import PasswordHasher

from domain import passwords
from domain.passwords import (
    PasswordIsPersonal,
    PasswordTooCommon,
    PasswordTooLong,
    PasswordTooShort,
    SignInsBusy,
    ensure_acceptable,
    hash_password,
    make_password,
    needs_rehash,
    verify_password,
)  # fmt: skip

AMINA = ("amina.diallo@harbourlight.example", "amina.diallo", "Amina Diallo")


@pytest.mark.parametrize(
    "good",
    ["lantern crab violin moss", "Kj7#pQ2!vLx9", "83920175640281", "дом река луна снег",
     "amina loves long harbour walks"],
)  # fmt: skip
def test_good_passwords_are_taken(good: str) -> None:
    ensure_acceptable(good, AMINA)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("", PasswordTooShort),
        ("Kj7#pQ2!vLx", PasswordTooShort),
        ("x" * 1025, PasswordTooLong),
        ("password1234", PasswordTooCommon),
        ("Password!2026", PasswordTooCommon),
        ("PassWordPassWord", PasswordTooCommon),
        ("qwerty123456!", PasswordTooCommon),
        ("letmein-letmein", PasswordTooCommon),
        ("aaaaaaaaaaaaaaaa", PasswordTooCommon),
        ("123456789012", PasswordTooCommon),
        ("abcabcabcabcabc", PasswordTooCommon),
        ("abcdefghijklm", PasswordTooCommon),
        ("210987654321", PasswordTooCommon),
        ("aaaabbbbccccddddeeee", PasswordTooCommon),
        ("amina.diallo@harbourlight.example", PasswordIsPersonal),
        ("AminaDiallo1985", PasswordIsPersonal),
        ("diallo-amina-77", PasswordIsPersonal),
        ("harbourlight12", PasswordIsPersonal),
        ("ＰＡＳＳＷＯＲＤ１２３４", PasswordTooCommon),  # noqa: RUF001  # full-width letters are the same letters
    ],
)  # fmt: skip
def test_bad_passwords_are_refused_for_their_reason(bad: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        ensure_acceptable(bad, AMINA)


async def test_hash_is_argon2id_and_verifies() -> None:
    stored = await hash_password("lantern crab violin moss")
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert len(stored) <= 255
    assert await verify_password(stored, "lantern crab violin moss")
    assert not await verify_password(stored, "lantern crab violin mos")
    assert not await verify_password(stored, "x" * 2000)
    assert stored != await hash_password("lantern crab violin moss")


async def test_without_a_stored_hash_the_answer_is_no() -> None:
    assert not await verify_password(None, "lantern crab violin moss")
    assert not await verify_password("not a hash", "lantern crab violin moss")


async def test_the_same_characters_are_the_same_password_however_typed() -> None:
    stored = await hash_password("caf\u00e9 lanterne moss")
    assert await verify_password(stored, "cafe\u0301 lanterne moss")


async def test_older_parameters_are_noticed() -> None:
    assert needs_rehash(PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash("x"))
    assert not needs_rehash(await hash_password("lantern crab violin moss"))


async def test_a_flood_is_turned_away_and_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_MOST_WAITING", 4)
    stored = await hash_password("lantern crab violin moss")
    results = await asyncio.gather(
        *(verify_password(stored, "lantern crab violin moss") for _ in range(12)), return_exceptions=True
    )
    assert results.count(True) == 4
    assert sum(isinstance(result, SignInsBusy) for result in results) == 8
    assert await verify_password(stored, "lantern crab violin moss")


def test_made_passwords_are_good_and_never_the_same() -> None:
    made = {make_password() for _ in range(50)}
    assert len(made) == 50
    for one in made:
        ensure_acceptable(one, AMINA)
