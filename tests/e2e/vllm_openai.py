#!/usr/bin/env python3
"""End to end: the official OpenAI client, through the gateway, to a real vLLM.

Each case makes one call with the `openai` client and keeps the bytes that crossed the client's side of the
wire. It then asks `indelible show` for the record that the response names in `x-indelible-event-id`, and
requires that

  * `--raw request` and `--raw response` print exactly those bytes (a client that hung up holds the beginning
    of the recorded response);
  * the entry states what the client saw: operation, model, status, HTTP status, token counts.

At the end `indelible verify` must find that the ledger holds. Nothing depends on what the model says, so a
tiny model with random weights will do. README.md beside this file tells how to run it.
"""

import argparse
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai

API_KEY = "sk-test-indelible-end-to-end-0001"
EVENT_ID_HEADER = "x-indelible-event-id"
# A fresh vLLM compiles some kernels at their first use, which has been seen to take half a minute.
CALL_TIMEOUT_SECONDS = 180
COMMAND_TIMEOUT_SECONDS = 60
# A record reaches the ledger after the answer has left: `show` is asked again for this long.
RECORD_WAIT_SECONDS = 10
RECORD_POLL_SECONDS = 0.1
SHOW_UNKNOWN_EXIT_CODE = 1


class Failure(Exception):
    """One case's expectation that does not hold."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise Failure(message)


# --- What crosses the wire -----------------------------------------------------------------------------------


@dataclass
class Exchange:
    """One request and its response. `received` is the body after transfer-coding and before content-coding is
    undone, as far as the client read it."""

    request: httpx.Request
    sent: bytes
    http_status: int
    headers: httpx.Headers
    received: bytearray = field(default_factory=bytearray)


class RecordingStream(httpx.SyncByteStream):
    """Copies what it hands on."""

    def __init__(self, inner: httpx.SyncByteStream, copy: bytearray) -> None:
        self._inner = inner
        self._copy = copy

    def __iter__(self) -> Iterator[bytes]:
        for part in self._inner:
            self._copy += part
            yield part

    def close(self) -> None:
        self._inner.close()


class RecordingTransport(httpx.BaseTransport):
    """The usual HTTP transport, keeping every exchange."""

    def __init__(self) -> None:
        self._inner = httpx.HTTPTransport()
        self.exchanges: list[Exchange] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = request.read()
        response = self._inner.handle_request(request)
        exchange = Exchange(request, sent, response.status_code, response.headers)
        self.exchanges.append(exchange)
        response.stream = RecordingStream(response.stream, exchange.received)
        return response

    def close(self) -> None:
        self._inner.close()


def resend(exchange: Exchange, url: str) -> httpx.Response:
    """The same request once more, to another server."""
    headers = {"content-type": exchange.request.headers.get("content-type", "")}
    target = httpx.URL(url).copy_with(raw_path=exchange.request.url.raw_path)
    return httpx.request(exchange.request.method, target, content=exchange.sent, headers=headers,
                         timeout=CALL_TIMEOUT_SECONDS, trust_env=False)


# --- The cases -----------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What the client learnt from the answer, and so what the entry has to say. None: nothing to compare."""

    operation: str
    model: str | None
    status: str = "completed"
    http_status: int = 200
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    hung_up: bool = False
    # Sent straight to the upstream, the same request gets the same answer, byte for byte.
    repeatable: bool = False

    def with_usage(self, usage) -> "Seen":
        require(usage is not None, "the answer carried no usage")
        self.prompt_tokens, self.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        return self


MESSAGES = [
    {"role": "system", "content": "Answer in a word or two."},
    {"role": "user", "content": "Does the audit trail keep “ä, ß, 漢字, 🧾” and\ttabs?\nEvery byte of it?"},
]
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather in a city.",
        "strict": True,  # Without it vLLM lets any JSON value stand for the arguments.
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "London"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
# Naming the tool makes the server decode a call whatever the model would have said.
TOOL_CALL = {
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
    "tools": [WEATHER_TOOL],
    "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    "max_tokens": 512,
    "seed": 1,
}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
FIXED_LENGTH = {"max_tokens": 16, "extra_body": {"ignore_eos": True}}


def plain_chat(client: openai.OpenAI, model: str) -> Seen:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, **FIXED_LENGTH)
    return Seen("chat", model).with_usage(answer.usage)


def streamed_chat(client: openai.OpenAI, model: str) -> Seen:
    """Over HTTP/1.1 the client closes the connection at `[DONE]`, before the stream's end: still `completed`."""
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, **FIXED_LENGTH, **STREAMED))
    require(len(chunks) > 2, f"a stream of {len(chunks)} chunks")
    return Seen("chat", model).with_usage(chunks[-1].usage)


def logprobs(client: openai.OpenAI, model: str) -> Seen:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, logprobs=True, top_logprobs=3,
                                            **FIXED_LENGTH)
    require(bool(answer.choices[0].logprobs.content), "no log probabilities in the answer")
    return Seen("chat", model).with_usage(answer.usage)


def two_choices(client: openai.OpenAI, model: str) -> Seen:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, n=2, **FIXED_LENGTH)
    require(len(answer.choices) == 2, f"{len(answer.choices)} choices instead of 2")
    return Seen("chat", model).with_usage(answer.usage)


def tool_call(client: openai.OpenAI, model: str) -> Seen:
    answer = client.chat.completions.create(model=model, **TOOL_CALL)
    calls = answer.choices[0].message.tool_calls or []
    require([call.function.name for call in calls] == ["get_weather"], f"tool calls: {calls}")
    return Seen("chat", model).with_usage(answer.usage)


def streamed_tool_call(client: openai.OpenAI, model: str) -> Seen:
    chunks = list(client.chat.completions.create(model=model, **TOOL_CALL, **STREAMED))
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    names = [call.function.name for call in calls if call.function.name]
    require(names == ["get_weather"], f"names in the streamed tool call: {names}")
    return Seen("chat", model).with_usage(chunks[-1].usage)


def text_completion(client: openai.OpenAI, model: str) -> Seen:
    answer = client.completions.create(model=model, prompt="The audit trail", **FIXED_LENGTH)
    return Seen("text_completion", model).with_usage(answer.usage)


def streamed_text_completion(client: openai.OpenAI, model: str) -> Seen:
    chunks = list(client.completions.create(model=model, prompt="The audit trail", **FIXED_LENGTH, **STREAMED))
    return Seen("text_completion", model).with_usage(chunks[-1].usage)


def embeddings(client: openai.OpenAI, model: str) -> Seen:
    """A chat model's server refuses this; the refusal is recorded like any other answer."""
    try:
        answer = client.embeddings.create(model=model, input="The audit trail", encoding_format="float")
    except openai.APIStatusError as error:
        return Seen("embeddings", model, "upstream_error", error.status_code, repeatable=True)
    return Seen("embeddings", model, prompt_tokens=answer.usage.prompt_tokens)


def list_models(client: openai.OpenAI, model: str) -> Seen:
    served = [served.id for served in client.models.list()]
    require(model in served, f"the server offers {served}")
    return Seen("other", None)


def bad_parameter(client: openai.OpenAI, model: str) -> Seen:
    try:
        client.chat.completions.create(model=model, messages=MESSAGES, temperature=-3)
    except openai.BadRequestError as error:
        return Seen("chat", model, "upstream_error", error.status_code, repeatable=True)
    raise Failure("a negative temperature was accepted")


def hang_up(client: openai.OpenAI, model: str) -> Seen:
    stream = client.chat.completions.create(model=model, messages=MESSAGES, stream=True, max_tokens=800,
                                            extra_body={"ignore_eos": True})
    for _ in range(2):
        next(stream)
    stream.close()
    return Seen("chat", model, "cancelled", hung_up=True)


CASES: list[Callable[[openai.OpenAI, str], Seen]] = [
    plain_chat, streamed_chat, logprobs, two_choices, tool_call, streamed_tool_call, text_completion,
    streamed_text_completion, embeddings, list_models, bad_parameter, hang_up,
]


# --- What was recorded ---------------------------------------------------------------------------------------


class Indelible:
    """The `indelible` binary, working on one data directory."""

    def __init__(self, binary: Path, data: Path) -> None:
        self._binary = binary
        self._data = data

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self._binary), *arguments, "--data", str(self._data)]
        return subprocess.run(command, capture_output=True, timeout=COMMAND_TIMEOUT_SECONDS, check=False)

    def record(self, event_id: str) -> dict:
        """The one record of an event, awaited."""
        deadline = time.monotonic() + RECORD_WAIT_SECONDS
        while (done := self._run("show", event_id, "--json")).returncode == SHOW_UNKNOWN_EXIT_CODE:
            require(time.monotonic() < deadline, f"no record after {RECORD_WAIT_SECONDS} s: {words(done)}")
            time.sleep(RECORD_POLL_SECONDS)
        require(done.returncode == 0, f"show --json: exit {done.returncode}: {words(done)}")
        require(API_KEY.encode() not in done.stdout, "the record shows the API key")
        records = json.loads(done.stdout)["records"]
        require(len(records) == 1, f"{len(records)} records instead of 1")
        return records[0]

    def raw(self, event_id: str, part: str) -> bytes:
        """The recorded bytes of a part: `request` or `response`."""
        done = self._run("show", event_id, "--raw", part)
        require(done.returncode == 0, f"show --raw {part}: exit {done.returncode}: {words(done)}")
        return done.stdout

    def verify(self) -> None:
        done = self._run("verify")
        require(done.returncode == 0, f"verify: exit {done.returncode}: {words(done)}")


def words(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stderr or done.stdout).decode(errors="replace").strip() or "(silent)"


def same_bytes(what: str, recorded: bytes, expected: bytes) -> None:
    if recorded == expected:
        return
    pairs = enumerate(zip(recorded, expected))
    at = next((i for i, (a, b) in pairs if a != b), min(len(recorded), len(expected)))
    raise Failure(f"{what}: {len(recorded)} bytes instead of {len(expected)}, differing from byte {at}: "
                  f"{recorded[at:at + 40]!r} instead of {expected[at:at + 40]!r}")


def check_record(indelible: Indelible, exchange: Exchange, seen: Seen) -> None:
    event_id = exchange.headers.get(EVENT_ID_HEADER)
    require(event_id is not None, f"the response has no {EVENT_ID_HEADER}")
    require(str(uuid.UUID(event_id)) == event_id, f"{EVENT_ID_HEADER} is no UUID: {event_id}")

    entry = indelible.record(event_id)["entry"]
    require(entry.get("event_id") == event_id, f"show {event_id} answers with {entry.get('event_id')}")
    require(entry.get("model") == seen.model, f"model: {entry.get('model')} instead of {seen.model}")
    for name in ("operation", "status", "http_status", "prompt_tokens", "completion_tokens"):
        expected, recorded = getattr(seen, name), entry.get(name)
        require(expected is None or recorded == expected, f"{name}: {recorded} instead of {expected}")

    same_bytes("recorded request", indelible.raw(event_id, "request"), exchange.sent)
    response, received = indelible.raw(event_id, "response"), bytes(exchange.received)
    same_bytes("recorded response", response[:len(received)] if seen.hung_up else response, received)


def run_case(case: Callable[[openai.OpenAI, str], Seen], options: argparse.Namespace) -> str:
    """Makes the call and checks what became of it; says in a few words what passed."""
    transport = RecordingTransport()
    with httpx.Client(transport=transport, timeout=CALL_TIMEOUT_SECONDS) as http:
        client = openai.OpenAI(base_url=f"{options.gateway}/v1", api_key=API_KEY, http_client=http, max_retries=0)
        seen = case(client, options.model)
        require(len(transport.exchanges) == 1, f"{len(transport.exchanges)} requests instead of 1")
        exchange = transport.exchanges[0]
        require(exchange.http_status == seen.http_status, f"HTTP {exchange.http_status}")
        require(bool(exchange.received), "an empty response body")
        if seen.repeatable:
            direct = resend(exchange, options.upstream)
            same_bytes("response through the gateway", bytes(exchange.received), direct.content)
        if not options.no_show:
            check_record(Indelible(options.indelible, options.data), exchange, seen)
    tokens = f", tokens {seen.prompt_tokens}+{seen.completion_tokens}" if seen.completion_tokens else ""
    return f"HTTP {seen.http_status}, {len(exchange.sent)} → {len(exchange.received)} bytes{tokens}"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="OpenAI client → gateway → vLLM, compared with the records.")
    parser.add_argument("--gateway", default="http://127.0.0.1:8089", metavar="URL")
    parser.add_argument("--upstream", default="http://127.0.0.1:8800", metavar="URL", help="the vLLM behind it")
    parser.add_argument("--model", default="tiny", help="as vLLM serves it")
    parser.add_argument("--indelible", type=Path, metavar="PATH", help="the indelible binary")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the gateway's data directory")
    parser.add_argument("--no-show", action="store_true", help="make the calls only, look at no record")
    options = parser.parse_args()
    if not options.no_show and not (options.indelible and options.data):
        parser.error("--indelible and --data are needed to look at the records (or give --no-show)")
    if options.indelible:
        options.indelible = options.indelible.resolve()  # A bare file name would be looked for in PATH.
    options.gateway, options.upstream = options.gateway.rstrip("/"), options.upstream.rstrip("/")
    return options


def main() -> int:
    options = parse_options()
    checks = [(case.__name__, lambda case=case: run_case(case, options)) for case in CASES]
    if not options.no_show:
        checks.append(("verify", lambda: Indelible(options.indelible, options.data).verify() or "the ledger holds"))

    failed = 0
    for name, check in checks:
        try:
            print(f"ok    {name}: {check()}", flush=True)
        except Exception as error:  # A case may fail in any way; the others still run.
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
