"""A query parameter that no route knows is refused: passed over, a misspelt filter would answer with too much."""

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError


async def refuse_unknown_parameters(request: Request) -> None:
    """Raise `RequestValidationError` naming each query parameter the route does not take, and those it does."""
    if not request.query_params:
        return
    known = set(_list_parameters(request.scope["route"].dependant))
    told = f"{request.url.path} takes {', '.join(sorted(known)) or 'none'}"
    unknown = [
        {"type": "unknown_parameter", "loc": ("query", name), "msg": f"there is no such parameter ({told})"}
        for name in request.query_params
        if name not in known
    ]
    if unknown:
        raise RequestValidationError(unknown)


def _list_parameters(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _list_parameters(inner)
