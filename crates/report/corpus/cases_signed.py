"""Who signed: checkpoints, keys and their changes, witnesses, timestamps."""

from bundles import USUAL, one, edit, bad, twisted, huge
from make import (
    D, ELSEWHERE, HERE, L, LOG, OLD, ORIGIN, OTHER, P, T, T8, TENANT, W, Secret, b64, encoded, leaf, note_of, parts_of,
    put, sha256,
)


def checkpoints():
    def body(name, change):
        bad("checkpoint-" + name, one(), checkpoint=change)

    def note(name, change):
        parts = one()
        text = change(note_of(parts))
        parts["replace"]["checkpoint"] = text if isinstance(text, bytes) else text.encode()
        bad("checkpoint-" + name, parts)

    body("other-origin", lambda t: t.replace("ledger.example", "ledger2.example"))
    body("size-0", lambda t: f"{ORIGIN}\n0\n{b64(sha256())}\n")
    body("size-leading-zero", lambda t: t.replace("\n11\n", "\n011\n"))
    body("size-plus", lambda t: t.replace("\n11\n", "\n+11\n"))
    body("size-text", lambda t: t.replace("\n11\n", "\neleven\n"))
    body("size-2-64", lambda t: t.replace("\n11\n", f"\n{2**64}\n"))
    body("size-other-digits", lambda t: t.replace("\n11\n", "\n\u0661\u0661\n"))
    body("size-blank", lambda t: t.replace("\n11\n", "\n11 \n"))
    body("root-short", lambda t: t[:-45] + b64(bytes(31)) + "\n")
    body("root-long", lambda t: t[:-45] + b64(bytes(33)) + "\n")
    body("root-unused-bits", lambda t: t[:-45] + b64(bytes(32))[:-2] + "B=\n")
    body("root-hex", lambda t: t[:-45] + "0" * 64 + "\n")
    body("two-lines", lambda t: t[:-45])
    body("empty-origin", lambda t: t.replace(ORIGIN, ""))
    body("empty-line-inside", lambda t: t + "\nmore\n")
    bad("checkpoint-scope-of-another", one(), scope=lambda s: {**s, "ledger": {"origin": "x", "tenant": TENANT}})
    note("carriage-returns", lambda n: n.replace("\n", "\r\n"))
    note("no-signature", lambda n: n[: n.rindex("\n\n") + 2])
    note("no-empty-line", lambda n: n.replace("\n\n", "\n"))
    note("unfinished", lambda n: n[:-1])
    note("65-signatures", lambda n: n + "".join(Secret("log", f"n{k}").line(b"x") for k in range(64)))
    note("line-without-bytes", lambda n: n + f"\u2014 x {b64(b'1234')}\n")
    note("line-without-name", lambda n: n + f"\u2014  {b64(b'12345')}\n")
    note("line-name-with-plus", lambda n: n + f"\u2014 a+b {b64(b'12345')}\n")
    note("line-name-with-space", lambda n: n + f"\u2014 a\u3000b {b64(b'12345')}\n")
    note("line-name-with-next-line", lambda n: n + f"\u2014 a\x85b {b64(b'12345')}\n")
    note("line-behind-blank", lambda n: n + f"\u2014 a  {b64(b'12345')}\n")
    note("tab", lambda n: n.replace("11\n", "11\t\n"))
    note("not-utf8", lambda n: n.encode().replace(b"ledger", b"l\xe9dger"))
    note("empty", lambda n: "")
    put("good-names-with-odd-characters", edit(one(), cosigners=[
        lambda t: f"\u2014 a\ufeffb\u180e\u200b {b64(b'12345')}\n", lambda t: f"\u2014 \x7f {b64(b'12345')}\n"]))


def signatures():
    def keys(name, lines=None, raw=None):
        parts = one()
        parts["keys_wrong"] = True
        if raw is not None:
            parts["replace"]["keys.txt"] = raw
        else:
            parts["keys"] = lines
        bad("signature-" + name, parts)

    def vkey(name, kind, public, key_id=None):
        key_id = sha256(name.encode(), b"\n", bytes([kind]), public)[:4].hex() if key_id is None else key_id
        return f"{name}+{key_id}+{b64(bytes([kind]) + public)}"

    keys("key-of-another", [OTHER.vkey])
    keys("old-key-last", [LOG.vkey, OLD.vkey])
    keys("key-id-wrong", [vkey(ORIGIN, 1, LOG.public, "00000000")])
    keys("key-id-upper-case", [vkey(ORIGIN, 1, LOG.public, LOG.id.hex().upper())])
    keys("key-of-a-witness", [vkey(ORIGIN, 4, LOG.public)])
    keys("key-of-type-2", [vkey(ORIGIN, 2, LOG.public)])
    keys("key-of-a-witness-first", [vkey(ORIGIN, 4, LOG.public), LOG.vkey])
    keys("key-of-another-first", [vkey("other", 1, LOG.public), LOG.vkey])
    keys("key-short", [vkey(ORIGIN, 1, LOG.public[:31]), LOG.vkey])
    keys("key-long", [vkey(ORIGIN, 1, LOG.public + b"\0"), LOG.vkey])
    keys("key-name-other", [vkey("other", 1, LOG.public)])
    keys("key-of-small-order", [vkey(ORIGIN, 1, encoded(T8)), LOG.vkey])
    keys("key-neutral", [vkey(ORIGIN, 1, encoded((0, 1, 1))), LOG.vkey])
    keys("key-off-the-curve", [vkey(ORIGIN, 1, off_the_curve()), LOG.vkey])
    keys("key-of-another-spelling", [vkey(ORIGIN, 1, not_reduced()), LOG.vkey])
    keys("key-base64url", [LOG.vkey[:-44] + LOG.vkey[-44:].replace("+", "-").replace("/", "_") + "=", LOG.vkey])
    keys("keys-empty", raw=b"")
    keys("keys-empty-line", raw=b"\n")
    keys("keys-unfinished", raw=LOG.vkey.encode())
    keys("keys-empty-line-behind", raw=LOG.vkey.encode() + b"\n\n")
    keys("keys-carriage-return", raw=LOG.vkey.encode() + b"\r\n")
    keys("keys-not-utf8", raw=b"\xff\n" + LOG.vkey.encode() + b"\n")

    parts = one(signer=OTHER, keys=[LOG.vkey])
    parts["keys_wrong"] = True
    bad("signature-by-another", parts)
    bad("signature-by-another-origin", one(signer=Secret("log", "elsewhere.example")))
    bad("signature-manifest-by-another", one(), manifest_signer=OTHER, keys_wrong=True)
    bad("signature-manifest-by-old", one(keys=[OLD.vkey, LOG.vkey]), manifest_signer=OLD, keys_wrong=True)
    bad("signature-manifest-by-second", one(), also=[OLD], manifest_signer=OLD, keys_wrong=True)

    def checkpoint_line(name, line):
        parts = one()
        text = parts["checkpoint"]
        parts["replace"]["checkpoint"] = (text + "\n" + line(text)).encode()
        bad("signature-" + name, parts)

    def altered(text, change):
        return LOG.line(change(LOG.sign(text.encode())))

    def plus_order(signature):
        return signature[:32] + (int.from_bytes(signature[32:], "little") + L).to_bytes(32, "little")

    checkpoint_line("one-bit", lambda t: altered(t, lambda s: s[:9] + bytes([s[9] ^ 4]) + s[10:]))
    checkpoint_line("malleable", lambda t: altered(t, plus_order))
    checkpoint_line("short", lambda t: altered(t, lambda s: s[:63]))
    checkpoint_line("long", lambda t: altered(t, lambda s: s + b"\0"))
    checkpoint_line("zero", lambda t: LOG.line(bytes(64)))
    checkpoint_line("of-other-text", lambda t: LOG.signed(t.replace("11", "12")))
    checkpoint_line("one-good-one-bad", lambda t: LOG.signed(t) + altered(t, lambda s: s[:-1] + bytes([s[-1] ^ 1])))
    checkpoint_line("one-bad-one-good", lambda t: altered(t, lambda s: bytes(64)) + LOG.signed(t))
    checkpoint_line("as-a-cosignature", lambda t: LOG.line(bytes(7) + b"\1" + LOG.sign(f"cosignature/v1\ntime 1\n{t}".encode())))
    checkpoint_line("by-a-witness-alone", lambda t: W[0].cosigned(t, T))
    checkpoint_line("under-another-id", lambda t: f"\u2014 {ORIGIN} {b64(b'1234' + LOG.sign(t.encode()))}\n")

    def small_r(t):
        # R is the neutral point, s = k·a: fits the equation, and is not a signature that a signer makes.
        r = encoded((0, 1, 1))
        return LOG.line(r + (LOG.k(r, t.encode()) * LOG.a % L).to_bytes(32, "little"))

    checkpoint_line("r-of-small-order", small_r)
    parts = one()
    parts["note"] = lambda n: n[: n.rindex("\n\n") + 2] + LOG.line(plus_order(LOG.sign(n[: n.rindex("\n\n") + 1].encode())))
    bad("signature-manifest-malleable", parts)
    parts = one()
    parts["note"] = lambda n: n[: n.rindex("\n\n") + 2] + small_r(n[: n.rindex("\n\n") + 1])
    bad("signature-manifest-r-of-small-order", parts)
    bad("signature-only-with-cofactor", twisted(lambda k: k % 8 == 1))


def is_on_the_curve(y):
    return pow((y * y - 1) * pow(D * y * y + 1, -1, P), (P - 1) // 2, P) == 1


def off_the_curve():
    return next(y for y in range(2, 100) if not is_on_the_curve(y)).to_bytes(32, "little")


def not_reduced():
    """A point whose y is written with the prime added."""
    return (P + next(y for y in range(2, 19) if is_on_the_curve(y))).to_bytes(32, "little")


def rotations():
    """OLD was the log's key up to the handover, whose checkpoint LOG signed as well (`sizes.policy`)."""
    handover, both = 5, [OLD.vkey, LOG.vkey]

    def at(size, signer, manifest_signer, keys=both, **changes):
        parts = parts_of(USUAL, [2], leaves=[leaf(raw) for raw in USUAL.raw[:size]], signer=signer, keys=keys)
        return edit(parts, manifest_signer=manifest_signer, **changes)

    def good_at(name, *given, cosigned=None, **changes):
        put("good-rotated-" + name, at(*given, **changes), cosigned=cosigned)

    def bad_at(name, *given, **changes):
        put("signature-rotated-" + name, at(*given, **changes, keys_wrong=True), "signature")

    good_at("old-checkpoint", 4, OLD, LOG)
    good_at("first-of-the-old-checkpoints", 3, OLD, LOG)
    good_at("old-checkpoint-cosigned", 4, OLD, LOG, cosigned={0: T, 1: T + 60},
            cosigners=[lambda t: W[0].cosigned(t, T), lambda t: W[1].cosigned(t, T + 60)])
    good_at("old-checkpoint-before", 4, OLD, OLD, [OLD.vkey])
    good_at("handover", handover, OLD, LOG, also=[LOG])
    good_at("handover-before", handover, OLD, OLD, [OLD.vkey], also=[LOG])
    good_at("handover-by-old-alone", handover, OLD, OLD, [OLD.vkey])
    good_at("handover-by-new-alone", handover, LOG, LOG)
    good_at("behind-handover", handover + 1, LOG, LOG)
    good_at("both-behind-handover", handover + 1, OLD, LOG, also=[LOG])
    good_at("third-key", 4, OTHER, OTHER, [OTHER.vkey])
    good_at("keys-twice", 4, OLD, LOG, [LOG.vkey, *both])
    good_at("keys-256", 11, LOG, LOG, [OLD.vkey] * 255 + [LOG.vkey])
    # Nothing in such a bundle is wrong without a policy that says which sizes a key may have signed.
    good_at("old-behind-handover", handover + 1, OLD, LOG)
    good_at("new-before-handover", 4, LOG, LOG)
    good_at("manifest-by-retired", handover + 1, LOG, OLD, both[::-1])
    good_at("other-line-fails", handover + 1, LOG, LOG, [LOG.vkey], failing=[OLD])
    bad_at("old-line-fails", handover + 1, LOG, LOG, failing=[OLD])
    bad_at("new-line-fails", 4, OLD, LOG, failing=[LOG])
    bad_at("handover-old-line-fails", handover, LOG, LOG, failing=[OLD])
    bad_at("handover-new-line-fails", handover, OLD, LOG, failing=[LOG])
    bad_at("manifest-by-old", 4, OLD, OLD)
    bad_at("manifest-by-another", 4, OLD, OTHER)
    bad_at("manifest-by-another-origin", handover + 1, LOG, ELSEWHERE)
    bad_at("old-is-not-in-keys", 4, OLD, LOG, [LOG.vkey])
    bad_at("keys-257", 11, LOG, LOG, [OLD.vkey] * 256 + [LOG.vkey])
    # Sizes that a double cannot tell from each other; no such bundle holds.
    for name, size, signer, manifest_signer in (
            ("2-53-by-old", 2**53, OLD, LOG), ("2-53-by-new", 2**53, LOG, LOG), ("2-53-by-old-alone", 2**53, OLD, OLD),
            ("2-53-1-by-old", 2**53 + 1, OLD, LOG), ("2-53-1-by-new", 2**53 + 1, LOG, LOG),
            ("2-53-1-manifest-by-old", 2**53 + 1, LOG, OLD), ("2-64-by-new", 2**64 - 1, LOG, LOG)):
        huge(size, 2**52 + 5, "counts-rotated-" + name, "counts", 11, signer=signer, manifest_signer=manifest_signer,
             keys=[OLD.vkey, LOG.vkey] if manifest_signer is LOG else [LOG.vkey, OLD.vkey])


def quorums():
    """Good without a policy, or with one that asks nobody; broken where witnesses are asked."""
    first = lambda t: W[0].cosigned(t, T)
    second = lambda t: W[1].cosigned(t, T)
    put("quorum-first-twice", edit(one(), cosigners=[first, lambda t: W[0].cosigned(t, T - 5)]), cosigned={0: T})
    put("quorum-time-0", edit(one(), cosigners=[first, second, lambda t: W[2].cosigned(t, 0)]),
        cosigned={0: T, 1: T}, spoiled={2})
    put("quorum-first-time-0", edit(one(), cosigners=[lambda t: W[0].cosigned(t, 0), second]), cosigned={1: T}, spoiled={0})
    put("quorum-time-2-63", edit(one(), cosigners=[first, second, lambda t: W[2].cosigned(t, 2**63)]),
        cosigned={0: T, 1: T}, spoiled={2})
    put("quorum-time-changed", edit(one(), cosigners=[first, second, lambda t: W[2].cosigned(t, T, signed_time=T + 1)]),
        cosigned={0: T, 1: T}, spoiled={2})
    put("quorum-first-spoiled-by-second-line", edit(one(), cosigners=[
        first, second, lambda t: W[0].line(T.to_bytes(8, "big") + bytes(64))]), cosigned={0: T, 1: T}, spoiled={0})
    put("quorum-other-text", edit(one(), cosigners=[lambda t: W[0].cosigned(t.replace("11", "12"), T), second]),
        cosigned={1: T}, spoiled={0})
    put("quorum-bare-signature", edit(one(), cosigners=[lambda t: W[0].line(W[0].sign(t.encode())), second]),
        cosigned={1: T}, spoiled={0})
    put("quorum-short-line", edit(one(), cosigners=[first, second, lambda t: W[2].line(b"x")]),
        cosigned={0: T, 1: T}, spoiled={2})
    put("quorum-long-line", edit(one(), cosigners=[second, lambda t: W[0].line(
        T.to_bytes(8, "big") + W[0].sign(f"cosignature/v1\ntime {T}\n{t}".encode()) + b"\0")]),
        cosigned={1: T}, spoiled={0})
    put("quorum-unknown-witness", edit(one(), cosigners=[second, lambda t: W[3].cosigned(t, T)]), cosigned={1: T, 3: T})
    put("quorum-name-of-a-witness", edit(one(), cosigners=[second, lambda t: Secret("x", W[0].name, 4).cosigned(t, T)]),
        cosigned={1: T})
    put("quorum-log-key-cosigns", edit(one(), cosigners=[second, lambda t: Secret("log", ORIGIN, 4).cosigned(t, T)]),
        cosigned={1: T})


def der(tag, *contents):
    body = b"".join(contents)
    length = bytes([len(body)]) if len(body) < 128 else None
    if length is None:
        width = (len(body).bit_length() + 7) // 8
        length = bytes([0x80 | width]) + len(body).to_bytes(width, "big")
    return bytes([tag]) + length + body


def token(over, status=b"\0", kind="2a864886f70d010702", content="2a864886f70d0109100104", version=b"\1",
          algorithm="608648016503040201", time=b"20261126080102Z", behind=b"", in_info=b"", in_imprint=b"",
          digest=None):
    """A response as RFC 3161 has it, but signed by nobody."""
    digest = sha256(over) if digest is None else digest
    info = der(0x30, der(2, version), der(6, bytes.fromhex("2a0304")),
               der(0x30, der(0x30, der(6, bytes.fromhex(algorithm)), der(5)), der(4, digest), in_imprint),
               der(2, b"\7"), der(0x18, time), in_info)
    signed = der(0x30, der(2, b"\3"), der(0x31), der(0x30, der(6, bytes.fromhex(content)), der(0xA0, der(4, info))),
                 der(0x31))
    return der(0x30, der(0x30, der(2, status)), der(0x30, der(6, bytes.fromhex(kind)), der(0xA0, signed)), behind)


REAL_TIME = "2026-11-26T10:33:29Z"


def timestamps():
    checkpoint = note_of(one()).encode()
    real = HERE / "token.tsr"
    if real.exists():
        put("good-token", one(tokens=[real.read_bytes()]), tokens=[REAL_TIME])
        cut = real.read_bytes()[:-1]
        bad("timestamp-real-cut", one(tokens=[cut]))
        bad("timestamp-real-over-something-else", parts_of(USUAL, [2], tokens=[real.read_bytes()], signer=LOG),
            checkpoint=lambda t: t + "more\n")
    put("good-token-unsigned", one(tokens=[token(checkpoint)]), tokens=["2026-11-26T08:01:02Z"])
    put("good-tokens-three", one(tokens=[
        token(checkpoint, status=b"\1"), token(checkpoint, time=b"20261126080102.50001Z"),
        token(checkpoint, in_info=der(0x30, der(2, b"\1")) + der(1, b"\xff"))]),
        tokens=["2026-11-26T08:01:02Z", "2026-11-26T08:01:02.50001Z", "2026-11-26T08:01:02Z"])

    def tokens(name, *responses):
        bad("timestamp-" + name, one(tokens=list(responses)))

    tokens("over-something-else", token(checkpoint + b"\n"))
    tokens("over-the-text", token(one()["checkpoint"].encode()))
    tokens("second-over-something-else", token(checkpoint), token(b""))
    tokens("rejected", token(checkpoint, status=b"\2"))
    tokens("waiting", token(checkpoint, status=b"\3"))
    tokens("status-long", token(checkpoint, status=b"\0\0"))
    tokens("status-empty", token(checkpoint, status=b""))
    tokens("no-token", der(0x30, der(0x30, der(2, b"\0"))))
    tokens("other-content", token(checkpoint, kind="2a864886f70d010701"))
    tokens("other-encapsulated", token(checkpoint, content="2a864886f70d010701"))
    tokens("version-2", token(checkpoint, version=b"\2"))
    tokens("sha512", token(checkpoint, algorithm="608648016503040203"))
    tokens("sha1-length", token(checkpoint, digest=bytes(20)))
    tokens("digest-longer", token(checkpoint, digest=sha256(checkpoint) + b"\0"))
    tokens("byte-behind", token(checkpoint) + b"\0")
    tokens("value-behind", token(checkpoint, behind=der(5)))
    tokens("empty", b"")
    tokens("text", b"-----BEGIN TIMESTAMP-----\n")
    tokens("one-byte", b"\x30")
    inner = token(checkpoint)[3:]
    assert token(checkpoint)[:2] == b"\x30\x81"
    tokens("indefinite", b"\x30\x80" + inner + b"\0\0")
    tokens("length-not-shortest", b"\x30\x82\0" + token(checkpoint)[2:3] + inner)
    at = token(checkpoint).index(b"\2\1\0")
    longer = token(checkpoint)[3:at] + b"\2\x81\1\0" + token(checkpoint)[at + 3:]
    longer = longer[:1] + bytes([longer[1] + 1]) + longer[2:]
    tokens("inner-length-not-shortest", der(0x30, longer))
    tokens("more-in-imprint", token(checkpoint, in_imprint=der(5)))
    tokens("length-of-five-bytes", b"\x30\x85\0\0\0\0" + token(checkpoint)[2:3] + inner)
    tokens("length-beyond", b"\x30\x83\xff\xff\xff" + inner)
    tokens("other-tag", b"\x31" + token(checkpoint)[1:])
    for name, time in (("local", b"20261126080102"), ("offset", b"20261126080102+0000"), ("short", b"202611260801Z"),
                       ("empty-fraction", b"20261126080102.Z"), ("fraction-ends-in-0", b"20261126080102.50Z"),
                       ("comma", b"20261126080102,5Z"), ("month-13", b"20261326080102Z"), ("day-31", b"20261131080102Z"),
                       ("hour-24", b"20261126240102Z"), ("second-60", b"20261126080160Z"), ("letters", b"2026112608010xZ"), ("other-digits",
                       "2026112608010\u0662Z".encode()), ("newline", b"20261126080102Z\n"), ("two-points", b"20261126080102.5.5Z")):
        tokens("time-" + name, token(checkpoint, time=time))
