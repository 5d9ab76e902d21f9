"""Money over HTTP: who may see and do what, and gateways that sign what they report."""

import asyncio
import json
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest

from db.session import tenant_session
from domain.gateways import sign
from domain.identity import SCOPES, issue_api_key
from tests.api.conftest import Connect, Keys
from tests.factories.commerce import issue_coupon, offer_plan, offer_product, offer_program, pay
from tests.factories.people import Organisation, found_organisation
from tests.factories.sessions import require_id


@pytest.fixture
async def admin(organisation: Organisation, keys: Keys, connect: Connect) -> httpx.AsyncClient:
    """The administrator, with a key that may administer."""
    async with tenant_session(organisation.system) as session:
        _, key = await issue_api_key(session, user_id=require_id(organisation.admin), name="all", scopes=SCOPES)
    return connect(key)


async def call(
    client: httpx.AsyncClient, organisation: str, secret: str, kind: str, *, stamp: int | None = None,
    tamper: bool = False, **told: Any,
) -> httpx.Response:  # fmt: skip
    """Report something as the gateway does."""
    body = json.dumps({"type": kind, "data": told}).encode()
    at = int(time.time()) if stamp is None else stamp
    signature = sign(secret, message_id="msg_1", stamp=at, body=body)
    return await client.post(
        f"/v1/payments/events/{organisation}/flutterwave",
        content=body.replace(b"100.00", b"1.00") if tamper else body,
        headers={
            "Content-Type": "application/json", "webhook-id": "msg_1", "webhook-timestamp": str(at),
            "webhook-signature": f"v1,bm90IGl0 {signature}",
        },
    )  # fmt: skip


async def test_purchase_is_completed_by_the_gateway_s_callback(
    organisation: Organisation, connect: Connect, admin: httpx.AsyncClient
) -> None:
    program_id = await offer_program(organisation)
    client, gateway = connect("client_a"), connect(None)
    url, body = f"/v1/programs/{program_id}/purchase", {"payment_method": "mpesa"}
    opened = [await client.post(url, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [reply.status_code for reply in opened] == [201, 201]
    payment = opened[0].json()
    assert payment["id"] == opened[1].json()["id"]
    assert (payment["status"], payment["amount"], payment["currency"]) == ("pending", "100.00", "USD")

    secret = (await admin.put("/v1/payment-gateways/flutterwave")).json()["secret"]
    told = {
        "transaction_id": payment["id"], "gateway_transaction_id": "fw-1", "amount": "100.00", "currency": "USD"
    }  # fmt: skip
    now, kind = int(time.time()), "payment.succeeded"
    for refused in (
        await call(gateway, organisation.slug, "whsec_b3RoZXI=", kind, **told),
        await call(gateway, organisation.slug, secret, kind, tamper=True, **told),
        await call(gateway, organisation.slug, secret, kind, stamp=now - 3600, **told),
        await call(gateway, organisation.slug, secret, kind, stamp=now + 3600, **told),
        await call(gateway, (await found_organisation()).slug, secret, kind, **told),
        await call(gateway, "nobody-here", secret, kind, **told),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "CallbackNotSigned")
    wrong = await call(gateway, organisation.slug, secret, kind, **{**told, "amount": "99.00"})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "PaymentDiffers")
    unknown = await call(gateway, organisation.slug, secret, kind, **{**told, "transaction_id": str(uuid4())})
    assert unknown.status_code == 404
    assert (await client.get(f"/v1/transactions/{payment['id']}")).json()["status"] == "pending"

    taken = await asyncio.gather(*(call(gateway, organisation.slug, secret, kind, **told) for _ in range(5)))
    assert [reply.json() for reply in taken] == [{"transaction_id": payment["id"], "status": "success"}] * 5
    late = await call(gateway, organisation.slug, secret, "payment.failed", **told)
    assert late.json()["status"] == "success"
    assert (await client.post(url, json=body)).json()["code"] == "ProgramOwned"
    ledger = (await admin.get("/v1/ledger", params={"transaction_id": payment["id"]})).json()["items"]
    assert {line["account"]: line["amount"] for line in ledger} == {"cash": "100.00", "revenue": "-100.00"}

    assert (await admin.put("/v1/payment-gateways/flutterwave")).json()["secret"] != secret
    assert (await call(gateway, organisation.slug, secret, kind, **told)).status_code == 403
    assert [g["name"] for g in (await admin.get("/v1/payment-gateways")).json()["items"]] == ["flutterwave"]
    assert (await admin.delete("/v1/payment-gateways/flutterwave")).status_code == 204
    assert (await admin.delete("/v1/payment-gateways/flutterwave")).status_code == 404


async def test_administrator_records_and_refunds_by_hand(
    organisation: Organisation, connect: Connect, admin: httpx.AsyncClient
) -> None:
    program_id = await offer_program(organisation)
    body = {
        "user_id": str(organisation.client_a.user_id), "amount": "100.00", "currency": "USD",
        "payment_method": "bank_transfer", "reference": "T-77", "program_id": str(program_id),
    }  # fmt: skip
    made = [await admin.post("/v1/payments", json=body) for _ in range(2)]
    assert [reply.status_code for reply in made] == [201, 201]
    payment_id = made[0].json()["id"]
    assert payment_id == made[1].json()["id"]
    assert (await admin.post("/v1/payments", json={**body, "amount": "90.00"})).json()["code"] == "PaymentDiffers"
    cheap = {**body, "reference": "T-78", "amount": "90.00", "user_id": str(organisation.client_b.user_id)}
    assert (await admin.post("/v1/payments", json=cheap)).json()["code"] == "PriceDiffers"
    assert (await admin.post("/v1/payments", json={**body, "program_id": None})).json()["code"] == "PurposeMissing"
    gift = {**body, "reference": "T-79", "program_id": None, "transaction_type": "donation", "amount": "5"}
    assert (await admin.post("/v1/payments", json=gift)).json()["amount"] == "5.00"

    refunds = f"/v1/transactions/{payment_id}/refunds"
    part = {"amount": "40.00", "reason": "left early", "paid_out": False}
    waiting = (await admin.post(refunds, json=part, headers={"Idempotency-Key": "r1"})).json()
    assert (waiting["status"], waiting["refund_of"]) == ("pending", payment_id)
    again = await admin.post(refunds, json=part, headers={"Idempotency-Key": "r1"})
    assert again.json()["id"] == waiting["id"]
    high = await admin.post(refunds, json={"amount": "60.01", "reason": "all", "paid_out": True})
    assert (high.status_code, high.json()["code"]) == (422, "RefundTooHigh")
    done = await admin.post(
        f"/v1/transactions/{waiting['id']}/complete",
        json={"amount": "40.00", "currency": "USD", "reference": "out-1"},
    )
    assert (done.status_code, done.json()["status"]) == (200, "success")
    rest = await admin.post(refunds, json={"reason": "the rest", "paid_out": True, "reference": "out-2"})
    assert rest.json()["amount"] == "60.00"
    seen = (await connect("client_a").get(f"/v1/transactions/{payment_id}")).json()
    assert (seen["status"], seen["refunded_amount"]) == ("refunded", "100.00")


async def test_people_see_and_do_what_is_theirs(
    organisation: Organisation, connect: Connect, admin: httpx.AsyncClient
) -> None:
    own = await pay(organisation)
    sold = await pay(
        organisation, user_id=organisation.client_b.user_id, seller_id=organisation.coach_a.user_id,
        platform_fee_percent=20, transaction_type="coaching",
    )  # fmt: skip
    fees: dict[str, Any] = {}
    for name, expected in {
        "client_a": {own.id}, "client_b": {sold.id}, "coach_a": {sold.id}, "coach_b": set(), "executive": set(),
        "compliance": set(),
    }.items():  # fmt: skip
        items = (await connect(name).get("/v1/transactions")).json()["items"]
        assert {item["id"] for item in items} == {str(i) for i in expected}, name
        fees[name] = [item["platform_fee_amount"] for item in items]
        assert (await connect(name).get(f"/v1/transactions/{uuid4()}")).status_code == 404
    assert (fees["client_b"], fees["coach_a"]) == ([None], ["20.00"])
    assert len((await admin.get("/v1/transactions")).json()["items"]) == 2
    for name in ("client_a", "coach_a", "executive", "compliance"):
        client = connect(name)
        for reply in (
            await client.post("/v1/payments", json={}),
            await client.post(f"/v1/transactions/{own.id}/refunds", json={}),
            await client.post(f"/v1/transactions/{own.id}/complete", json={}),
            await client.get("/v1/ledger"),
            await client.get("/v1/coupons"),
            await client.post("/v1/products", json={}),
            await client.put("/v1/payment-gateways/x1"),
        ):
            assert reply.status_code == 403, (name, reply.request.url)
    assert (await connect("client_b").post(f"/v1/transactions/{own.id}/cancel")).status_code == 404
    assert (await connect("client_a").post(f"/v1/transactions/{own.id}/cancel")).json()["code"] == "PaymentStepRefused"


async def test_executive_sees_sums_of_five_payers_only(
    organisation: Organisation, connect: Connect, admin: httpx.AsyncClient
) -> None:
    payers = [organisation.client_a, organisation.client_b, organisation.client_c, organisation.coach_a]
    for payer in payers:
        await pay(organisation, "10.00", user_id=payer.user_id)
    assert (await connect("executive").get("/v1/balances")).json() == {"items": []}
    assert len((await admin.get("/v1/balances")).json()["items"]) == 2
    await pay(organisation, "10.00", user_id=organisation.coach_b.user_id)
    items = (await connect("executive").get("/v1/balances")).json()["items"]
    assert {item["account"]: item["balance"] for item in items} == {"cash": "50.00", "revenue": "-50.00"}
    assert (await connect("client_a").get("/v1/balances")).status_code == 403


async def test_lists_page_and_filter(organisation: Organisation, connect: Connect) -> None:
    made = [str((await pay(organisation, f"{n}.00")).id) for n in range(1, 8)]
    client, seen, cursor = connect("client_a"), [], None
    while True:
        page = (
            await client.get("/v1/transactions", params={"limit": 3} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]
    for params, count in (
        ({"status": "success"}, 7), ({"status": "failed"}, 0), ({"type": "donation"}, 7), ({"type": "course"}, 0),
        ({"from": "2100-01-01T00:00:00Z"}, 0), ({"until": "2100-01-01T00:00:00Z"}, 7),
    ):  # fmt: skip
        assert len((await client.get("/v1/transactions", params=params)).json()["items"]) == count, params
    bad: dict[str, Any]
    for bad in (
        {"status": "x"},
        {"from": "yesterday"},
        {"from": "2026-01-01T00:00:00"},
        {"cursor": "AAAA"},
        {"limit": 0},
    ):
        assert (await client.get("/v1/transactions", params=bad)).status_code == 422, bad


async def test_membership_over_http(organisation: Organisation, connect: Connect, admin: httpx.AsyncClient) -> None:
    plan = {"tier": "build", "billing_cycle": "monthly", "amount": "30.00", "trial_days": 7}
    created = await admin.post("/v1/plans", json=plan)
    assert created.status_code == 201
    assert (await admin.post("/v1/plans", json=plan)).json()["code"] == "AlreadyStored"
    client = connect("client_a")
    assert [item["tier"] for item in (await client.get("/v1/plans")).json()["items"]] == ["build"]
    choice = {"plan_id": created.json()["id"], "payment_method": "card"}
    trial = (await client.post("/v1/subscriptions", json=choice)).json()
    assert trial["payment"] is None
    subscription = trial["subscription"]
    assert subscription["status"] == "active"
    big = await offer_plan(organisation, "thrive", "90.00")
    due = (await client.post("/v1/subscriptions", json={**choice, "plan_id": str(big)})).json()["payment"]
    assert (due["status"], due["amount"]) == ("pending", "90.00")
    assert (await client.post(f"/v1/transactions/{due['id']}/cancel")).json()["status"] == "cancelled"
    url = f"/v1/subscriptions/{subscription['id']}"
    for name in ("client_b", "coach_a", "executive"):
        assert (await connect(name).get(url)).status_code == 404
        assert (await connect(name).post(f"{url}/cancel", json={})).status_code == 404
    assert (await client.post(f"{url}/cancel", json={"note": "pause"})).json()["auto_renew"] is False
    assert (await client.post(f"{url}/resume")).json()["auto_renew"] is True
    assert (await client.post(f"{url}/cancel", json={"at_once": True})).json()["status"] == "cancelled"
    assert (await client.post(f"{url}/resume")).json()["code"] == "SubscriptionEnded"
    assert (await admin.patch(f"/v1/plans/{big}", json={"is_active": False})).json()["is_active"] is False
    assert (await client.post("/v1/subscriptions", json={**choice, "plan_id": str(big)})).status_code == 404


async def test_coupons_over_http(organisation: Organisation, connect: Connect, admin: httpx.AsyncClient) -> None:
    body = {"code": "spring-1", "discount_type": "percentage", "discount_value": "12.5", "applies_to": "course"}
    coupon = (await admin.post("/v1/coupons", json=body)).json()
    assert coupon["code"] == "SPRING-1"
    assert (await admin.post("/v1/coupons", json={**body, "code": "SPRING-1"})).status_code == 409
    for wrong in (
        {"discount_value": "101"}, {"discount_type": "fixed_amount"}, {"code": "a b"}, {"max_uses": 0}, {"extra": 1},
        {"valid_until": "2020-01-01T00:00:00Z"},
    ):  # fmt: skip
        assert (await admin.post("/v1/coupons", json={**body, "code": "OTHER", **wrong})).status_code == 422, wrong
    check = {"code": "Spring-1", "transaction_type": "course", "amount": "9.99", "currency": "USD"}
    quoted = await connect("client_a").post("/v1/coupons/check", json=check)
    assert quoted.json() == {
        "original_amount": "9.99",
        "discount_amount": "1.25",
        "final_amount": "8.74",
        "currency": "USD",
    }
    event = await connect("client_a").post("/v1/coupons/check", json={**check, "transaction_type": "event"})
    assert event.json()["code"] == "CouponDoesNotApply"
    changed = await admin.patch(f"/v1/coupons/{coupon['id']}", json={"is_active": False, "max_uses": 3})
    assert (changed.json()["is_active"], changed.json()["max_uses"]) == (False, 3)
    assert (await connect("client_a").post("/v1/coupons/check", json=check)).status_code == 404
    assert (await admin.delete(f"/v1/coupons/{coupon['id']}")).status_code == 204
    assert (await admin.get(f"/v1/coupons/{coupon['id']}")).status_code == 404
    used = await issue_coupon(organisation)
    program = await offer_program(organisation)
    bought = await connect("client_a").post(
        f"/v1/programs/{program}/purchase", json={"payment_method": "mpesa", "coupon_code": "spring"}
    )
    assert bought.json()["amount"] == "90.00"
    assert (await admin.delete(f"/v1/coupons/{used}")).json()["code"] == "CouponInUse"
    assert (await admin.get(f"/v1/coupons/{used}")).json()["current_uses"] == 1


async def test_orders_over_http(organisation: Organisation, connect: Connect, admin: httpx.AsyncClient) -> None:
    product = {
        "name": "Journal", "slug": "journal", "product_type": "physical", "price": "20.00", "status": "active",
        "requires_shipping": True, "track_inventory": True, "inventory_quantity": 3,
    }  # fmt: skip
    assert (await admin.post("/v1/products", json={**product, "inventory_quantity": None})).json()[
        "code"
    ] == "StockMissing"
    journal = (await admin.post("/v1/products", json=product)).json()
    assert (await admin.post("/v1/products", json=product)).status_code == 409
    draft = await offer_product(organisation, status="draft")
    client = connect("client_a")
    assert [item["id"] for item in (await client.get("/v1/products")).json()["items"]] == [journal["id"]]
    assert (await client.get("/v1/products", params={"status": "draft"})).json()["items"] == []
    assert (await client.get(f"/v1/products/{draft}")).status_code == 404
    body: dict[str, Any] = {"lines": [{"product_id": journal["id"], "quantity": 2}], "payment_method": "mpesa"}
    assert (await client.post("/v1/orders", json=body)).json()["code"] == "AddressMissing"
    body["shipping_address"] = {"name": "Amina", "street": "4 Acacia Lane", "city": "Nairobi", "country": "KE"}
    placed = [await client.post("/v1/orders", json=body, headers={"Idempotency-Key": "o"}) for _ in range(2)]
    order = placed[0].json()
    assert order["id"] == placed[1].json()["id"]
    assert (await client.post("/v1/orders", json=body)).json()["code"] == "OutOfStock"
    url = f"/v1/orders/{order['id']}"
    for name in ("client_b", "coach_a", "executive"):
        assert (await connect(name).get(url)).status_code == 404
        assert (await connect(name).post(f"{url}/cancel", json={})).status_code == 404
    assert (await admin.post(f"{url}/ship", json={})).json()["code"] == "OrderStepRefused"
    paid = await admin.post(
        f"/v1/transactions/{order['transaction_id']}/complete",
        json={"amount": "40.00", "currency": "USD", "reference": "cash-1"},
    )
    assert paid.json()["status"] == "success"
    sent = await admin.post(f"{url}/ship", json={"tracking_number": "KE1"})
    assert (sent.json()["fulfillment_status"], sent.json()["tracking_number"]) == ("shipped", "KE1")
    assert (await client.post(f"{url}/cancel", json={})).json()["code"] == "OrderStepRefused"
    assert (await admin.post(f"{url}/deliver")).json()["fulfillment_status"] == "delivered"
    detail = (await client.get(url)).json()
    assert detail["shipping_address"]["city"] == "Nairobi"
    assert [(item["product_name"], item["quantity"]) for item in detail["items"]] == [("Journal", 2)]
    assert (await client.post(f"{url}/items/{detail['items'][0]['id']}/download")).json()["code"] == "DownloadRefused"
    found = (await client.get("/v1/orders", params={"number": order["order_number"]})).json()["items"]
    assert [item["id"] for item in found] == [order["id"]]


async def test_bought_file_is_reached_through_the_order_alone(
    organisation: Organisation, connect: Connect, admin: httpx.AsyncClient
) -> None:
    product = {"name": "Guide", "slug": "guide", "product_type": "digital", "price": "0.00", "status": "active"}
    guide = (await admin.post("/v1/products", json={**product, "download_limit": 1})).json()
    file = {"digital_file_url": "https://files.example/guide.pdf"}
    assert (await admin.put(f"/v1/products/{guide['id']}/file", json=file)).status_code == 204
    client = connect("client_a")
    assert "files.example" not in (await client.get(f"/v1/products/{guide['id']}")).text
    body = {"lines": [{"product_id": guide["id"]}], "payment_method": "free"}
    order = (await client.post("/v1/orders", json=body)).json()
    assert (order["payment_status"], order["fulfillment_status"]) == ("paid", "delivered")
    detail = (await client.get(f"/v1/orders/{order['id']}")).text
    assert "files.example" not in detail
    url = f"/v1/orders/{order['id']}/items/{json.loads(detail)['items'][0]['id']}/download"
    assert (await connect("client_b").post(url)).status_code == 404
    assert (await admin.post(url)).status_code == 404
    assert (await client.post(url)).json() == {"url": "https://files.example/guide.pdf"}
    assert (await client.post(url)).json()["code"] == "DownloadRefused"


@pytest.mark.parametrize("amount", ["-1", "1e9", "0.001", "NaN", "Infinity", "1" * 400, None, [], {}, True])
async def test_amounts_that_are_no_money_are_refused(admin: httpx.AsyncClient, amount: Any) -> None:
    body = {
        "user_id": str(uuid4()), "amount": amount, "currency": "USD", "payment_method": "cash", "reference": "x",
        "transaction_type": "donation",
    }  # fmt: skip
    reply = await admin.post("/v1/payments", json=body)
    assert reply.status_code == 422, reply.text


async def test_currencies_without_coins_take_whole_amounts(
    organisation: Organisation, admin: httpx.AsyncClient
) -> None:
    body = {
        "user_id": str(organisation.client_a.user_id), "currency": "UGX", "payment_method": "cash",
        "transaction_type": "donation",
    }  # fmt: skip
    for amount, currency, code in (("100.50", "UGX", "AmountUnusable"), ("100.00", "XXX", "CurrencyUnknown")):
        sent = {**body, "amount": amount, "currency": currency, "reference": amount + currency}
        assert (await admin.post("/v1/payments", json=sent)).json()["code"] == code
    assert (await admin.post("/v1/payments", json={**body, "amount": "5000", "reference": "u"})).status_code == 201


@pytest.mark.parametrize(
    "text", ["\x00", "a\x00b", "\ud800", "x" * 5_000, "'; DROP TABLE commerce.orders; --", "%s {}"]
)
async def test_hostile_text_is_never_a_defect(organisation: Organisation, admin: httpx.AsyncClient, text: str) -> None:
    program = await offer_program(organisation)
    payment = await pay(organisation)
    bodies = [
        (f"/v1/programs/{program}/purchase", {"payment_method": "mpesa", "coupon_code": text}),
        ("/v1/coupons", {"code": text, "discount_type": "percentage", "discount_value": "1", "applies_to": "all"}),
        ("/v1/coupons/check", {"code": text, "transaction_type": "course", "amount": "1", "currency": "USD"}),
        (f"/v1/transactions/{payment.id}/refunds", {"reason": text, "paid_out": True, "reference": text}),
        ("/v1/products", {"name": text, "slug": "a", "product_type": "physical", "price": "1", "description": text}),
        ("/v1/orders", {"lines": [], "payment_method": text, "notes": text}),
    ]
    for path, body in bodies:
        reply = await admin.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
        assert reply.status_code < 500, (path, reply.text)
    for path in ("/v1/transactions", "/v1/orders", "/v1/products", "/v1/subscriptions", "/v1/coupons", "/v1/ledger"):
        reply = await admin.get(path, params={"cursor": text.encode("utf-8", "replace")})
        assert reply.status_code == 422, path
