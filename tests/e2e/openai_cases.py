"""Chat and completions with the official OpenAI client for Python, and what each call teaches the client.

A case makes its calls and returns what it was `Told`; run.py compares the bytes. Nothing depends on what the model
says.
"""

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import openai

from check import REQUEST_ID_HEADER, Told
from indelible import Failure, require

Case = Callable[[openai.OpenAI, str], Told | list[Told]]

CALL_WITHIN_SECONDS = 180
PROMPTS = json.loads((Path(__file__).parent / "prompts.json").read_text())
MESSAGES, QUESTION, TOOL = PROMPTS["messages"], PROMPTS["question"], PROMPTS["tool"]
TOKENS = 16
FIXED_LENGTH = {"max_tokens": TOKENS, "extra_body": {"ignore_eos": True}}
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}
# Longer than any client here waits.
ENDLESS = {"max_tokens": 1500, "extra_body": {"ignore_eos": True}}
IMPATIENT_SECONDS = 0.3
USER = "user-e2e-0001"
AT_ONCE = 8
STREAMS_UNTIL_ERROR_MAX = 30
# More than the gateway reads before it forwards, and more than the model takes.
LARGE_PROMPT_BYTES = 2_000_000
# A strict tool, named by the request, makes the server decode a call whatever the model would have said.
TOOL_CALL = {
    "messages": [{"role": "user", "content": QUESTION}],
    "tools": [{"type": "function", "function": {**TOOL, "strict": True}}],
    "tool_choice": {"type": "function", "function": {"name": TOOL["name"]}},
    "max_tokens": 512,
    "seed": 1,
}


def client(base_url: str, secret: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{base_url}/v1", api_key=secret, max_retries=0, timeout=CALL_WITHIN_SECONDS)


def generation(operation: str | None, model: str, **entry) -> Told:
    """`operation` is compared where the entry's format says which it is."""
    known = {"operation": operation} if operation else {}
    return Told({"event_type": "llm_request", "model": model, "attempt": 1, **known, **entry})


def of_usage(usage) -> dict:
    """Token counts as chat and completions have them."""
    require(usage is not None, "the answer carries no usage")
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens,
            "cached_tokens": prompt and prompt.cached_tokens, "usage_source": "provider",
            "reasoning_tokens": completion and completion.reasoning_tokens}


def of_answer(operation: str, model: str, answer, **more) -> Told:
    said = {"model_returned": answer.model, "finish_reason": answer.choices[0].finish_reason,
            "system_fingerprint": answer.system_fingerprint}
    return generation(operation, model, **said, **of_usage(answer.usage), **more)


def of_chunks(operation: str, model: str, chunks: list) -> Told:
    require(len(chunks) > 2, f"a stream of {len(chunks)} chunks")
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == 0]
    reasons = [choice.finish_reason for choice in choices if choice.finish_reason]
    require(len(reasons) == 1, f"finish reasons {reasons}")
    said = {"model_returned": chunks[-1].model, "finish_reason": reasons[0],
            "system_fingerprint": chunks[-1].system_fingerprint}
    return generation(operation, model, stream=True, **said, **of_usage(chunks[-1].usage))


def refused(error: openai.APIStatusError, event_type: str, model: str | None, **entry) -> Told:
    return Told({"event_type": event_type, "model": model, "status": "upstream_error", "error_type": "http_error",
                 "http_status": error.status_code, **entry})


def chat(client: openai.OpenAI, model: str) -> Told:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, **FIXED_LENGTH)
    return of_answer("chat", model, answer)


def chat_streamed(client: openai.OpenAI, model: str) -> Told:
    """The client closes the connection at `[DONE]`, before the stream's end: still `completed`."""
    return of_chunks("chat", model, list(client.chat.completions.create(model=model, messages=MESSAGES,
                                                                        **FIXED_LENGTH, **STREAMED)))


def chat_streamed_without_usage(client: openai.OpenAI, model: str) -> Told:
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **FIXED_LENGTH))
    require(all(chunk.usage is None for chunk in chunks), "usage that nobody asked for")
    return generation("chat", model, stream=True, usage_source="missing", prompt_tokens=None, completion_tokens=None)


def chat_streamed_with_running_usage(client: openai.OpenAI, model: str) -> Told:
    """Every chunk carries the totals so far: the last ones count, and nothing is added up."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True, stream_options=options,
                                                 **FIXED_LENGTH))
    require(sum(chunk.usage is not None for chunk in chunks) > 2, "no running usage")
    return of_chunks("chat", model, chunks)


def chat_logprobs(client: openai.OpenAI, model: str) -> Told:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, logprobs=True, top_logprobs=3,
                                            **FIXED_LENGTH)
    require(len(answer.choices[0].logprobs.content) == TOKENS, "log probabilities are missing")
    return of_answer("chat", model, answer)


def chat_logprobs_streamed(client: openai.OpenAI, model: str) -> Told:
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, logprobs=True, top_logprobs=3,
                                                 **FIXED_LENGTH, **STREAMED))
    require(any(choice.logprobs for chunk in chunks for choice in chunk.choices), "no log probabilities")
    return of_chunks("chat", model, chunks)


def chat_two_choices(client: openai.OpenAI, model: str) -> Told:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, n=2, **FIXED_LENGTH)
    require(len(answer.choices) == 2, f"{len(answer.choices)} choices instead of 2")
    return of_answer("chat", model, answer)


def chat_two_choices_streamed(client: openai.OpenAI, model: str) -> Told:
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, n=2, **FIXED_LENGTH, **STREAMED))
    require({choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}, "not two choices")
    return of_chunks("chat", model, chunks)


def chat_tool_call(client: openai.OpenAI, model: str) -> Told:
    answer = client.chat.completions.create(model=model, **TOOL_CALL)
    names = [call.function.name for call in answer.choices[0].message.tool_calls or []]
    require(names == [TOOL["name"]], f"tool calls: {names}")
    return called(of_answer("chat", model, answer))


def chat_tool_call_streamed(client: openai.OpenAI, model: str) -> Told:
    chunks = list(client.chat.completions.create(model=model, **TOOL_CALL, **STREAMED))
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or []]
    names = [call.function.name for call in calls if call.function.name]
    require(names == [TOOL["name"]], f"names in the streamed tool call: {names}")
    return called(of_chunks("chat", model, chunks))


def chat_tool_result(client: openai.OpenAI, model: str) -> Told:
    call = {"id": "call_1", "type": "function", "function": {"name": TOOL["name"], "arguments": '{"city": "Paris"}'}}
    messages = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "Rain, 9 °C"}]
    answer = client.chat.completions.create(model=model, messages=messages, tools=TOOL_CALL["tools"],
                                            tool_choice="none", **FIXED_LENGTH)
    told = of_answer("chat", model, answer, tools=[TOOL["name"]])
    told.detail["tool_calls"] = None
    return told


def chat_json_schema(client: openai.OpenAI, model: str) -> Told:
    schema = {"name": "city", "strict": True, "schema": TOOL["parameters"]}
    answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=512, seed=1,
                                            response_format={"type": "json_schema", "json_schema": schema})
    require("city" in json.loads(answer.choices[0].message.content), "the answer does not keep to the schema")
    return of_answer("chat", model, answer)


def chat_reasoning(client: openai.OpenAI, model: str) -> Told:
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=TOKENS, **STREAMED,
                                                 extra_body={"chat_template_kwargs": {"thinking": True}}))
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    require(any(getattr(delta, "reasoning", None) for delta in deltas), "no reasoning in the stream")
    return of_chunks("chat", model, chunks)


def chat_compressed(client: openai.OpenAI, model: str) -> Told:
    """What is recorded is what passed: compressed."""
    with client.chat.completions.with_streaming_response.create(
            model=model, messages=MESSAGES, extra_headers={"x-e2e-gzip": "1"}, **FIXED_LENGTH) as answer:
        coding = answer.headers.get("content-encoding")
        require(coding == "gzip", f"the server does not compress; start it with vllm_gzip.py ({coding})")
        return of_answer("chat", model, answer.parse())


def chat_with_user_and_session(client: openai.OpenAI, model: str) -> Told:
    answer = client.chat.completions.create(model=model, messages=MESSAGES, user=USER,
                                            metadata={"session_id": "session-e2e-0001"}, **FIXED_LENGTH)
    return of_answer("chat", model, answer, session_id="session-e2e-0001")


def chat_twice_on_one_connection(client: openai.OpenAI, model: str) -> list[Told]:
    return [chat(client, model), chat(client, model)]


def chat_eight_at_once(client: openai.OpenAI, model: str) -> list[Told]:
    """Equally long questions, so that each answer comes to the same counts."""
    async def ask() -> list:
        async with openai.AsyncOpenAI(base_url=client.base_url, api_key=client.api_key, max_retries=0,
                                      timeout=CALL_WITHIN_SECONDS) as at_once:
            async def one(number: int) -> list:
                question = [{"role": "user", "content": f"{number}: does every stream keep to itself?"}]
                stream = await at_once.chat.completions.create(model=model, messages=question, **FIXED_LENGTH,
                                                               **STREAMED)
                return [chunk async for chunk in stream]
            return await asyncio.gather(*(one(number) for number in range(AT_ONCE)))

    told = [of_chunks("chat", model, chunks) for chunks in asyncio.run(ask())]
    for one in told:
        del one.entry["cached_tokens"]  # Whose prompt came first is not known.
    require(all(one.entry == told[0].entry for one in told), "answers of different length")
    return told


def completion(client: openai.OpenAI, model: str) -> Told:
    answer = client.completions.create(model=model, prompt="The audit trail", **FIXED_LENGTH)
    return of_answer("text_completion", model, answer)


def completion_streamed(client: openai.OpenAI, model: str) -> Told:
    return of_chunks("text_completion", model, list(
        client.completions.create(model=model, prompt="The audit trail", **FIXED_LENGTH, **STREAMED)))


def completion_of_two_prompts(client: openai.OpenAI, model: str) -> Told:
    answer = client.completions.create(model=model, prompt=["The audit", "trail"], n=2, echo=True, logprobs=2,
                                       **FIXED_LENGTH)
    require(len(answer.choices) == 4, f"{len(answer.choices)} choices instead of 4")
    return of_answer("text_completion", model, answer)


def models(client: openai.OpenAI, model: str) -> Told:
    served = [one.id for one in client.models.list()]
    require(model in served, f"the server offers {served}")
    return Told({"event_type": "request", "operation": "other", "model": None})


def unknown_model(client: openai.OpenAI, model: str) -> Told:
    try:
        client.chat.completions.create(model="no-such-model", messages=MESSAGES)
    except openai.NotFoundError as error:
        return refused(error, "llm_request", "no-such-model", operation="chat", usage_source="missing")
    raise Failure("a model that is not served answered")


def bad_parameter(client: openai.OpenAI, model: str) -> Told:
    try:
        client.chat.completions.create(model=model, messages=MESSAGES, temperature=-3)
    except openai.BadRequestError as error:
        return refused(error, "llm_request", model, operation="chat")
    raise Failure("a negative temperature was accepted")


def bad_parameter_of_a_stream(client: openai.OpenAI, model: str) -> Told:
    """A stream was asked for, and one JSON document is the answer."""
    try:
        client.chat.completions.create(model=model, messages=MESSAGES, temperature=-3, **STREAMED)
    except openai.BadRequestError as error:
        return refused(error, "llm_request", model, operation="chat", stream=True)
    raise Failure("a negative temperature was accepted")


def prompt_too_large(client: openai.OpenAI, model: str) -> Told:
    question = [{"role": "user", "content": "0123456789" * (LARGE_PROMPT_BYTES // 10)}]
    try:
        client.chat.completions.create(model=model, messages=question)
    except openai.BadRequestError as error:
        return refused(error, "llm_request", model, operation="chat")
    raise Failure("a prompt over the model's limit was accepted")


def unknown_path(client: openai.OpenAI, model: str) -> Told:
    try:
        client.post("/no/such/path", body={"model": model}, cast_to=object)
    except openai.NotFoundError as error:
        return refused(error, "request", model, operation="other")
    raise Failure("a path that is not served answered")


def error_inside_a_stream(client: openai.OpenAI, model: str) -> list[Told]:
    """This vLLM cannot always echo log probabilities of two choices in a stream, and finds out after its 200. The
    client would break off where it reads the error, so streams are read undecoded, to their end, until one has it."""
    raw, told = client.completions.with_streaming_response, []
    while len(told) < STREAMS_UNTIL_ERROR_MAX:
        with raw.create(model=model, prompt="The audit trail", n=2, echo=True, logprobs=1, stream=True) as answer:
            failed = any(line.startswith('data: {"error"') for line in list(answer.iter_lines()))
        status = "upstream_error" if failed else "completed"
        told.append(generation("text_completion", model, status=status, stream=True))
        if failed:
            return told
    raise Failure(f"{len(told)} streams without an error: this vLLM can do it, find something that it cannot")


def hang_up(client: openai.OpenAI, model: str) -> Told:
    stream = client.chat.completions.create(model=model, messages=MESSAGES, stream=True, **ENDLESS)
    for _ in range(3):
        next(stream)
    stream.close()
    return generation("chat", model, status="cancelled", error_type="client_gone", stream=True)


def give_up_before_the_answer(client: openai.OpenAI, model: str) -> Told:
    name = f"e2e-{uuid.uuid4()}"
    try:
        client.with_options(timeout=IMPATIENT_SECONDS).chat.completions.create(
            model=model, messages=MESSAGES, extra_headers={REQUEST_ID_HEADER: name}, **ENDLESS)
    except openai.APITimeoutError:
        return generation("chat", model, status="cancelled", error_type="client_gone", http_status=None,
                          request_id=name)
    raise Failure(f"a long answer took less than {IMPATIENT_SECONDS} s")


def give_up_and_try_again(client: openai.OpenAI, model: str) -> list[Told]:
    """Each attempt is a record of its own."""
    name = f"e2e-{uuid.uuid4()}"
    try:
        client.with_options(timeout=IMPATIENT_SECONDS, max_retries=1).chat.completions.create(
            model=model, messages=MESSAGES, extra_headers={REQUEST_ID_HEADER: name}, **ENDLESS)
    except openai.APITimeoutError:
        return [generation("chat", model, status="cancelled", error_type="client_gone", http_status=None,
                           request_id=name, attempt=attempt) for attempt in (1, 2)]
    raise Failure(f"a long answer took less than {IMPATIENT_SECONDS} s")


def called(told: Told) -> Told:
    told.entry["tools"] = told.detail["tool_calls"] = [TOOL["name"]]
    return told


CASES: list[Case] = [
    chat, chat_streamed, chat_streamed_without_usage, chat_streamed_with_running_usage, chat_logprobs,
    chat_logprobs_streamed, chat_two_choices, chat_two_choices_streamed, chat_tool_call, chat_tool_call_streamed,
    chat_tool_result, chat_json_schema, chat_reasoning, chat_compressed, chat_with_user_and_session,
    chat_twice_on_one_connection, chat_eight_at_once, completion, completion_streamed, completion_of_two_prompts,
    models, unknown_model, bad_parameter, bad_parameter_of_a_stream, prompt_too_large, unknown_path,
    error_inside_a_stream, hang_up, give_up_before_the_answer, give_up_and_try_again,
]
