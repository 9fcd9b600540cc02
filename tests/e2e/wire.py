"""HTTP/1.1 as it passes: a relay that keeps every byte and when it passed, and a reader that tells bodies from
their framing (RFC 9112).

Clients decode, buffer and retry as they like; what went over their connection is seen here and nowhere else. So a
relay stands on both sides of the gateway, and nothing has to be asked of a client library.
"""

import socket
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

READ_BYTES = 64 << 10
# Statuses whose answers have no body, whatever their headers say (RFC 9110 §6.4.1).
BODILESS = (204, 304)


@dataclass
class Message:
    """One request or answer, as far as it passed."""

    start_line: str
    headers: list[tuple[str, str]]
    # After transfer-coding, before content-coding is undone.
    body: bytes
    # Sizes of the chunks of a chunked body.
    chunk_bytes: list[int] | None
    # Whether the body came to the end that its framing announces.
    whole: bool
    # When the first byte of all passed, and the first and the last of the body.
    came: float = 0.0
    began: float | None = None
    ended: float | None = None

    @property
    def status(self) -> int:
        return int(self.start_line.split(" ")[1])

    def header(self, name: str) -> str | None:
        return next((value for known, value in self.headers if known == name), None)


@dataclass
class Track:
    """What passed in one direction of a connection."""

    data: bytearray = field(default_factory=bytearray)
    ended: bool = False
    # Where each piece ends, and when it passed.
    _pieces: list[tuple[int, float]] = field(default_factory=list)

    def add(self, piece: bytes) -> None:
        self.data += piece
        self._pieces.append((len(self.data), time.monotonic()))

    def passed_at(self, offset: int) -> float | None:
        return next((when for end, when in self._pieces if offset < end), None)

    def messages(self, answers: bool) -> list[Message]:
        data, at, found = bytes(self.data), 0, []
        while (read := read_message(data, at, answers, self.ended)) is not None:
            message, body_at, end = read
            message.came = self.passed_at(at)
            at = end
            if message.body:
                message.began = self.passed_at(body_at)
                message.ended = self.passed_at(at - 1)
            if not (answers and 100 <= message.status < 200):
                found.append(message)
        return found


@dataclass
class Exchange:
    """A request and its answer, if one came."""

    request: Message
    answer: Message | None
    connection: "Connection"


class Connection:
    """A client's connection, carried on to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._client, self._server = client, server
        self.up, self.down = Track(), Track()
        self._lock = threading.Lock()

    def carry(self) -> None:
        for source, sink, track in ((self._client, self._server, self.up), (self._server, self._client, self.down)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pump, args=(source, sink, track), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, track: Track) -> None:
        try:
            while piece := source.recv(READ_BYTES):
                with self._lock:
                    track.add(piece)
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # One side is gone: the other must learn of it, whatever it was doing.
            self.close()
        with self._lock:
            track.ended = True

    def close(self) -> None:
        for end in (self._client, self._server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # Gone already.

    def exchanges(self) -> list[Exchange]:
        with self._lock:
            requests, answers = self.up.messages(answers=False), self.down.messages(answers=True)
        answers += [None] * (len(requests) - len(answers))
        return [Exchange(request, answer, self) for request, answer in zip(requests, answers)]


class Relay:
    """Listens on a free loopback port and carries every connection on to `target`, an `http://` URL."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname, parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[Connection] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # Closed.
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            connection = Connection(client, server)
            self._connections.append(connection)
            connection.carry()

    def exchanges(self) -> list[Exchange]:
        """Everything that passed, in the order in which it was asked. Connections are used again in any order."""
        passed = [exchange for connection in list(self._connections) for exchange in connection.exchanges()]
        return sorted(passed, key=lambda exchange: exchange.request.came)

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_) -> None:
        self._listener.close()
        for connection in self._connections:
            connection.close()


def read_message(data: bytes, at: int, is_answer: bool, ended: bool) -> tuple[Message, int, int] | None:
    """The message that begins at `at`, where its body begins, and where it ends as far as it came. `None`: there is
    no whole head. `ended` says that no more will come, which is how some bodies end."""
    head_end = data.find(b"\r\n\r\n", at)
    if head_end < 0:
        return None
    start_line, *lines = data[at:head_end].decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
    message = Message(start_line, headers, b"", None, True)
    body_at = head_end + 4
    if is_answer and (message.status < 200 or message.status in BODILESS):
        return message, body_at, body_at
    length = message.header("content-length")
    if (message.header("transfer-encoding") or "").lower().endswith("chunked"):
        end = read_chunks(data, body_at, message)
    elif length is not None:
        end = body_at + int(length)
        message.body, message.whole = data[body_at:end], end <= len(data)
    elif is_answer:
        end = len(data)
        message.body, message.whole = data[body_at:], ended
    else:
        end = body_at
    return message, body_at, min(end, len(data))


def read_chunks(data: bytes, at: int, message: Message) -> int:
    """Reads a chunked body into `message`; says where it ends. Trailers are passed over."""
    body, message.chunk_bytes, message.whole = bytearray(), [], False
    while (line_end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line_end].partition(b";")[0], 16)
        at = line_end + 2
        if size == 0:
            end = data.find(b"\r\n", at) if data[at:at + 2] == b"\r\n" else data.find(b"\r\n\r\n", at) + 2
            message.whole = end >= at
            at = end + 2 if message.whole else len(data)
            break
        chunk = data[at:at + size]
        body += chunk
        message.chunk_bytes.append(len(chunk))
        at += size + 2
    message.body = bytes(body)
    return min(at, len(data))
