"""Holds this crate against the Python package that the data comes from: run it after an update of the data.

    pip install genai-prices==0.2.3
    python3 compare.py [SEED]

It makes calls from every name in the data, at random dates, with random counts, tiers and usage objects, and
prices each by both. Where both give a cost, the numbers must be equal to the last digit and the rules the same.
Where the package finds no rule or raises an error, there must be no cost. Where it gives a cost and this crate
does not, the reason must be one that docs/formats/prices.md states: no prices, or counts that no price covers.
"""

import collections
import datetime
import decimal
import json
import pathlib
import random
import re
import subprocess
import sys

from genai_prices import types
from genai_prices.data import providers
from genai_prices.data_snapshot import DataSnapshot

CALLS = 12_000
MORE_PROVIDERS = ["openai-compatible", "AWS Bedrock", "vertex_ai", "Azure", "litellm", " OpenAI ", "vllm", "xai"]
TIERS = [("service_tier", tier) for tier in ("flex", "priority", "default", "fast")] + [("speed", "fast")]
USAGE_NAMES = ("usage", "usageMetadata", "usage_info", "tokenUsage")

decimal.getcontext().prec = 60
snapshot = DataSnapshot(providers=providers, from_auto_update=False)


def words(clause):
    """Names that a clause might fit."""
    for field in ("starts_with", "ends_with", "contains", "equals"):
        if hasattr(clause, field):
            yield getattr(clause, field)
    if hasattr(clause, "regex"):
        text = clause.regex.replace(r"\d{4}-\d{2}-\d{2}", "2026-05-06").replace(r"\d{8}", "20260506")
        yield text.strip("^$").replace("\\", "")
    for inner in [*getattr(clause, "or_", []), *getattr(clause, "and_", [])]:
        yield from words(inner)


NAMES = [(p.id, name) for p in providers for m in p.models for name in [m.id, *words(m.match)]]


def usage_object(rand, call):
    """A usage object in one of the ways in which servers write them, or none."""
    some = lambda most: rand.choice([0, rand.randint(0, most)])
    read, out = call["cached"] or 0, call["output"] or 0
    return rand.choice([
        None,
        None,
        None,
        {"prompt_tokens": call["input"], "total_tokens": 1},
        {
            "prompt_tokens": call["input"],
            "completion_tokens": out,
            "prompt_tokens_details": rand.choice(
                [None, {"cached_tokens": read, "audio_tokens": some(1000), "cache_write_tokens": some(50)}]
            ),
            "completion_tokens_details": rand.choice(
                [None, {"reasoning_tokens": call["reasoning"] or 0, "audio_tokens": some(50)}]
            ),
            "reasoning_tokens": some(9),
            "num_search_queries": some(4),
            "citation_tokens": some(5),
        },
        {
            "input_tokens": call["input"],
            "output_tokens": out,
            "cache_read_input_tokens": call["cached"],
            "cache_creation_input_tokens": some(5000),
            "server_tool_use": rand.choice([None, {"web_search_requests": some(4)}]),
        },
        {"input_tokens": call["input"], "output_tokens": out, "input_tokens_details": {"cached_tokens": read}},
        {
            "promptTokenCount": call["input"],
            "candidatesTokenCount": out,
            "cachedContentTokenCount": read,
            "thoughtsTokenCount": some(1000),
            "promptTokensDetails": rand.choice([None, [{"modality": "AUDIO", "tokenCount": some(500)}]]),
        },
        {
            "inputTokens": call["input"],
            "outputTokens": out,
            "cacheReadInputTokens": read,
            "cacheWriteInputTokens": some(500),
            "cacheDetails": rand.choice([None, [{"ttl": "1h", "inputTokens": some(100)}]]),
        },
    ])


def make_call(rand, number, from_model):
    """The call of this number: each name of the data once, then any of them."""
    provider, model = NAMES[number] if number < len(NAMES) else rand.choice(NAMES)
    provider = rand.choice(MORE_PROVIDERS) if rand.random() < 0.08 else provider
    spelling = rand.random()
    if spelling < 0.1:
        model += rand.choice(["-20260506", "-2026-05-06", "-latest", "x", ":free", "-20261399", "-v1:0"])
    elif spelling < 0.2:
        model = model.upper()
    elif spelling < 0.25:
        model = rand.choice(["openai/", "anthropic/", "us.", "models/"]) + model
    first = datetime.datetime(2023, 1, 1, tzinfo=datetime.UTC)
    cached = rand.choice([None, None, 0, rand.randint(0, 400_000)])
    output = rand.choice([None, 0, rand.randint(0, 100_000)])
    call = {
        "provider": None if from_model and rand.random() < 0.7 else provider,
        "model": model,
        "at": int((first + datetime.timedelta(minutes=rand.randint(0, 5 * 525_600))).timestamp()) * 1_000_000,
        "input": rand.choice([0, 1, (cached or 0) + rand.randint(0, 300_000), rand.randint(0, 1_000_000)]),
        "output": output,
        "cached": cached,
        "reasoning": rand.choice([None, None, 0, rand.randint(0, output or 0)]),
        "context": dict([rand.choice([*TIERS, ("processing", "batch")])]) if rand.random() < 0.25 else {},
    }
    call["usage"] = usage_object(rand, call)
    return call


def extracted(provider, usage):
    """What the package reads from a usage object, with the extractor that prices.md names."""
    best = (None, None)
    for extractor in provider.extractors or []:
        root = [extractor.root] if isinstance(extractor.root, str) else list(extractor.root)
        at = next((n for n, step in enumerate(root) if step in USAGE_NAMES), None)
        if at is None:
            continue
        answer = usage
        for name in reversed(root[: at + 1]):
            answer = {name: answer}
        try:
            _, found = extractor.extract(answer)
        except ValueError:
            continue
        inner = types._extract_path(root, answer, dict, True, [])
        paths = [mapping.path for mapping in extractor.mappings]
        counts = sum(types._extract_path(path, inner, int, False, []) is not None for path in paths)
        rank = (len(root) - at - 1, counts)
        if best[0] is None or rank > best[0]:
            best = (rank, found)
    return best[1]


def by_package(call):
    """What the package says: nothing, an error, or a cost."""
    try:
        provider, model = snapshot.find_provider_model(call["model"], None, call["provider"], None)
    except LookupError:
        return "lookup", None
    fields = {"input": "input", "output": "output", "cached": "cache_read", "reasoning": "output_reasoning"}
    counts = {f"{unit}_tokens": call[name] for name, unit in fields.items() if call[name] is not None}
    found = call["usage"] and extracted(provider, call["usage"])
    counts |= found._reported_values() if found else {}
    at = datetime.datetime.fromtimestamp(call["at"] / 1_000_000, datetime.UTC)
    try:
        cost = model.calc_price(
            types.Usage(**counts), provider, genai_request_timestamp=at, price_context=call["context"] or None
        )
    except ValueError:
        return "error", None
    return "cost", cost


def agree(ours, kind, cost):
    """Whether both say the same, and in which way."""
    why = ours.get("none", "").split("(")[0]
    if kind == "lookup":
        return why in ("UnknownModel", "UnknownProvider"), "neither knows the model"
    if kind == "error" or why:
        strict = ("NotCovered", "NotPriced") + (("NotCounted", "Contradiction") if kind == "error" else ())
        return why in strict, f"{why}, package: {kind}"
    owner = next(p.id for p in providers if any(m is cost.model for m in p.models))
    rule = re.sub(r"[^A-Za-z0-9._:/-]", "_", f"{owner}/{cost.model.id}:")
    same = decimal.Decimal(ours["usd"]) == cost.total_price
    return same and ours["price_ref"].split(":", 3)[3].startswith(rule), "the same cost by the same rule"


def main():
    rand = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    for flags in ([], ["--provider-from-model"]):
        calls = [make_call(rand, number, bool(flags)) for number in range(CALLS)]
        command = ["cargo", "run", "--quiet", "-p", "indelible-price", "--example", "price", "--", *flags]
        lines = "".join(json.dumps(call) + "\n" for call in calls)
        here = pathlib.Path(__file__).parent
        told = subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True, cwd=here).stdout
        seen = collections.Counter()
        for call, line in zip(calls, told.splitlines(), strict=True):
            ours, theirs = json.loads(line), by_package(call)
            agreed, how = agree(ours, *theirs)
            if not agreed:
                raise SystemExit(f"{json.dumps(call)}\n  ours {ours}\n  package {theirs}")
            seen[how] += 1
        print(*flags, *(f"{calls:6} {how}" for how, calls in seen.most_common()), sep="\n")


main()
