"""The program under test: one `indelible up`, and the commands that look at what it recorded."""

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY_WITHIN_SECONDS = 60
STOPPED_WITHIN_SECONDS = 60
COMMAND_WITHIN_SECONDS = 60
# A record reaches the ledger after the answer has left: `show` is asked again for this long.
RECORD_WITHIN_SECONDS = 20
POLL_SECONDS = 0.1
UNKNOWN_EXIT_CODE = 1


class Failure(Exception):
    """An expectation that does not hold."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Failure(message)


class Indelible:
    """The `indelible` binary on one new data directory."""

    def __init__(self, binary: Path, directory: Path) -> None:
        self._binary = binary
        self._data = directory / "data"
        self._log = directory / "up.log"

    @contextmanager
    def up(self, upstream: str) -> Iterator[str]:
        """Gateway and collector before `upstream`; gives the gateway's URL. Ends it in good order."""
        listen, api = free_address(), free_address()
        command = [self._binary, "up", "--upstream", upstream, "--data", self._data, "--listen", listen,
                   "--api-listen", api]
        with self._log.open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            for address in (listen, api):
                self._await(process, address)
            yield f"http://{listen}"
            process.send_signal(signal.SIGTERM)
            code = process.wait(STOPPED_WITHIN_SECONDS)
            require(code == 0, f"`indelible up` ended with exit code {code}: {self._last_words()}")
        finally:
            process.kill()
            process.wait()

    def _await(self, process: subprocess.Popen, address: str) -> None:
        host, port = address.split(":")
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while True:
            try:
                return socket.create_connection((host, int(port))).close()
            except OSError:
                alive = process.poll() is None and time.monotonic() < deadline
                require(alive, f"`indelible up` does not listen on {address}: {self._last_words()}")
                time.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace").strip()[-2000:]

    def records(self, name: str, count: int) -> list[dict]:
        """The records that an event id or a request id names, oldest first; awaited until there are `count`."""
        deadline = time.monotonic() + RECORD_WITHIN_SECONDS
        while True:
            done = self._run("show", name, "--json")
            found = [] if done.returncode == UNKNOWN_EXIT_CODE else json.loads(expect_success(done))["records"]
            if len(found) >= count:
                require(len(found) == count, f"{name} names {len(found)} records instead of {count}")
                return found
            require(time.monotonic() < deadline,
                    f"{name} names {len(found)} records instead of {count} after {RECORD_WITHIN_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def raw(self, event_id: str, side: str) -> bytes:
        """The recorded bytes of one side: `request` or `response`."""
        return expect_success(self._run("show", event_id, "--raw", side))

    def events(self, *filters: str) -> list[dict]:
        """Summaries of all records that pass the filters."""
        return json.loads(expect_success(self._run("list", "--json", "--limit", "1000", *filters)))["records"]

    def verify(self) -> str:
        expect_success(self._run("verify"))
        return "the ledgers hold"

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [self._binary, *arguments, "--data", self._data]
        return subprocess.run(command, capture_output=True, timeout=COMMAND_WITHIN_SECONDS, check=False)


def expect_success(done: subprocess.CompletedProcess[bytes]) -> bytes:
    command = " ".join(str(word) for word in done.args[1:-2])
    require(done.returncode == 0, f"`indelible {command}` ended with exit code {done.returncode}: {words(done)}")
    return done.stdout


def words(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stderr or done.stdout).decode(errors="replace").strip() or "(silent)"


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"
