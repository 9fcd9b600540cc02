"""Calls with the official OpenAI client for Node: openai_cases.cjs makes them, one case per process."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from check import Told
from indelible import Failure, require
from openai_cases import CALL_WITHIN_SECONDS

SCRIPT = Path(__file__).parent / "openai_cases.cjs"


class Node:
    """`modules` is the directory that the package `openai` is installed in."""

    def __init__(self, modules: Path) -> None:
        self._environment = {**os.environ, "NODE_PATH": str(modules)}

    def cases(self, pooling: bool) -> list[str]:
        return json.loads(self._run("--list", *["--pooling"] * pooling))

    def case(self, name: str) -> Callable[[str, str, str], Told]:
        """Makes the calls of a case, given the gateway's URL, the API key and the model."""
        def call(base_url: str, secret: str, model: str) -> Told:
            return Told(**json.loads(self._run(base_url, secret, model, name)))
        return call

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(["node", SCRIPT, *arguments], env=self._environment, capture_output=True,
                                  text=True, timeout=CALL_WITHIN_SECONDS, check=False)
        except FileNotFoundError as error:
            raise Failure("node is not installed") from error
        require(done.returncode == 0, f"node: {done.stderr.strip()}")
        return done.stdout
