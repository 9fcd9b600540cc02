"""What must hold of every call: the wire was not touched, and the record says what passed.

`Told` is what the client learnt; it comes from the client's own reading of the answer, so a record that agrees with
it was read right. All the rest is compared between the two sides of the gateway and the record, byte for byte.
"""

import json
import time
import uuid
from dataclasses import dataclass, field

from indelible import Failure, Indelible, require
from wire import Exchange, Message, Relay

EVENT_ID_HEADER = "x-indelible-event-id"
REQUEST_ID_HEADER = "x-request-id"
# Of one connection only (RFC 9110 §7.6.1), or framing, which may differ as long as the body does not.
FRAMING_HEADERS = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}
# An answer that took the server longer than this to say must have begun to arrive before it was whole.
STREAM_SECONDS = 0.05
# A client that hangs up frees the server within this time.
RELEASED_WITHIN_SECONDS = 10
POLL_SECONDS = 0.05


@dataclass
class Told:
    """Members that the entry has to have, `None` for one that it must not have; members of `detail` likewise."""

    entry: dict = field(default_factory=dict)
    detail: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entry = {"status": "completed", "http_status": 200, **self.entry}

    @property
    def hung_up(self) -> bool:
        return self.entry["status"] == "cancelled"


@dataclass
class Sides:
    """The relays before and behind the gateway, and what had passed there before the call."""

    client: Relay
    server: Relay

    def __post_init__(self) -> None:
        self._before = len(self.client.exchanges()), len(self.server.exchanges())

    def exchanges(self) -> list[tuple[Exchange, Exchange]]:
        """The exchanges of the call, each as the client and as the server had it. Calls that run at once reach the
        server in any order, so they are matched by what was sent, and by the answer where that is the same."""
        client = self.client.exchanges()[self._before[0]:]
        # Looked at last: all that reached the client had passed here before.
        server = self.server.exchanges()[self._before[1]:]
        pairs = []
        for one in client:
            same = [other for other in server if sent(other) == sent(one)]
            require(bool(same), f"the server did not get {one.request.start_line!r} as the client sent it, but "
                                f"{[other.request.start_line for other in server]}")
            match = next((other for other in same if answered(other) == answered(one)), same[0])
            pairs.append((one, match))
            server.remove(match)
        require(not server, f"the server got {len(server)} requests that the client did not send")
        return pairs


def sent(exchange: Exchange) -> tuple[str, bytes]:
    return exchange.request.start_line, exchange.request.body


def answered(exchange: Exchange) -> bytes | None:
    return exchange.answer and exchange.answer.body


def check_call(sides: Sides, told: list[Told], indelible: Indelible, secret: str) -> str:
    """Checks every exchange of a call; says in a few words what passed."""
    pairs = sides.exchanges()
    require(len(pairs) == len(told), f"{len(pairs)} requests instead of {len(told)}")
    unanswered = sum(client.answer is None for client, _ in pairs)
    for number, (said, (client, server)) in enumerate(zip(told, pairs)):
        check_wire(client, server, said)
        check_record(indelible, client, said, number, unanswered, secret)
    more = f" (and {len(pairs) - 1} more)" if len(pairs) > 1 else ""
    return summary(told[0], pairs[0][0]) + more


def summary(told: Told, client: Exchange) -> str:
    answer, entry = client.answer, told.entry
    outcome = f"HTTP {answer.status}" if answer else "no answer"
    tokens = ""
    if entry.get("prompt_tokens") is not None:
        tokens = f", tokens {entry['prompt_tokens']}+{entry.get('completion_tokens') or 0}"
    received = len(answer.body) if answer else 0
    return f"{outcome}, {entry['status']}, {len(client.request.body)} → {received} bytes{tokens}"


def check_wire(client: Exchange, server: Exchange, told: Told) -> None:
    same_headers("the request at the server", server.request, client.request, {"host"})
    if told.hung_up:
        check_released(server)
    if client.answer is None:
        require(told.hung_up, "the client got no answer")
        return
    require(server.answer is not None, "an answer that the server did not give")
    require(client.answer.start_line.split(" ")[1] == server.answer.start_line.split(" ")[1],
            f"status line {client.answer.start_line!r} instead of {server.answer.start_line!r}")
    same_headers("the answer at the client", client.answer, server.answer, {EVENT_ID_HEADER})
    received, sent = client.answer.body, server.answer.body
    same_bytes("the answer at the client", received, sent[:len(received)] if told.hung_up else sent)
    require(bool(received), "an empty answer")
    if server.answer.ended - server.answer.began > STREAM_SECONDS:
        require(client.answer.began < server.answer.ended, "the answer was held back until it was whole")


def check_released(server: Exchange) -> None:
    """The connection to the server ends with the client's, so that nothing is generated for nobody."""
    deadline = time.monotonic() + RELEASED_WITHIN_SECONDS
    while not server.connection.up.ended:
        require(time.monotonic() < deadline, "the client hung up, and the server was not told")
        time.sleep(POLL_SECONDS)
    require(server.answer is None or not server.answer.whole, "the server had said everything before")


def check_record(indelible: Indelible, client: Exchange, told: Told, number: int, unanswered: int,
                 secret: str) -> None:
    if client.answer is None:
        # No answer named the event: it is found by what the client called its request.
        record = indelible.records(client.request.header(REQUEST_ID_HEADER), unanswered)[number]
    else:
        named = client.answer.header(EVENT_ID_HEADER)
        require(named is not None, f"the answer has no {EVENT_ID_HEADER}")
        require(str(uuid.UUID(named)) == named, f"{EVENT_ID_HEADER} is no UUID: {named}")
        record = indelible.records(named, 1)[0]
        require(record["entry"]["event_id"] == named, f"{named} names {record['entry']['event_id']}")
    require(secret not in json.dumps(record), "the record holds the API key")

    event_id = record["entry"]["event_id"]
    same_bytes("the recorded request", indelible.raw(event_id, "request"), client.request.body)
    recorded = indelible.raw(event_id, "response")
    received = client.answer.body if client.answer else b""
    same_bytes("the recorded answer", recorded[:len(received)] if told.hung_up else recorded, received)
    require(record["payload"].get("matches_commitments") is True, "the bodies are not what the entry commits to")
    check_entry(record["entry"], told)


def check_entry(entry: dict, told: Told) -> None:
    pairs = [(name, entry.get(name), expected) for name, expected in told.entry.items()]
    detail = entry.get("detail", {})
    pairs += [(f"detail.{name}", detail.get(name), expected) for name, expected in told.detail.items()]
    wrong = [f"{name} is {found!r} instead of {expected!r}" for name, found, expected in pairs if found != expected]
    require(not wrong, "the bytes agree, the entry does not: " + "; ".join(wrong))


def same_bytes(what: str, found: bytes, expected: bytes) -> None:
    if found == expected:
        return
    differing = (at for at, pair in enumerate(zip(found, expected)) if pair[0] != pair[1])
    at = next(differing, min(len(found), len(expected)))
    raise Failure(f"{what}: {len(found)} bytes instead of {len(expected)}, differing from byte {at}: "
                  f"{found[at:at + 40]!r} instead of {expected[at:at + 40]!r}")


def same_headers(what: str, found: Message, expected: Message, apart: set[str]) -> None:
    """Every header once, with its value; the order of different names means nothing (RFC 9110 §5.3)."""
    passed = [sorted(pair for pair in message.headers if pair[0] not in FRAMING_HEADERS | apart)
              for message in (found, expected)]
    require(passed[0] == passed[1], f"{what}: headers {passed[0]} instead of {passed[1]}")
