"""The description of the API is whole and true."""

import json
import re
from typing import Any

from tests.api.conftest import Connect

SIGN_IN = {
    "/v1/auth/sign-in",
    "/v1/auth/second-factor",
    "/v1/certificates/verify/{code}",
    "/v1/payments/events/{organisation}/{gateway}",
    "/v1/privacy/exports/{export_id}/download",  # the link is the credential
}
"""What people call who have no credential yet, or another one."""


def names_a_record(operation: dict[str, Any]) -> bool:
    """Whether the path names something that may not be there, other than one of a fixed list."""
    return any(part["in"] == "path" and "enum" not in part["schema"] for part in operation.get("parameters", []))


def test_description_is_complete(app: Any) -> None:
    described = app.openapi()
    operations = [operation for paths in described["paths"].values() for operation in paths.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids)) >= 19
    for path, methods in described["paths"].items():
        for operation in methods.values():
            assert operation["description"]
            assert re.fullmatch(r"[a-z][A-Za-z]+", operation["operationId"])
            if path.startswith("/v1/"):
                assert {"401", "403", "422", "503"} <= operation["responses"].keys(), path
                assert ("security" in operation) != (path in SIGN_IN), path
                assert operation.get("security", [{"Bearer": []}]) == [{"Bearer": []}], path
                assert "application/problem+json" in operation["responses"]["401"]["content"]
                assert ("404" in operation["responses"]) or not names_a_record(operation), path
    schemas = described["components"]["schemas"]
    for reference in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(described)):
        assert reference in schemas
    assert described["components"]["securitySchemes"]["Bearer"]["scheme"] == "bearer"
    assert {"Problem", "SourcesEvent", "DoneEvent"} <= schemas.keys()
    assert "HTTPValidationError" not in schemas


def test_contract_paths_are_there(app: Any) -> None:
    paths = app.openapi()["paths"]
    expected = {
        "/v1/chat/completions": {"post"}, "/v1/models": {"get"}, "/v1/chat/sessions": {"get", "post"},
        "/v1/chat/sessions/{session_id}": {"get"}, "/v1/chat/sessions/{session_id}/messages": {"get", "post"},
        "/v1/search": {"post"}, "/v1/clients": {"get"}, "/v1/transcripts/{transcript_id}": {"get"},
        "/v1/documents/{document_id}": {"get"}, "/v1/ingestions": {"get", "post"},
        "/v1/ingestions/{object_id}": {"get"}, "/v1/ingestions/{object_id}/retry": {"post"},
        "/healthz": {"get"}, "/readyz": {"get"}, "/metrics": {"get"},
    }  # fmt: skip
    for path, methods in expected.items():
        assert paths[path].keys() == methods


async def test_documentation_asks_no_other_host(connect: Connect) -> None:
    page = await connect(None).get("/docs")
    assert page.status_code == 200
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert len(links) >= 2
    for link in links:
        assert link.startswith("/"), link
        assert (await connect(None).get(link)).status_code == 200, link
