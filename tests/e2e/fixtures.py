#!/usr/bin/env python3
"""Records what a real vLLM answers, for the tests of crates/gateway.

    fixtures.py --upstream http://127.0.0.1:8000 --into crates/gateway/tests/fixtures/vllm [--pooling]

Speaks HTTP over a bare socket, so that what is written is what the server sent: body bytes after transfer-coding,
and where its chunks ended. Replaces what a server of the same kind (--pooling or not) gave before. The layout is in
crates/gateway/tests/fixtures/README.md; usually `cargo xtask e2e record` runs this.
"""

import argparse
import datetime
import json
import socket
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import responses_cases
from indelible import Failure, require
from openai_cases import MESSAGES, QUESTION, STREAMED, TOOL, TOOL_CALL
from wire import READ_BYTES, Message, read_message

ANSWER_WITHIN_SECONDS = 180
POLL_SECONDS = 0.2
CALLS_UNTIL_MAX = 30
FILE_MAX_BYTES = 20_000
ALL_MAX_BYTES = 300_000
MESSAGE_TOOLS = [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"],
                  "strict": True}]
BROKEN_JSON = b'{"model":"tiny","messages":[{"role":"user","content":"cut'


def main() -> int:
    parser = argparse.ArgumentParser(description="Records answers of a real vLLM as files.")
    parser.add_argument("--upstream", required=True, metavar="URL", help="vLLM, such as http://127.0.0.1:8000")
    parser.add_argument("--model", default="tiny", help="as vLLM serves it (tiny)")
    parser.add_argument("--pooling", action="store_true", help="this vLLM makes vectors (--runner pooling)")
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="where the files go")
    options = parser.parse_args()
    try:
        print(record(options))
    except (OSError, Failure) as error:
        print(f"FAIL  {error}", file=sys.stderr)
        return 1
    return 0


def record(options: argparse.Namespace) -> str:
    recorder = Recorder(options.upstream, options.into, "pooling" if options.pooling else "generate")
    if options.pooling:
        pooling(recorder, options.model)
    else:
        chats(recorder, options.model)
        completions(recorder, options.model)
        responses(recorder, options.model)
        messages(recorder, options.model)
        others(recorder, options.model)
    return recorder.finish()


class Recorder:
    """Asks one server and writes down what it answers."""

    def __init__(self, upstream: str, into: Path, runner: str) -> None:
        parts = urlsplit(upstream)
        self._address = (parts.hostname, parts.port or 80)
        self._index = into / "index.json"
        self._into, self._runner = into, runner
        self._exchanges: list[dict] = []
        into.mkdir(parents=True, exist_ok=True)
        self._kept = self._forget()
        version = json.loads(self._exchange("GET", "/version", [], b"").body)["version"]
        today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        self._origin = {"server": f"vLLM {version}", "runner": runner, "recorded": today}

    def _forget(self) -> list[dict]:
        """Removes what a server of this kind gave before; returns what stays."""
        if not self._index.exists():
            return []
        known = json.loads(self._index.read_text())["exchanges"]
        for exchange in known:
            if exchange["runner"] == self._runner:
                for side in ("request", "answer"):
                    if "body" in exchange[side]:
                        (self._into / exchange[side]["body"]).unlink(missing_ok=True)
        return [exchange for exchange in known if exchange["runner"] != self._runner]

    def ask(self, name: str, about: str, target: str, asked: dict | bytes | None = None, *, method: str = "POST",
            status: int = 200, headers: dict[str, str] | None = None, until: bytes = b"") -> dict:
        """Makes one call, again while the answer does not hold `until`, and writes it down; gives the answer, read
        as JSON where it is that."""
        body = asked if isinstance(asked, bytes) else dump(asked) if asked is not None else b""
        sent = [("content-type", "application/json")] * bool(body) + list((headers or {}).items())
        answers = (self._exchange(method, target, sent, body) for _ in range(CALLS_UNTIL_MAX))
        answer = next((answer for answer in answers if until in answer.body), None)
        require(answer is not None, f"{name}: no {until!r} in {CALLS_UNTIL_MAX} answers")
        require(answer.status == status, f"{name}: HTTP {answer.status} instead of {status}: {answer.body[:500]}")
        request = {"method": method, "target": target, "headers": sent}
        if body:
            request["body"] = self._write(f"{name}.request.json", body)
        received = {"status": answer.status, "headers": answer.headers}
        received["body"] = self._write(f"{name}.answer.{extension(answer)}", answer.body)
        if answer.chunk_bytes is not None:
            received["chunk_bytes"] = answer.chunk_bytes
        self._exchanges.append({"name": name, "about": about, **self._origin, "request": request, "answer": received})
        return json.loads(answer.body) if extension(answer) == "json" else {}

    def _exchange(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Message:
        lines = [f"{method} {target} HTTP/1.1", "host: localhost", "connection: close",
                 *(f"{name}: {value}" for name, value in headers), f"content-length: {len(body)}", "", ""]
        received = b""
        with socket.create_connection(self._address, timeout=ANSWER_WITHIN_SECONDS) as connection:
            connection.sendall("\r\n".join(lines).encode("latin-1") + body)
            while piece := connection.recv(READ_BYTES):
                received += piece
        read = read_message(received, 0, is_answer=True, ended=True)
        require(read is not None and read[0].whole, f"{method} {target}: the answer is not whole: {received[:500]}")
        return read[0]

    def _write(self, name: str, body: bytes) -> str:
        require(len(body) <= FILE_MAX_BYTES, f"{name} would have {len(body)} bytes, more than {FILE_MAX_BYTES}")
        (self._into / name).write_bytes(body)
        return name

    def finish(self) -> str:
        """Writes the index, one exchange a line."""
        exchanges = sorted(self._kept + self._exchanges, key=lambda exchange: exchange["name"])
        lines = ",\n".join("  " + json.dumps(exchange, ensure_ascii=False) for exchange in exchanges)
        self._index.write_text(f'{{ "exchanges": [\n{lines}\n] }}\n')
        total = sum(file.stat().st_size for file in self._into.iterdir())
        require(total <= ALL_MAX_BYTES, f"{total} bytes in {self._into}, more than {ALL_MAX_BYTES}")
        return f"recorded {len(self._exchanges)} exchanges; {len(exchanges)} in {self._into}, {total} bytes"


def dump(value: dict) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def extension(answer: Message) -> str:
    media_type = (answer.header("content-type") or "").partition(";")[0]
    known = {"application/json": "json", "text/event-stream": "sse"}.get(media_type, "bin")
    return known + (".gz" if answer.header("content-encoding") == "gzip" else "")


def chats(recorder: Recorder, model: str) -> None:
    path = "/v1/chat/completions"
    base = {"model": model, "messages": MESSAGES, "max_tokens": 6, "ignore_eos": True, "seed": 1}
    tool = {"model": model, **TOOL_CALL}
    ask = recorder.ask
    ask("chat", "a plain answer", path, base)
    ask("chat-streamed", "a stream with usage at its end", path, {**base, **STREAMED})
    ask("chat-streamed-without-usage", "a stream that nobody asked to count", path, {**base, "stream": True})
    running = {"include_usage": True, "continuous_usage_stats": True}
    ask("chat-streamed-running-usage", "totals so far in every chunk", path,
        {**base, "stream": True, "stream_options": running})
    likely = {"logprobs": True, "top_logprobs": 2}
    ask("chat-logprobs", "log probabilities", path, {**base, **likely})
    ask("chat-logprobs-streamed", "log probabilities in a stream", path, {**base, **likely, **STREAMED})
    ask("chat-two-choices", "n=2", path, {**base, "n": 2})
    ask("chat-two-choices-streamed", "n=2, chunks of both choices mixed", path, {**base, "n": 2, **STREAMED})
    ask("chat-tool-call", "the call of a named tool; the finish reason is `stop`", path, tool)
    ask("chat-tool-call-streamed", "the same in pieces", path, {**tool, **STREAMED})
    several = {**tool, "tool_choice": "required", "max_tokens": 200}
    ask("chat-tools-required", "calls as the model makes them, until it is cut off", path, several)
    ask("chat-tools-required-streamed", "the same in pieces", path, {**several, **STREAMED})
    call = {"id": "call_1", "type": "function", "function": {"name": TOOL["name"], "arguments": '{"city":"Paris"}'}}
    turns = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": None, "tool_calls": [call]},
             {"role": "tool", "tool_call_id": "call_1", "content": "Rain, 9 °C"}]
    ask("chat-tool-result", "the tool's result goes back; most of the prompt comes from the cache", path,
        {**base, "messages": turns, "tools": tool["tools"], "tool_choice": "none"})
    schema = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": TOOL["parameters"]}}
    ask("chat-json-schema", "an answer that keeps to a schema", path,
        {**base, "ignore_eos": False, "max_tokens": 64, "response_format": schema})
    thinking = {**base, "max_tokens": 12, "chat_template_kwargs": {"thinking": True}}
    ask("chat-reasoning", "reasoning, and no answer before the limit", path, thinking)
    marks = ask("tokenize", "vLLM's own: token numbers of a text", "/tokenize",
                {"model": model, "prompt": "<think></think>abc", "add_special_tokens": False})["tokens"]
    ask("chat-reasoning-streamed", "reasoning, then an answer; some tokens count as reasoning", path,
        {**thinking, "seed": 3, "allowed_token_ids": marks, **STREAMED})
    ask("chat-identified", "user and metadata as OpenAI's clients send them", path,
        {**base, "user": "user-0042", "metadata": {"session_id": "session-7", "team": "billing"}})
    ask("chat-compressed", "gzip, by the middleware of the framework that vLLM is built on", path, base,
        headers={"accept-encoding": "gzip", "x-e2e-gzip": "1"})
    ask("chat-unknown-model", "404", path, {**base, "model": "no-such-model"}, status=404)
    ask("chat-bad-parameter", "400", path, {**base, "temperature": -3}, status=400)
    ask("chat-bad-parameter-streamed", "a stream was asked for, and one JSON document is the answer", path,
        {**base, "temperature": -3, **STREAMED}, status=400)
    ask("chat-broken-json", "the request is no JSON", path, BROKEN_JSON, status=400)
    ask("chat-no-messages", "a member that must be there is not", path, {"model": model}, status=400)
    ask("chat-too-long", "a prompt over the model's limit", path,
        {**base, "messages": [{"role": "user", "content": "0123456789" * 300}]}, status=400)


def completions(recorder: Recorder, model: str) -> None:
    path = "/v1/completions"
    base = {"model": model, "prompt": "The audit trail", "max_tokens": 6, "ignore_eos": True, "seed": 1}
    several = {**base, "prompt": ["The audit", "trail"], "n": 2, "echo": True, "logprobs": 1, "max_tokens": 3}
    recorder.ask("completion", "a plain answer", path, base)
    recorder.ask("completion-streamed", "a stream with usage at its end", path, {**base, **STREAMED})
    recorder.ask("completion-several", "two prompts, two choices each, echo, log probabilities", path, several)
    plain = {**several, "echo": False}
    recorder.ask("completion-several-streamed", "without echo, in a stream", path, {**plain, **STREAMED})
    failing = {**base, "n": 2, "echo": True, "logprobs": 1, "stream": True}
    recorder.ask("completion-error-streamed", "an error after a 200: this vLLM cannot always echo log probabilities "
                 "of two choices in a stream", path, failing, until=b'data: {"error"')
    recorder.ask("completion-unknown-model", "404", path, {**base, "model": "no-such-model"}, status=404)


def responses(recorder: Recorder, model: str) -> None:
    path = "/v1/responses"
    base = {"model": model, "input": QUESTION, "max_output_tokens": 6}
    tool = {"model": model, **responses_cases.TOOL_CALL}
    ask = recorder.ask
    ask("response", "a plain response, `incomplete` because the limit cut it", path,
        {**base, "instructions": "Answer in a word."})
    ask("response-streamed", "the same as events; no `[DONE]`", path, {**base, "stream": True})
    reasoning = {**base, "reasoning": {"effort": "low"}}
    ask("response-reasoning", "a reasoning item", path, reasoning)
    ask("response-reasoning-streamed", "the same as events", path, {**reasoning, "stream": True})
    ask("response-tool-call", "the call of a named tool", path, tool)
    ask("response-tool-call-streamed", "the same as events", path, {**tool, "stream": True})
    queued = ask("response-background", "answered at once, generated in the background", path,
                 {**base, "background": True})
    poll = f"{path}/{queued['id']}"
    while json.loads(recorder._exchange("GET", poll, [], b"").body)["status"] in ("queued", "in_progress"):
        time.sleep(POLL_SECONDS)
    ask("response-poll", "asked for later: what `response-background` came to", poll, method="GET")
    ask("response-previous", "goes on from `response-background`", path,
        {**base, "input": "And in London?", "previous_response_id": queued["id"]})
    long = ask("response-background-long", "to be cancelled", path,
               {**base, "background": True, "max_output_tokens": 1500, "ignore_eos": True})
    ask("response-cancel", "`response-background-long` is cancelled", f"{path}/{long['id']}/cancel")
    ask("response-unknown", "404: no such response", f"{path}/resp_0", method="GET", status=404)
    ask("response-unknown-model", "404", path, {**base, "model": "no-such-model"}, status=404)


def messages(recorder: Recorder, model: str) -> None:
    path = "/v1/messages"
    base = {"model": model, "system": MESSAGES[0]["content"], "messages": MESSAGES[1:], "max_tokens": 6}
    asked = [{"role": "user", "content": QUESTION}]
    tool = {"model": model, "messages": asked, "tools": MESSAGE_TOOLS, "max_tokens": 512,
            "tool_choice": {"type": "tool", "name": TOOL["name"]}}
    ask = recorder.ask
    ask("message", "a plain message", path, {**base, "metadata": {"user_id": "user-0042"}})
    ask("message-streamed", "the same as events", path, {**base, "stream": True})
    thinking = {**base, "max_tokens": 12, "chat_template_kwargs": {"thinking": True}}
    ask("message-thinking", "a thinking block", path, thinking)
    ask("message-thinking-streamed", "the same as events", path, {**thinking, "stream": True})
    ask("message-tool-call", "the call of a named tool", path, tool)
    ask("message-tool-call-streamed", "the same as events; the last usage corrects the first: cached tokens",
        path, {**tool, "stream": True})
    call = {"type": "tool_use", "id": "toolu_1", "name": TOOL["name"], "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain, 9 °C"}
    turns = [*asked, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    ask("message-tool-result", "the tool's result goes back", path,
        {**base, "messages": turns, "tools": MESSAGE_TOOLS, "tool_choice": {"type": "none"}})
    ask("message-count-tokens", "nothing is generated", f"{path}/count_tokens",
        {"model": model, "messages": MESSAGES[1:]})
    ask("message-unknown-model", "404, in Anthropic's form", path, {**base, "model": "no-such-model"}, status=404)
    ask("message-bad-parameter", "400", path, {**base, "max_tokens": -1}, status=400)


def others(recorder: Recorder, model: str) -> None:
    recorder.ask("models", "what is served", "/v1/models", method="GET")
    recorder.ask("detokenize", "vLLM's own: the text of token numbers", "/detokenize",
                 {"model": model, "tokens": [48, 81]})
    recorder.ask("embedding-refused", "a server that generates makes no vectors", "/v1/embeddings",
                 {"model": model, "input": "The audit trail"}, status=404)
    recorder.ask("unknown-path", "404 of the framework", "/no/such/path", {"model": model}, status=404)
    recorder.ask("wrong-method", "405", "/v1/chat/completions", method="GET", status=405)


def pooling(recorder: Recorder, model: str) -> None:
    texts = ["The audit trail", "keeps every byte that passed."]
    base = {"model": model, "input": texts[0]}
    ask = recorder.ask
    ask("embedding", "a vector as numbers", "/v1/embeddings", {**base, "encoding_format": "float"})
    ask("embedding-base64", "the same as base64", "/v1/embeddings", {**base, "encoding_format": "base64"})
    ask("embedding-several", "two texts", "/v1/embeddings",
        {**base, "input": texts, "encoding_format": "base64", "user": "user-0042"})
    ask("embedding-unknown-model", "404", "/v1/embeddings", {**base, "model": "no-such-model"}, status=404)
    ask("score", "vLLM's own: how alike texts are", "/v1/score", {"model": model, "text_1": texts[0], "text_2": texts})
    ask("rerank", "as Cohere and Jina have it", "/v1/rerank",
        {"model": model, "query": texts[0], "documents": texts, "top_n": 1})
    ask("pooling", "vLLM's own: the vector", "/pooling", {**base, "encoding_format": "base64"})


if __name__ == "__main__":
    sys.exit(main())
