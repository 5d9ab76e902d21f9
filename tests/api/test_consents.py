"""Consents over HTTP: a person's own, the organisation's texts, and the states for compliance."""

from tests.api.conftest import Connect
from tests.factories.people import Organisation

HASH = "0" * 64
TEXT = {"purpose": "assistant", "version": "2026", "text_hash": HASH, "is_required": True}


async def test_person_sees_and_changes_what_is_done(organisation: Organisation, connect: Connect) -> None:
    client = connect("client_a")
    assert organisation
    allowed = (await client.get("/v1/me/processing")).json()
    assert allowed == dict.fromkeys(("assistant", "evidence", "analytics", "external_model"), True)
    assert (await client.delete("/v1/me/consents/external_model")).status_code == 204
    assert (await client.delete("/v1/me/consents/external_model")).status_code == 404
    assert (await client.get("/v1/me/processing")).json() == allowed | {"external_model": False}
    (objection,) = (await client.get("/v1/me/consents")).json()["items"]
    assert (objection["version"], objection["withdrawn_at"] is None) == ("objection", False)
    given = await client.post("/v1/me/consents", json={"purpose": "external_model", "version": "1"})
    assert given.status_code == 201
    assert (await client.get("/v1/me/processing")).json() == allowed


async def test_texts_turn_it_round_for_clients(connect: Connect) -> None:
    for person in ("client_a", "coach_a", "executive"):
        assert (await connect(person).post("/v1/consent-texts", json=TEXT)).status_code == 403, person
    assert (await connect("admin").post("/v1/consent-texts", json=TEXT)).status_code == 201
    assert (await connect("admin").post("/v1/consent-texts", json=TEXT)).status_code == 409
    assert (await connect("admin").post("/v1/consent-texts", json=TEXT | {"text_hash": "x"})).status_code == 422
    (listed,) = (await connect("client_a").get("/v1/consent-texts?purpose=assistant")).json()["items"]
    assert listed.items() >= TEXT.items()
    assert not (await connect("client_a").get("/v1/me/processing")).json()["assistant"]
    assert (await connect("coach_a").get("/v1/me/processing")).json()["assistant"]
    old = await connect("client_a").post("/v1/me/consents", json={"purpose": "assistant", "version": "2025"})
    assert (old.status_code, old.json()["code"]) == (422, "ConsentVersionUnknown")
    given = await connect("client_a").post("/v1/me/consents", json={"purpose": "assistant", "version": "2026"})
    assert given.status_code == 201
    assert (await connect("client_a").get("/v1/me/processing")).json()["assistant"]


async def test_compliance_sees_the_states(organisation: Organisation, connect: Connect) -> None:
    await connect("client_a").delete("/v1/me/consents/assistant")
    await connect("client_b").delete("/v1/me/consents/evidence")
    for path in ("/v1/consents", "/v1/consents/withheld"):
        for person in ("client_a", "coach_a", "admin", "executive", "evaluator"):
            assert (await connect(person).get(path)).status_code == 403, (person, path)
    compliance = connect("compliance")
    first = (await compliance.get("/v1/consents/withheld?limit=1")).json()
    rest = (await compliance.get(f"/v1/consents/withheld?limit=1&cursor={first['next_cursor']}")).json()
    assert [(one["user_id"], one["purpose"]) for one in first["items"] + rest["items"]] == [
        (str(organisation.client_b.user_id), "evidence"), (str(organisation.client_a.user_id), "assistant"),
    ]  # fmt: skip
    (only,) = (await compliance.get("/v1/consents/withheld?purpose=assistant")).json()["items"]
    assert only["user_id"] == str(organisation.client_a.user_id)
    (state,) = (await compliance.get(f"/v1/consents?user_id={organisation.client_b.user_id}&running=false")).json()[
        "items"
    ]
    assert (state["purpose"], state["version"]) == ("evidence", "objection")
