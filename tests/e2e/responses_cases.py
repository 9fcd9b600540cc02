"""Calls to the Responses API with the official OpenAI client for Python."""

import time

import openai

from check import Told
from indelible import Failure, require
from openai_cases import MESSAGES, QUESTION, TOKENS, TOOL, Case, called, generation, refused

POLL_SECONDS = 0.2

# Longer than any client here listens.
ENDLESS = {"max_output_tokens": 1500, "extra_body": {"ignore_eos": True}}
TOOL_CALL = {
    "input": QUESTION,
    "tools": [{"type": "function", "strict": True, **TOOL}],
    "tool_choice": {"type": "function", "name": TOOL["name"]},
    "max_output_tokens": 512,
}


def response(client: openai.OpenAI, model: str) -> Told:
    return of_response(model, client.responses.create(model=model, input=QUESTION, max_output_tokens=TOKENS,
                                                      instructions="Answer in a word."))


def response_streamed(client: openai.OpenAI, model: str) -> Told:
    return of_events(model, list(client.responses.create(model=model, input=MESSAGES, max_output_tokens=TOKENS,
                                                         stream=True)))


def response_reasoning_streamed(client: openai.OpenAI, model: str) -> Told:
    events = list(client.responses.create(model=model, input=QUESTION, max_output_tokens=TOKENS, stream=True,
                                          reasoning={"effort": "low"}))
    require(any(event.type.startswith("response.reasoning") for event in events), "no reasoning in the stream")
    return of_events(model, events)


def response_tool_call(client: openai.OpenAI, model: str) -> Told:
    answer = client.responses.create(model=model, **TOOL_CALL)
    names = [item.name for item in answer.output if item.type == "function_call"]
    require(names == [TOOL["name"]], f"tool calls: {names}")
    return called(of_response(model, answer))


def response_tool_call_streamed(client: openai.OpenAI, model: str) -> Told:
    events = list(client.responses.create(model=model, stream=True, **TOOL_CALL))
    names = [item.name for item in events[-1].response.output if item.type == "function_call"]
    require(names == [TOOL["name"]], f"tool calls: {names}")
    return called(of_events(model, events))


def response_in_background(client: openai.OpenAI, model: str) -> list[Told]:
    """Queued, then asked for until it is there. vLLM does this where VLLM_ENABLE_RESPONSES_API_STORE is set."""
    asked = client.responses.create(model=model, input=QUESTION, max_output_tokens=TOKENS, background=True)
    told = [generation(None, model)]
    while asked.status in ("queued", "in_progress"):
        time.sleep(POLL_SECONDS)
        asked = client.responses.retrieve(asked.id)
        told.append(Told())
    client.responses.create(model=model, input=QUESTION, max_output_tokens=TOKENS, previous_response_id=asked.id)
    return [*told, generation(None, model)]


def unknown_model(client: openai.OpenAI, model: str) -> Told:
    try:
        client.responses.create(model="no-such-model", input=QUESTION)
    except openai.NotFoundError as error:
        return refused(error, "llm_request", "no-such-model", usage_source="missing")
    raise Failure("a model that is not served answered")


def hang_up(client: openai.OpenAI, model: str) -> Told:
    stream = client.responses.create(model=model, input=QUESTION, stream=True, **ENDLESS)
    for _ in range(6):
        next(stream)
    stream.close()
    return generation(None, model, status="cancelled", error_type="client_gone", stream=True)


def of_response(model: str, response, **more) -> Told:
    usage = response.usage
    require(usage is not None, "the response carries no usage")
    return generation(None, model, model_returned=response.model, prompt_tokens=usage.input_tokens,
                      completion_tokens=usage.output_tokens, cached_tokens=usage.input_tokens_details.cached_tokens,
                      reasoning_tokens=usage.output_tokens_details.reasoning_tokens, usage_source="provider", **more)


def of_events(model: str, events: list) -> Told:
    require(len(events) > 4, f"a stream of {len(events)} events")
    last = events[-1]
    require(last.type in ("response.completed", "response.incomplete"), f"the stream ends with {last.type}")
    return of_response(model, last.response, stream=True)


CASES: list[Case] = [
    response, response_streamed, response_reasoning_streamed, response_tool_call, response_tool_call_streamed,
    response_in_background, unknown_model, hang_up,
]
