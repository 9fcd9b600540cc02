"""Makes genai-prices.json from a wheel of the Python package genai-prices.

The package carries its prices as Python constructors. They are read as syntax and never run, so this needs
the standard library alone. What comes out has the shape of the project's published v2 data, narrowed to what
pricing needs: how providers and models are told apart, prices, and where usage objects hold their counts. A
number keeps the digits that it has there.

    pip download --no-deps genai-prices==0.2.3
    python3 update.py genai_prices-0.2.3-py3-none-any.whl

Afterwards put the printed lines into ../src/builtin.rs and docs/formats/prices.md, and run the tests.
"""

import ast
import hashlib
import json
import pathlib
import re
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent

# What is kept of each constructor, in the order in which it is written.
KEPT = {
    "Provider": ["id", "model_match", "provider_match", "fallback_model_providers", "extractors", "models"],
    "UsageExtractor": ["api_flavor", "root", "mappings"],
    "UsageExtractorMapping": ["path", "dest", "required"],
    "ArrayMatch": ["type", "field", "match"],
    "ModelInfo": ["id", "match", "prices", "price_variants"],
    "ConditionalPrice": ["constraint", "prices"],
    "PriceVariant": ["when", "constraint", "prices"],
    "StartDateConstraint": ["start_date"],
    "TimeOfDateConstraint": ["start_time", "end_time"],
    "TieredPrices": ["base", "tiers"],
    "Tier": ["start", "price"],
    "ClauseStartsWith": ["starts_with"],
    "ClauseEndsWith": ["ends_with"],
    "ClauseContains": ["contains"],
    "ClauseEquals": ["equals"],
    "ClauseRegex": ["regex"],
    "ClauseOr": ["or_"],
    "ClauseAnd": ["and_"],
}
# What is known and left out: words for people, and what the prices do not depend on.
LEFT_OUT = {
    "Provider": {"name", "api_pattern", "pricing_urls", "description", "price_comments"},
    "UsageExtractor": {"model_path"},
    "ModelInfo": {"name", "description", "context_window", "price_comments", "deprecated"},
}
# What the package assumes where a constructor does not say.
DEFAULTS = {"ArrayMatch": {"type": "array-match"}}


class Number(str):
    """A number, digit for digit."""


def value(node):
    """What an expression of the package's data stands for, as JSON has it."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List):
        return [value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {value(key): value(item) for key, item in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.Call):
        return constructed(ast.unparse(node.func), node)
    raise SystemExit(f"line {node.lineno}: no rule for {ast.unparse(node)[:80]}")


def constructed(name, node):
    """What a call of a constructor stands for."""
    if name == "Decimal":
        return Number(node.args[0].value)
    if name == "datetime.date":
        year, month, day = (argument.value for argument in node.args)
        return f"{year:04}-{month:02}-{day:02}"
    if name == "datetime.time":
        return time_of_day(node)
    fields = {keyword.arg: value(keyword.value) for keyword in node.keywords}
    if name == "ModelPrice":
        return {key: price for key, price in fields.items() if price is not None}
    if name not in KEPT or node.args:
        raise SystemExit(f"line {node.lineno}: no rule for {name}(…)")
    fields = {**DEFAULTS.get(name, {}), **fields}
    unknown = fields.keys() - set(KEPT[name]) - LEFT_OUT.get(name, set())
    if unknown:
        raise SystemExit(f"line {node.lineno}: {name} has {sorted(unknown)}: keep it or leave it out")
    return {key.rstrip("_"): fields[key] for key in KEPT[name] if fields.get(key) is not None}


def time_of_day(node):
    """HH:MM:SSZ; only whole seconds in UTC occur."""
    zones = [ast.unparse(keyword.value) for keyword in node.keywords]
    if zones not in (["datetime.UTC"], ["datetime.timezone.utc"]) or len(node.args) > 3:
        raise SystemExit(f"line {node.lineno}: no rule for {ast.unparse(node)}")
    hour, minute, second = [argument.value for argument in node.args] + [0] * (3 - len(node.args))
    return f"{hour:02}:{minute:02}:{second:02}Z"


def compact(item):
    """JSON without white space, numbers as they were written."""
    if isinstance(item, Number):
        if not re.fullmatch(r"(0|[1-9][0-9]*)(\.[0-9]+)?", item):
            raise SystemExit(f"{item!r} is not a plain number")
        return str(item)
    if isinstance(item, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{compact(member)}" for key, member in item.items()) + "}"
    if isinstance(item, list):
        return "[" + ",".join(compact(member) for member in item) + "]"
    return json.dumps(item)


def lines(providers):
    """The file: a list of providers, one model a line, so that a change of a price is a change of a line."""
    for number, provider in enumerate(providers):
        models = provider.pop("models", [])
        head = compact(provider)[:-1]
        yield ("[" if number == 0 else ",") + head + ',"models":['
        for count, model in enumerate(models):
            yield ("" if count == 0 else ",") + compact(model)
        yield "]}"
    yield "]"


def main():
    wheel = pathlib.Path(sys.argv[1])
    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as archive:
        source = archive.read("genai_prices/data.py").decode()
        licence = archive.read(f"genai_prices-{version}.dist-info/licenses/LICENSE")
    assigned = [node for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)]
    [providers] = [value(node.value) for node in assigned if ast.unparse(node.target) == "providers"]
    text = "\n".join(lines(providers)) + "\n"
    json.loads(text)
    (HERE / "genai-prices.json").write_text(text)
    (HERE / "LICENSE").write_bytes(licence)
    print(f"version {version}")
    print(f"sha256 {hashlib.sha256(text.encode()).hexdigest()}")
    print(f"wheel {hashlib.sha256(wheel.read_bytes()).hexdigest()}")


main()
