"""Starting the embedded PostgreSQL in several processes at once."""

import os
import threading
import time

import pytest

from db import embedded


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the server runs as whoever starts it")
def test_one_at_a_time_makes_the_servers_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    inside, most = 0, 0
    together = threading.Barrier(4)

    def start() -> None:
        nonlocal inside, most
        together.wait(timeout=30)
        with embedded._alone_on_machine():
            inside += 1
            most = max(most, inside)
            time.sleep(0.02)  # long enough for another to come in, were there no lock
            inside -= 1

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert (inside, most) == (0, 1)
