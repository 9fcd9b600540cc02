// Calls with the official OpenAI client for Node, and what each teaches the client.
//
//     NODE_PATH=… node openai_cases.cjs GATEWAY_URL API_KEY MODEL CASE    prints what the entry has to say, as JSON
//     NODE_PATH=… node openai_cases.cjs --list [--pooling]                prints the names of the cases
//
// node_cases.py runs one case per process and compares the bytes.
"use strict";

const { OpenAI } = require("openai");
const { messages, question, tool } = require("./prompts.json");

const TOKENS = 16;
const FIXED_LENGTH = { max_tokens: TOKENS, ignore_eos: true };
const STREAMED = { stream: true, stream_options: { include_usage: true } };
const ENDLESS = { max_tokens: 1500, ignore_eos: true };
// A strict tool, named by the request, makes the server decode a call whatever the model would have said.
const TOOL_CALL = {
  messages: [{ role: "user", content: question }],
  tools: [{ type: "function", function: { ...tool, strict: true } }],
  tool_choice: { type: "function", function: { name: tool.name } },
  max_tokens: 512,
  seed: 1,
};
const RESPONSE_TOOL_CALL = {
  input: question,
  tools: [{ type: "function", strict: true, ...tool }],
  tool_choice: { type: "function", name: tool.name },
  max_output_tokens: 512,
};

async function main([gatewayUrl, apiKey, model, name]) {
  if (gatewayUrl === "--list") {
    const names = Object.keys(apiKey === "--pooling" ? POOLING : GENERATING);
    console.log(JSON.stringify(names));
    return;
  }
  const client = new OpenAI({ baseURL: `${gatewayUrl}/v1`, apiKey, maxRetries: 0 });
  const told = await { ...GENERATING, ...POOLING }[name](client, model);
  console.log(JSON.stringify(told));
}

const GENERATING = {
  chat: async (client, model) =>
    ofAnswer("chat", model, await client.chat.completions.create({ model, messages, ...FIXED_LENGTH })),

  chatStreamed: async (client, model) =>
    ofChunks("chat", model, await client.chat.completions.create({ model, messages, ...FIXED_LENGTH, ...STREAMED })),

  chatLogprobs: async (client, model) => {
    const asked = { model, messages, logprobs: true, top_logprobs: 3, ...FIXED_LENGTH };
    const answer = await client.chat.completions.create(asked);
    check(answer.choices[0].logprobs.content.length === TOKENS, "log probabilities are missing");
    return ofAnswer("chat", model, answer);
  },

  chatTwoChoices: async (client, model) => {
    const answer = await client.chat.completions.create({ model, messages, n: 2, ...FIXED_LENGTH });
    check(answer.choices.length === 2, `${answer.choices.length} choices instead of 2`);
    return ofAnswer("chat", model, answer);
  },

  chatToolCall: async (client, model) => {
    const answer = await client.chat.completions.create({ model, ...TOOL_CALL });
    checkNames((answer.choices[0].message.tool_calls ?? []).map((call) => call.function.name));
    return called(ofAnswer("chat", model, answer));
  },

  chatToolCallStreamed: async (client, model) => {
    const stream = client.chat.completions.stream({ model, ...TOOL_CALL, ...STREAMED });
    const whole = await stream.finalChatCompletion();
    checkNames((whole.choices[0].message.tool_calls ?? []).map((call) => call.function.name));
    const told = ofAnswer("chat", model, { ...whole, usage: await stream.totalUsage() });
    told.entry.stream = true;
    // Summed up by the client, details are lost.
    delete told.entry.cached_tokens;
    delete told.entry.reasoning_tokens;
    return called(told);
  },

  completion: async (client, model) =>
    ofAnswer("text_completion", model,
      await client.completions.create({ model, prompt: "The audit trail", ...FIXED_LENGTH })),

  completionStreamed: async (client, model) =>
    ofChunks("text_completion", model,
      await client.completions.create({ model, prompt: "The audit trail", ...FIXED_LENGTH, ...STREAMED })),

  response: async (client, model) =>
    ofResponse(model, await client.responses.create({ model, input: question, max_output_tokens: TOKENS })),

  responseStreamed: async (client, model) => {
    const stream = await client.responses.create({ model, input: question, max_output_tokens: TOKENS, stream: true });
    return ofEvents(model, stream);
  },

  responseToolCall: async (client, model) => {
    const answer = await client.responses.create({ model, ...RESPONSE_TOOL_CALL });
    checkNames(answer.output.filter((item) => item.type === "function_call").map((item) => item.name));
    return called(ofResponse(model, answer));
  },

  responseToolCallStreamed: async (client, model) =>
    called(await ofEvents(model, await client.responses.create({ model, ...RESPONSE_TOOL_CALL, stream: true }))),

  models: async (client, model) => {
    const served = (await client.models.list()).data.map((one) => one.id);
    check(served.includes(model), `the server offers ${served}`);
    return { entry: { event_type: "request", operation: "other" } };
  },

  unknownModel: (client) =>
    refused("no-such-model", 404, () => client.chat.completions.create({ model: "no-such-model", messages })),

  badParameter: (client, model) =>
    refused(model, 400, () => client.chat.completions.create({ model, messages, temperature: -3 })),

  hangUp: async (client, model) => {
    const stream = await client.chat.completions.create({ model, messages, stream: true, ...ENDLESS });
    return hangUpOn(stream, 3, generation("chat", model, {}));
  },

  hangUpOnAResponse: async (client, model) => {
    const asked = { model, input: question, max_output_tokens: 1500, ignore_eos: true, stream: true };
    return hangUpOn(await client.responses.create(asked), 6, generation(null, model, {}));
  },
};

const POOLING = {
  // The client asks for base64 by itself and decodes it.
  embedding: async (client, model) => {
    const answer = await client.embeddings.create({ model, input: ["The audit trail", "keeps every byte."] });
    check(answer.data.length === 2 && typeof answer.data[0].embedding[0] === "number", "no vectors");
    const { prompt_tokens } = answer.usage;
    const entry = { event_type: "embedding", operation: "embeddings", model, attempt: 1, prompt_tokens };
    return { entry: { ...entry, model_returned: answer.model, usage_source: "provider" } };
  },
};

function generation(operation, model, entry) {
  const known = operation ? { operation } : {};
  return { entry: { event_type: "llm_request", model, attempt: 1, ...known, ...entry }, detail: {} };
}

function ofUsage(usage) {
  check(usage, "the answer carries no usage");
  return {
    prompt_tokens: usage.prompt_tokens,
    completion_tokens: usage.completion_tokens,
    cached_tokens: usage.prompt_tokens_details?.cached_tokens ?? null,
    reasoning_tokens: usage.completion_tokens_details?.reasoning_tokens ?? null,
    usage_source: "provider",
  };
}

function ofAnswer(operation, model, answer) {
  const { model: model_returned, system_fingerprint } = answer;
  const { finish_reason } = answer.choices[0];
  const said = { model_returned, system_fingerprint, finish_reason };
  return generation(operation, model, { ...said, ...ofUsage(answer.usage) });
}

async function ofChunks(operation, model, stream) {
  let last, finish_reason;
  for await (const chunk of stream) {
    last = chunk;
    finish_reason = chunk.choices[0]?.finish_reason ?? finish_reason;
  }
  const told = ofAnswer(operation, model, { ...last, choices: [{ finish_reason }] });
  told.entry.stream = true;
  return told;
}

function ofResponse(model, response) {
  const { usage } = response;
  check(usage, "the response carries no usage");
  return generation(null, model, {
    model_returned: response.model,
    prompt_tokens: usage.input_tokens,
    completion_tokens: usage.output_tokens,
    cached_tokens: usage.input_tokens_details.cached_tokens,
    reasoning_tokens: usage.output_tokens_details.reasoning_tokens,
    usage_source: "provider",
  });
}

async function ofEvents(model, stream) {
  let last;
  for await (const event of stream) last = event;
  check(["response.completed", "response.incomplete"].includes(last.type), `the stream ends with ${last.type}`);
  const told = ofResponse(model, last.response);
  told.entry.stream = true;
  return told;
}

async function refused(model, status, call) {
  try {
    await call();
  } catch (error) {
    check(error.status === status, `HTTP ${error.status} instead of ${status}: ${error}`);
    const entry = { status: "upstream_error", error_type: "http_error", http_status: status };
    return generation("chat", model, entry);
  }
  throw new Error("a bad request was accepted");
}

async function hangUpOn(stream, after, told) {
  let seen = 0;
  for await (const _ of stream) {
    seen += 1;
    if (seen === after) stream.controller.abort();
  }
  Object.assign(told.entry, { status: "cancelled", error_type: "client_gone", stream: true });
  return told;
}

function called(told) {
  told.entry.tools = [tool.name];
  told.detail.tool_calls = [tool.name];
  return told;
}

function checkNames(names) {
  check(names.length === 1 && names[0] === tool.name, `tool calls: ${names}`);
}

function check(holds, message) {
  if (!holds) throw new Error(message);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(String(error?.message ?? error));
  process.exitCode = 1;
});
