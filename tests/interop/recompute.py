"""Recomputes a ledger's hash chain and Merkle tree from the Parquet files alone.

    python recompute.py DATA_DIR

Needs pyarrow and nothing of Indelible. Of each row only `entry` counts, the exact bytes:

    leaf hash       SHA-256(0x00 || entry)                        RFC 9162 section 2.1.1
    chain           entry.prev_hash = leaf hash of the entry before; 64 zeros for the first
    tree            the Merkle tree of RFC 6962 over the leaf hashes

and what comes out is held against each segment.json. Prints one JSON object: for each tenant its entries, root, and
sums over the entries' JSON, which engines that read the columns have to agree with. Exits 1 where something differs.
"""

import hashlib
import json
import pathlib
import sys
from collections import Counter
from decimal import Decimal, getcontext

import pyarrow.parquet

getcontext().prec = 60
ZEROS = bytes(32)


class Tree:
    """The right edge of a Merkle tree: roots of its perfect subtrees, the largest first."""

    def __init__(self):
        self.size = 0
        self.hashes = []

    def append(self, leaf):
        carry, size = leaf, self.size
        while size & 1:
            carry = hashlib.sha256(b"\x01" + self.hashes.pop() + carry).digest()
            size >>= 1
        self.hashes.append(carry)
        self.size += 1

    def root(self):
        if not self.hashes:
            return hashlib.sha256(b"").digest()
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = hashlib.sha256(b"\x01" + left + root).digest()
        return root


def text(digest):
    return "sha256:" + digest.hex()


def by_definition(leaves):
    """MTH as the RFC writes it, to hold the tree above against."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + by_definition(leaves[:left]) + by_definition(leaves[left:])).digest()


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found} was recomputed, {wanted} is stated")


def ledger(directory):
    """Checks the segments of one ledger, the oldest first."""
    tree, last_leaf, leaves = Tree(), ZEROS, []
    sums = Counter()
    cost, tools = Decimal(0), Counter()
    segments = sorted(directory.glob("date=*/*/segment.json"), key=lambda path: path.parent.name)
    for path in segments:
        manifest = json.loads(path.read_bytes())
        where = str(path.parent)
        expect(f"{where}: number of the first entry", tree.size, manifest["first"])
        expect(f"{where}: tree before", list(map(text, tree.hashes)), manifest["before"])
        expect(f"{where}: hash of the entry before", text(last_leaf), manifest["prev_hash"])
        for name, facts in manifest["files"].items():
            content = path.with_name(name).read_bytes()
            expect(f"{where}/{name}: length", len(content), facts["bytes"])
            expect(f"{where}/{name}: hash", hashlib.sha256(content).digest().hex(), facts["sha256"].removeprefix("sha256:"))
        rows = pyarrow.parquet.read_table(path.with_name("entries.parquet"), columns=["seq", "entry"], partitioning=None)
        for seq, entry in zip(rows["seq"].to_pylist(), rows["entry"].to_pylist()):
            content = json.loads(entry)
            expect(f"{where}: number in a row", seq, tree.size)
            expect(f"{where}: number in an entry", content["seq"], tree.size)
            expect(f"{where}, entry {seq}: previous hash", text(last_leaf), content["prev_hash"])
            last_leaf = hashlib.sha256(b"\x00" + entry.encode()).digest()
            leaves.append(last_leaf)
            tree.append(last_leaf)
            for name in ("prompt_tokens", "completion_tokens"):
                sums[name] += content.get(name, 0)
            cost += Decimal(content.get("cost_usd", "0"))
            tools.update(content.get("tools", []))
        expect(f"{where}: entries", len(rows), manifest["count"])
        expect(f"{where}: tree after", list(map(text, tree.hashes)), manifest["after"])
        expect(f"{where}: root", text(tree.root()), manifest["root"])
        expect(f"{where}: last leaf", text(last_leaf), manifest["last_leaf"])
    if leaves:
        expect(f"{directory}: root by the definition", text(by_definition(leaves)), text(tree.root()))
    return {
        "segments": len(segments),
        "count": tree.size,
        "root": text(tree.root()),
        "prompt_tokens": sums["prompt_tokens"],
        "completion_tokens": sums["completion_tokens"],
        "cost_usd": str(cost.normalize()),
        "tools": dict(sorted(tools.items())),
    }


def main():
    directories = sorted(pathlib.Path(sys.argv[1]).glob("segments/tenant=*"))
    if not directories:
        raise SystemExit("no segments there")
    print(json.dumps({path.name.removeprefix("tenant="): ledger(path) for path in directories}))


if __name__ == "__main__":
    main()
