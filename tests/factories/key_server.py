"""A key service over real HTTP: moto's for what works, and one that refuses as it is told."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import boto3
import pytest
from moto.server import ThreadedMotoServer

from core.settings import CryptoSettings


@pytest.fixture(scope="session")
def kms_settings() -> Iterator[CryptoSettings]:
    """A server with one symmetric key, which the settings name."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        url = f"http://{host}:{port}"
        key = make_kms_key(url)
        yield CryptoSettings(kms_key_id=key, kms_endpoint_url=url)
    server.stop()


def make_kms_key(url: str) -> str:
    """Return the id of a new key on the server."""
    client = boto3.client("kms", endpoint_url=url, region_name="us-east-1")
    return str(client.create_key()["KeyMetadata"]["KeyId"])


class RefusingKeyServer:
    """Answers each request with the next of its answers, (status, code), the last again and again."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str]] = []
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.asked += 1
                status, code = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                body = json.dumps({"__type": f"com.amazonaws.kms#{code}", "message": "no"}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def refusing_kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingKeyServer]:
    """A key service that refuses; credentials are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = RefusingKeyServer()
    yield server
    server.close()
