"""What the cases are made of: the usual bundles, and changes to them."""

from make import TWISTED, Ledger, leaf, parts_of, put, sha256, usual

USUAL = usual()

ALL = {"kind": "range", "from": 0, "to": 11}


def one(**more):
    """One call of eleven entries: the smallest bundle."""
    return parts_of(USUAL, [2], **more)


def whole(ledger=USUAL, **more):
    size = len(ledger.raw)
    return parts_of(ledger, range(size), {"kind": "range", "from": 0, "to": size}, **more)


def edit(parts, **changes):
    for name, change in changes.items():
        parts[name] = change(parts[name]) if callable(parts[name]) is False and callable(change) else change
    return parts


def bad(name, parts, **changes):
    put(name, edit(parts, **changes), name.split("-")[0])


def twisted(wanted):
    """Signed under a public key with a torsion part: verifies only where the challenge is a multiple of 8."""
    def sign(text):
        for n in range(10_000):
            nonce = b"%d" % n
            signature = TWISTED.sign(text.encode(), nonce)
            if wanted(TWISTED.k(signature[:32], text.encode())):
                return TWISTED.line(signature)
        raise AssertionError
    parts = one(signer=TWISTED)
    text = parts["checkpoint"]
    parts["replace"]["checkpoint"] = (text + "\n" + sign(text)).encode()
    parts["note"] = lambda note: note[: note.rindex("\n\n") + 2] + sign(note[: note.rindex("\n\n") + 1])
    return parts


def huge(size, seq, name, check=None, stated=None, **more):
    """One entry in a tree of a size that nobody has written down: its proof is made up, and the root computed from it."""
    ledger = Ledger()
    ledger.add(change=lambda entry: entry.update(seq=seq))
    proof = []

    def root(start, end):
        if not start <= seq < end:
            proof.append(sha256(b"%d %d" % (start, end)))
            return proof[-1]
        if end - start == 1:
            return leaf(ledger.raw[0])
        k = 1 << (end - start - 1).bit_length() - 1
        left = root(start, start + k)
        return sha256(b"\1", left, root(start + k, end))

    top = root(0, size)
    parts = edit(parts_of(ledger, [0], size=size, proof=proof, root=top), **more)
    if stated is not None:
        parts["completeness"]["size"] = stated
    put(name, parts, check)
