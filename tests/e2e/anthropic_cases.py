"""Calls with the official Anthropic client for Python, to the Messages API that vLLM serves, too."""

from collections.abc import Callable

import anthropic

from check import Told
from indelible import Failure, require
from openai_cases import CALL_WITHIN_SECONDS, MESSAGES, QUESTION, TOKENS, TOOL

Case = Callable[[anthropic.Anthropic, str], Told | list[Told]]

SYSTEM, USER = MESSAGES[0]["content"], MESSAGES[1:]
ASKED = [{"role": "user", "content": QUESTION}]
ENDLESS_TOKENS = 1500
TOOLS = [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"],
          "strict": True}]
TOOL_CALL = {"messages": ASKED, "tools": TOOLS, "tool_choice": {"type": "tool", "name": TOOL["name"]},
             "max_tokens": 512}


def client(base_url: str, secret: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=base_url, api_key=secret, max_retries=0, timeout=CALL_WITHIN_SECONDS)


def generation(model: str, **entry) -> Told:
    return Told({"event_type": "llm_request", "model": model, "attempt": 1, **entry})


def of_message(model: str, message, **more) -> Told:
    """`input_tokens` leaves out what came from the cache or went into it; an entry counts all that was sent."""
    usage = message.usage
    cached, created = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    return generation(model, model_returned=message.model, finish_reason=message.stop_reason,
                      prompt_tokens=usage.input_tokens + (cached or 0) + (created or 0), cached_tokens=cached,
                      completion_tokens=usage.output_tokens, usage_source="provider", **more)


def called(told: Told) -> Told:
    told.entry["tools"] = told.detail["tool_calls"] = [TOOL["name"]]
    return told


def require_call(message) -> None:
    names = [block.name for block in message.content if block.type == "tool_use"]
    require(names == [TOOL["name"]], f"tool calls: {names}")


def refused(error: anthropic.APIStatusError, model: str) -> Told:
    return generation(model, status="upstream_error", error_type="http_error", http_status=error.status_code)


def message(client: anthropic.Anthropic, model: str) -> Told:
    return of_message(model, client.messages.create(model=model, system=SYSTEM, messages=USER, max_tokens=TOKENS))


def message_streamed(client: anthropic.Anthropic, model: str) -> Told:
    with client.messages.stream(model=model, system=SYSTEM, messages=USER, max_tokens=TOKENS) as stream:
        return of_message(model, stream.get_final_message(), stream=True)


def message_as_events(client: anthropic.Anthropic, model: str) -> Told:
    """The stream begins with counts that its end corrects: the last ones count, and nothing is added up."""
    events = list(client.messages.create(model=model, system=SYSTEM, messages=USER, max_tokens=TOKENS, stream=True))
    types = [event.type for event in events]
    require(types[0] == "message_start" and types[-1] == "message_stop", f"a stream from {types[0]} to {types[-1]}")
    last = next(event for event in events if event.type == "message_delta")
    counts = {"prompt_tokens": last.usage.input_tokens + (last.usage.cache_read_input_tokens or 0)
              + (last.usage.cache_creation_input_tokens or 0), "completion_tokens": last.usage.output_tokens}
    return generation(model, stream=True, model_returned=events[0].message.model,
                      finish_reason=last.delta.stop_reason, usage_source="provider", **counts)


def message_thinking_streamed(client: anthropic.Anthropic, model: str) -> Told:
    with client.messages.stream(model=model, messages=USER, max_tokens=TOKENS,
                                extra_body={"chat_template_kwargs": {"thinking": True}}) as stream:
        said = stream.get_final_message()
    require(said.content[0].type == "thinking", f"the message begins with {said.content[0].type}")
    return of_message(model, said, stream=True)


def message_tool_call(client: anthropic.Anthropic, model: str) -> Told:
    said = client.messages.create(model=model, **TOOL_CALL)
    require_call(said)
    return called(of_message(model, said))


def message_tool_call_streamed(client: anthropic.Anthropic, model: str) -> Told:
    with client.messages.stream(model=model, **TOOL_CALL) as stream:
        said = stream.get_final_message()
    require_call(said)
    return called(of_message(model, said, stream=True))


def message_tool_result(client: anthropic.Anthropic, model: str) -> Told:
    call = {"type": "tool_use", "id": "toolu_1", "name": TOOL["name"], "input": {"city": "Paris"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "Rain, 9 °C"}
    messages = [*ASKED, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    said = client.messages.create(model=model, messages=messages, tools=TOOLS, tool_choice={"type": "none"},
                                  max_tokens=TOKENS)
    told = of_message(model, said, tools=[TOOL["name"]])
    told.detail["tool_calls"] = None
    return told


def count_tokens(client: anthropic.Anthropic, model: str) -> Told:
    """Nothing is generated: no `llm_request`, whatever it is called instead."""
    counted = client.messages.count_tokens(model=model, messages=USER)
    require(counted.input_tokens > 0, "no count")
    return Told({"event_type": "request", "model": model})


def unknown_model(client: anthropic.Anthropic, model: str) -> Told:
    try:
        client.messages.create(model="no-such-model", messages=USER, max_tokens=TOKENS)
    except anthropic.NotFoundError as error:
        return refused(error, "no-such-model")
    raise Failure("a model that is not served answered")


def bad_parameter(client: anthropic.Anthropic, model: str) -> Told:
    try:
        client.messages.create(model=model, messages=USER, max_tokens=-1)
    except anthropic.BadRequestError as error:
        return refused(error, model)
    raise Failure("a negative limit was accepted")


def hang_up(client: anthropic.Anthropic, model: str) -> Told:
    # No field of this API, but vLLM's own, keeps a model from ending early; this one ends by chance once in 500.
    stream = client.messages.create(model=model, messages=USER, max_tokens=ENDLESS_TOKENS, stream=True)
    for _ in range(4):
        next(stream)
    stream.close()
    return generation(model, status="cancelled", error_type="client_gone", stream=True)


CASES: list[Case] = [
    message, message_streamed, message_as_events, message_thinking_streamed, message_tool_call,
    message_tool_call_streamed, message_tool_result, count_tokens, unknown_model, bad_parameter, hang_up,
]
