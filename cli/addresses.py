"""Where `regenesis up` listens; looked at before anything slow is imported, so that a taken port is told at once."""

from dataclasses import dataclass

from cli.services import ensure_port_free


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the API and the flow server listen; `flow_api_url` is set where somebody else runs the flow server."""

    host: str
    port: int
    prefect_port: int
    given_flow_api_url: str | None

    @property
    def api_url(self) -> str:
        """The API's address as this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def flow_ui_url(self) -> str:
        """The flow server's pages."""
        return self.flow_api_url.removesuffix("/api")

    @property
    def flow_api_url(self) -> str:
        """The flow server's API."""
        return self.given_flow_api_url or f"http://127.0.0.1:{self.prefect_port}/api"

    def ensure_free(self) -> None:
        """Raise `PortInUse` before anything is started in vain."""
        ensure_port_free(self.host, self.port, "--port")
        if self.given_flow_api_url is None:
            ensure_port_free("127.0.0.1", self.prefect_port, "--prefect-port")
