#!/usr/bin/env python3
"""End to end: official clients, through the gateway, to a real model server.

    client ─▶ relay ─▶ indelible up ─▶ relay ─▶ vLLM

Each case makes one call, or a few. The relays keep what passed on both sides of the gateway, and `indelible show`
prints what was recorded; check.py requires that they are the same bytes and that the entry says what the client was
told. At the end every request has one record, and the ledger holds. README.md tells how to run it; usually
`cargo xtask e2e` does. Exit code: 0 all passed, 1 something did not.
"""

import argparse
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import anthropic_cases
import openai_cases
import pooling_cases
import responses_cases
from check import Sides, Told, check_call
from indelible import Failure, Indelible, require
from node_cases import Node
from wire import Relay

HEALTH_WITHIN_SECONDS = 10
SECRET = "sk-test-indelible-end-to-end-0001"

# Makes the calls of a case, given the gateway's URL, the API key and the model.
Call = Callable[[str, str, str], Told | list[Told]]


def main() -> int:
    options = parse_options()
    try:
        with urllib.request.urlopen(f"{options.upstream}/health", timeout=HEALTH_WITHIN_SECONDS):
            pass
        with tempfile.TemporaryDirectory(prefix="indelible-e2e-") as directory:
            return run(options, Indelible(options.indelible.resolve(), Path(directory)))
    except (OSError, Failure) as error:
        print(f"FAIL  {options.upstream}, {options.indelible}: {error}")
        return 1


def run(options: argparse.Namespace, indelible: Indelible) -> int:
    results = Results()
    with Relay(options.upstream) as server, indelible.up(server.url) as gateway, Relay(gateway) as client:
        for name, call in cases(options):
            if options.only in name:
                results.add(name, lambda: run_case(call, client, server, indelible, options.model))
        results.add("one record for each request", lambda: check_count(client, indelible))
        results.add("records found by user", lambda: check_user(results, indelible))
        results.add("verify, running", indelible.verify)
    results.add("verify, stopped", indelible.verify)
    print(f"{results.passed} passed, {results.failed} failed")
    return 1 if results.failed else 0


class Results:
    """One line for each case."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.names: list[str] = []

    def add(self, name: str, check: Callable[[], str]) -> None:
        self.names.append(name)
        try:
            print(f"ok    {name}: {check()}", flush=True)
            self.passed += 1
        except Exception as error:  # A case may fail in any way; the others still run.
            print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
            self.failed += 1


def cases(options: argparse.Namespace) -> Iterator[tuple[str, Call]]:
    if options.pooling:
        yield from of_client("openai python", openai_cases.client, pooling_cases.CASES)
    else:
        yield from of_client("openai python", openai_cases.client, openai_cases.CASES)
        yield from of_client("responses python", openai_cases.client, responses_cases.CASES)
        yield from of_client("anthropic python", anthropic_cases.client, anthropic_cases.CASES)
    node = Node(options.node_modules)
    for name in node.cases(options.pooling):
        yield f"openai node: {name}", node.case(name)


def of_client(label: str, client: Callable, of_this_client: list[Callable]) -> Iterator[tuple[str, Call]]:
    for case in of_this_client:
        def call(base_url: str, secret: str, model: str, case: Callable = case) -> Told | list[Told]:
            with client(base_url, secret) as opened:
                return case(opened, model)
        yield f"{label}: {case.__name__}", call


def run_case(call: Call, client: Relay, server: Relay, indelible: Indelible, model: str) -> str:
    sides = Sides(client, server)
    told = call(client.url, SECRET, model)
    return check_call(sides, told if isinstance(told, list) else [told], indelible, SECRET)


def check_count(client: Relay, indelible: Indelible) -> str:
    events = indelible.events("--tenant", "default")
    sent, recorded = len(client.exchanges()), sum("status" in event["entry"] for event in events)
    require(sent == recorded, f"{recorded} records of {sent} requests")
    return f"{recorded} of {sent}"


def check_user(results: Results, indelible: Indelible) -> str:
    """One case names a user; nobody but them is found under the name."""
    expected = sum("with_user" in name for name in results.names)
    found = indelible.events("--user", openai_cases.USER)
    require(len(found) == expected, f"{len(found)} records instead of {expected}")
    return f"{len(found)} of {expected}"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Official clients → gateway → vLLM, compared with the records.")
    parser.add_argument("--indelible", type=Path, required=True, metavar="PATH", help="the binary `indelible`")
    parser.add_argument("--upstream", required=True, metavar="URL", help="vLLM, such as http://127.0.0.1:8000")
    parser.add_argument("--model", default="tiny", help="as vLLM serves it (tiny)")
    parser.add_argument("--pooling", action="store_true", help="this vLLM makes vectors (--runner pooling)")
    parser.add_argument("--node-modules", type=Path, required=True, metavar="DIR", help="holds the package openai")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases whose name holds this")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
