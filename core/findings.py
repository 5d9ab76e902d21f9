"""What a check of the store or of this machine found."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; `cure` says what to do unless all is well."""

    name: str
    status: Status
    detail: str
    cure: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the finding for programs."""
        return asdict(self)
