#!/usr/bin/env python3
"""verify.py against the whole corpus, which is made for it: python3 test_verify.py"""

import contextlib
import importlib.util
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
VERIFY = HERE.parent / "assets" / "verify.py"
MADE = tempfile.TemporaryDirectory()
CORPUS = pathlib.Path(MADE.name)
subprocess.run([sys.executable, str(HERE / "make.py"), "--all", MADE.name], check=True)
EXPECTED = json.loads((CORPUS / "expected.json").read_text())
ONE_FLIPPED = "good-cosigned-by-two.zip"

specification = importlib.util.spec_from_file_location("verify", VERIFY)
verify = importlib.util.module_from_spec(specification)
specification.loader.exec_module(verify)


def policies():
    """Each policy that can be read; None for the others."""
    read = {"": None}
    for path in sorted(CORPUS.glob("policies/*.policy")):
        try:
            read[path.name] = verify.Policy(path.read_bytes())
        except verify.Refused:
            read[path.name] = "refused"
    return read


class Corpus(unittest.TestCase):
    def test_every_bundle_gets_its_verdict(self):
        expected = EXPECTED["bundles"]
        self.assertEqual(sorted(expected), sorted(path.name for path in CORPUS.glob("*.zip")))
        read = policies()
        for name, by_policy in expected.items():
            raw = (CORPUS / name).read_bytes()
            self.assertEqual(sorted(by_policy), sorted(name for name in read if read[name] != "refused"))
            for policy, want in by_policy.items():
                with self.subTest(bundle=name, policy=policy):
                    verdict, _ = verify.check(io.BytesIO(raw), read[policy])
                    self.assertEqual(verdict["check"], want["check"], verdict["what"])
                    self.assertEqual(want["exit"], 1 if want["check"] else 0)
                    if "verdict" in want:
                        self.assertEqual(verdict, want["verdict"])

    def test_policies_that_are_none_are_refused(self):
        refused = [name for name, policy in policies().items() if policy == "refused"]
        self.assertEqual(refused, EXPECTED["refused_policies"])

    def test_every_check_has_a_bundle_that_it_alone_refuses(self):
        seen = {one["check"] for by_policy in EXPECTED["bundles"].values() for one in by_policy.values()}
        checks = "zip manifest scope checkpoint signature quorum entries chain proof payload counts timestamp".split()
        self.assertEqual(seen, {None, *checks})

    def test_every_flipped_byte_is_found(self):
        raw = bytearray((CORPUS / ONE_FLIPPED).read_bytes())
        self.assertIsNone(verify.check(io.BytesIO(raw))[0]["check"])
        for at in range(len(raw)):
            # One bit or several: which, depends on the place.
            changed = 1 + at * 167 % 255
            raw[at] ^= changed
            verdict, _ = verify.check(io.BytesIO(raw))
            self.assertIsNotNone(verdict["check"], at)
            raw[at] ^= changed

    def test_every_shorter_file_is_found(self):
        raw = (CORPUS / "good-one.zip").read_bytes()
        for size in range(len(raw)):
            self.assertEqual(verify.check(io.BytesIO(raw[:size]))[0]["check"], "zip", size)


    def test_the_part_in_the_repository_is_what_is_made(self):
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([sys.executable, str(HERE / "make.py"), directory], check=True, stdout=subprocess.DEVNULL)
            for made in pathlib.Path(directory).rglob("*.*"):
                here = HERE / made.relative_to(directory)
                self.assertEqual(made.read_bytes(), here.read_bytes(), f"{here.name}: python3 make.py writes it anew")
            self.assertEqual(len(list(HERE.glob("*.zip"))), len(list(pathlib.Path(directory).glob("*.zip"))))


class Command(unittest.TestCase):
    def run_it(self, *arguments):
        return subprocess.run([sys.executable, "-I", str(VERIFY), *map(str, arguments)], capture_output=True, text=True)

    def test_exit_codes_and_first_lines(self):
        bundle, policies = CORPUS / "good-one.zip", CORPUS / "policies"
        done = self.run_it(bundle)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(done.stdout.startswith("IDENTITY NOT CHECKED"))
        done = self.run_it(bundle, "--policy", policies / "log.policy")
        self.assertEqual(done.returncode, 0)
        self.assertTrue(done.stdout.startswith("HOLDS"))
        done = self.run_it(CORPUS / "chain-empty.zip")
        self.assertEqual(done.returncode, 1)
        self.assertIn("\nBROKEN at chain", done.stdout)
        for arguments in ([bundle, "--policy", policies / "no-quorum-line.policy"], [CORPUS / "missing.zip"], [CORPUS], [],
                          [bundle, "--policy"], [bundle, "--what"]):
            done = self.run_it(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertTrue(done.stderr.startswith("COULD NOT TELL"), done.stderr)

    def test_json_is_one_object(self):
        expected = EXPECTED["bundles"]["good-all.zip"]["log.policy"]["verdict"]
        done = self.run_it("--json", CORPUS / "good-all.zip", "--policy", CORPUS / "policies" / "log.policy")
        self.assertEqual(json.loads(done.stdout), expected)
        self.assertEqual(done.stdout.count("\n"), 1)

    def test_a_terminal_obeys_nothing_of_a_bundle(self):
        self.assertEqual(verify.shown("a\x1b[2J\u202eb\nc"), "a\\u{1b}[2J\\u{202e}b\\u{a}c")

    def test_the_word_complete_never_stands_alone(self):
        for name in ("good-one.zip", "good-all.zip"):
            for line in self.run_it(CORPUS / name).stdout.splitlines():
                self.assertFalse("complete" in line.split() and "complete from entry" not in line, line)


class Parts(unittest.TestCase):
    """Vectors of docs/formats/checkpoint.md and of RFC 8032 §7.1."""

    def test_ed25519(self):
        public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        signature = bytes.fromhex(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        )
        self.assertTrue(verify.ed25519_verifies(public, b"", signature))
        self.assertFalse(verify.ed25519_verifies(public, b"x", signature))

    def test_page(self):
        page = HERE.parents[2] / "docs" / "formats" / "checkpoint.md"
        blocks = {}
        for block in page.read_text().split("```vector ")[1:]:
            name, content = block.split("\n", 1)
            blocks[name] = content[: content.index("```")]
        key = verify.Key(blocks["vkey"].strip())
        self.assertEqual(key.public.hex(), blocks["public-key"].strip())
        for name, size in (("checkpoint-7", 7), ("checkpoint-0", 0)):
            note = verify.Note(blocks[name].encode(), 1 << 20)
            self.assertEqual(len(note.verified([key])), 1)
            self.assertEqual(verify.Checkpoint(note.text).size, size)

    def test_key_of_another_spelling_is_refused(self):
        p = 2**255 - 19
        for y in (0, 1, p - 1, p, p + 1, p + 3, 2**255 - 1):
            with self.assertRaises(verify.Refused, msg=str(y)):
                verify.public_point(y.to_bytes(32, "little"))


class Hostile(unittest.TestCase):
    def test_a_program_that_fails_says_so(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "x"
            path.write_bytes(b"x")
            original, verify.Bundle = verify.Bundle, None
            try:
                with contextlib.redirect_stderr(io.StringIO()) as errors:
                    self.assertEqual(verify.main([str(path)]), 2)
            finally:
                verify.Bundle = original
            self.assertIn("COULD NOT TELL", errors.getvalue())


if __name__ == "__main__":
    unittest.main()
