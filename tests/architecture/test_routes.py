"""Every list a client can ask for is paged by cursor, and every change says what it may answer with."""

from typing import Any

import pytest

from api.app import create_app
from core.settings import Settings

BOUNDED = {
    "/v1/analytics/coaching": "a month each, five years at most",
    "/v1/analytics/answers": "a day each, five years at most",
    "/v1/balances": "an account of the closed chart and a currency each",
    "/v1/modules/{module_id}/lessons": "the lessons of one module, in their order",
    "/v1/orders/{order_id}": "no list: an order with its items, of which it takes fifty",
    "/v1/models": "one",
    "/v1/prices": "five hundred at most",
    "/v1/quotas": "the four limits there are",
    "/v1/usage": "a day, a feature or one of the thousand dearest flow runs each, 400 days at most",
}
"""Lists that are no pages, and what bounds them."""


@pytest.fixture(scope="module")
def described(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = create_app(settings).openapi()
    return found


def resolve(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def list_reads(described: dict[str, Any]) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return path, operation and the schema of the answer of every GET that answers with JSON."""
    found = []
    for path, methods in described["paths"].items():
        answer = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json")
        if answer is not None:
            found.append((path, methods["get"], resolve(described, answer["schema"])))
    return found


def test_every_list_pages_by_cursor(described: dict[str, Any]) -> None:
    pages = 0
    for path, operation, schema in list_reads(described):
        is_list = schema.get("type") == "array" or schema.get("properties", {}).get("items", {}).get("type") == "array"
        if not is_list or path in BOUNDED:
            continue
        pages += 1
        names = {parameter["name"]: parameter["schema"] for parameter in operation.get("parameters", [])}
        assert {"limit", "cursor"} <= set(names), f"{path} can't be paged"
        assert names["limit"].get("maximum", 10**9) <= 500, f"{path} gives a page of any size"
        assert "next_cursor" in schema["properties"], path
    assert pages > 25


def test_operations_are_named_once_and_say_how_they_fail(described: dict[str, Any]) -> None:
    names = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            names.append(operation["operationId"])
            assert operation["operationId"][:1].islower(), operation["operationId"]
            assert operation.get("summary") or operation.get("description"), (path, method)
            if path.startswith("/v1/"):
                assert any(status[0] == "4" for status in operation["responses"]), (path, method)
    assert len(names) == len(set(names))


def test_texts_that_come_in_have_a_length(described: dict[str, Any]) -> None:
    """What a client sends is bounded field by field, not only by the size of the request."""
    unbounded = []
    for name, schema in described["components"]["schemas"].items():
        if not name.endswith("In"):
            continue
        for field, given in schema.get("properties", {}).items():
            options = (given, *given.get("anyOf", []))
            if any(option.get("type") == "number" for option in options):
                continue  # an amount, which is also taken as text, and has a number of digits
            for option in options:
                if option.get("type") == "string" and not {"maxLength", "format", "enum", "const", "pattern"} & set(
                    option
                ):
                    unbounded.append(f"{name}.{field}")
                if option.get("type") == "array" and "maxItems" not in option and "maxItems" not in given:
                    unbounded.append(f"{name}.{field}[]")
    assert not unbounded
