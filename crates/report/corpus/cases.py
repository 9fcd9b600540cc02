"""The bundles of the corpus, one after the other: what each is, and what is wrong with it."""

import json

from make import (
    AS_OF, D, ELSEWHERE, HERE, L, LOG, OLD, ORIGIN, OTHER, P, T, T8, TENANT, TWISTED, W, B, Ledger, Secret, b64, canonical,
    encoded, file_of, leaf, note_of, parts_of, proof_of, put, sha256, spelled, times, tree, usual, zip_of,
)

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


def put_all():
    good()
    zips()
    manifests()
    scopes()
    checkpoints()
    signatures()
    rotations()
    quorums()
    entries()
    chains()
    proofs()
    payloads()
    counts()
    timestamps()


def good():
    put("good-one", one())
    put("good-first-and-last", parts_of(USUAL, [0, 10]))
    put("good-far-apart", parts_of(USUAL, [1, 9]))
    put("good-range", parts_of(USUAL, range(2, 7), {"kind": "range", "from": 2, "to": 7}))
    put("good-range-of-one", parts_of(USUAL, [10], {"kind": "range", "from": 10, "to": 11}))
    put("good-all", whole())
    put("good-query", parts_of(USUAL, [4, 9], {"kind": "query", "text": "select * where x = 'ü\n\"'"}))
    put("good-withheld", parts_of(USUAL, [1, 2, 4], states={1: "withheld", 4: "withheld"}))
    put("good-held-back", one(held_back=2))
    put("good-erased", parts_of(USUAL, [1, 4, 7], states={1: "erased", 4: "erased"}, erasures={1: 7, 4: 7}))
    del_subject = Ledger()
    del_subject.call(subject_ref="x", change=lambda entry: entry.pop("subject_ref"))
    del_subject.add(event_type="erasure", subject_ref="somebody")
    put("good-erased-without-subject", parts_of(del_subject, [0, 1], states={0: "erased"}, erasures={0: 1}))
    put("good-gap", parts_of(USUAL, [3]))
    odd = Ledger()
    for detail in ({"count": "3"}, {"count": True}, {"count": -1}, {"count": 2**53 - 1}, {"count": {"a": 1}}):
        odd.add(event_type="gap", detail=detail)
    odd.add(event_type="gap")
    stated = whole(odd)
    stated["completeness"]["gaps"] = [
        {"count": 2**53 - 1 if n == 3 else 0, "seq": n} for n in range(6)]
    put("good-gaps-with-odd-counts", stated)
    alone = Ledger()
    alone.call()
    put("good-ledger-of-one", whole(alone))
    put("good-cosigned-by-one", edit(one(), cosigners=[lambda t: W[0].cosigned(t, T)]), cosigned={0: T})
    both = [lambda t: W[1].cosigned(t, T + 60), lambda t: W[0].cosigned(t, T)]
    put("good-cosigned-by-two", edit(whole(), cosigners=both), cosigned={0: T, 1: T + 60})
    put("good-cosigned-and-unknown-lines", edit(one(), cosigners=[
        *both, lambda t: W[3].line(bytes(72)), lambda t: OTHER.signed(t), lambda t: Secret("log", "someone.example").signed(t),
        lambda t: W[0].cosigned(t, T)]),
        cosigned={0: T, 1: T + 60})
    put("good-cosigned-long-ago", edit(one(), cosigners=[lambda t: W[0].cosigned(t, 1), lambda t: W[1].cosigned(t, 2)]),
        cosigned={0: 1, 1: 2})
    put("good-extension-lines", edit(one(), checkpoint=lambda t: t + "more\nand — more\n"))
    put("good-log-line-twice", edit(one(), cosigners=[lambda t: LOG.signed(t), lambda t: LOG.signed(t, b"again")]))
    put("good-64-signatures", edit(one(), cosigners=[lambda t: Secret("log", f"n{n}").line(b"x") for n in range(63)]))
    put("good-keys-rotated", one(keys=[OLD.vkey, LOG.vkey]))
    put("good-old-key", one(signer=OLD, keys=[LOG.vkey, OLD.vkey]))
    put("good-custody-empty", edit(one(), custody=[]))
    put("good-other-certificate", edit(one(), replace={"certificate.md": b"", "README.md": b"\0\xff", "index.html": b""}))
    names = Ledger()
    names.add(detail={"\uff5e": 1, "\U0001f980": 2, "\x7f": "\x1f\u2028\\\"/", "": [[], {}, True, False, -5, 2**53 - 1]})
    put("good-names-by-utf16", whole(names))
    empty = Ledger()
    empty.add(detail={}, redaction={"counts": {}, "policy": ""})
    put("good-empty-members", whole(empty))
    deep = Ledger()
    deep.add(spell=lambda e: canonical({**e, "detail": {"a": 0}}).replace('{"a":0}', '{"a":' + "[" * 125 + "]" * 125 + "}"))
    put("good-nested-127", whole(deep))
    every = Ledger()
    side = {"bytes": 0, "commitment": "x", "content_type": "t", "partial": True}
    text = {name: "x" for name in (
        "action api_key_id app_version cost_usd environment error_type finish_reason model model_checksum model_returned "
        "operation parent_event_id price_ref provider region request_id retention_class route session_id span_id "
        "subject_ref system_fingerprint trace_id usage_source").split()}
    numbers = {name: 2**53 - 1 for name in
               "cached_tokens completion_tokens latency_ms prompt_tokens reasoning_tokens ttft_ms".split()}
    every.add(**text, **numbers, actor={"id": "a", "kind": "k"}, attempt=2**32 - 1, detail={"a": 1}, http_status=65535,
              input=side, output=dict(side), params={"a": -5, "b": True, "c": "1.5"},
              redaction={"counts": {"a": 1}, "policy": "p"}, refs=["r"], resource={"id": "i", "type": "t"},
              source={"id": "g", "incarnation": "i", "seq": 2, "start_seq": 1, "time": "t"}, status="timeout", stream=True,
              tools=["a"])
    every.salts[0], every.bodies[0] = {}, {}
    put("good-every-member", whole(every, states={0: "withheld"}))
    largest = Ledger()
    largest.add(detail={"x": ""})
    room = 61_440 - len(largest.raw[0])
    largest = Ledger()
    largest.add(detail={"x": "y" * room})
    put("good-largest-entry", whole(largest))
    huge(2**53 - 1, 2**52 + 5, "good-2-53-entries")
    # A point outside the prime-order group is a public key; whether it verifies is decided without the cofactor.
    put("good-mixed-order-key", twisted(lambda k: k % 8 == 0))


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


def zips():
    def set_local(at, **fields):
        return {"local": lambda n, header: header.update(fields) if n == at else None}

    def set_central(at, **fields):
        return {"central": lambda n, header: header.update(fields) if n == at else None}

    def set_both(at, **fields):
        return {**set_local(at, **fields), **set_central(at, **fields)}

    for field, value in (("needed", 10), ("flags", 0), ("flags", 0x0808), ("flags", 0x0801), ("method", 8), ("time", 1),
                         ("date", 0), ("extra", b"\1\0\0\0"), ("crc", 0)):
        shown = f"{field}-{value.hex() if isinstance(value, bytes) else value}"
        bad(f"zip-{shown}", one(), zip=set_both(3, **{field: value}))
        bad(f"zip-local-{shown}", one(), zip=set_local(3, **{field: value}))
        bad(f"zip-central-{shown}", one(), zip=set_central(3, **{field: value}))
    for field, value in (("made", 20 | 3 << 8), ("comment", b"x"), ("disk", 1), ("internal", 1), ("external", 0o644 << 16),
                         ("offset", 0), ("size", 0), ("packed", 0), ("size", 2**32 - 1), ("name", b"scope.jsoN")):
        shown = f"{field}-{value.decode() if isinstance(value, bytes) else value}"
        bad(f"zip-central-{shown}", one(), zip=set_central(3, **{field: value}))
    bad("zip-local-name", one(), zip=set_local(3, name=b"scope.jsoN"))
    bad("zip-local-size", one(), zip=set_local(3, size=1, packed=1))
    bad("zip-data-descriptor", one(), zip=set_local(3, tail=b"PK\7\10" + bytes(12)))
    bad("zip-gap-between-members", one(), zip={"between": b"\0"})
    bad("zip-hidden-local-member", one(), zip={"between": zip_of([("README.md", b"other")])[:44]})
    bad("zip-directory-in-other-order", one(), zip={"order": lambda rows: rows[:2][::-1] + rows[2:]})
    bad("zip-directory-row-twice", one(), zip={"order": lambda rows: rows[:1] + rows[:1] + rows[1:]})
    bad("zip-directory-row-missing", one(), zip={"order": lambda rows: rows[:3] + rows[4:]})
    for field, value in (("disk", 1), ("disk_cd", 1), ("here", 1), ("count", 1), ("comment", b"comment"), ("length", 5),
                         ("start", 0), ("before", b"PK\6\6" + bytes(52)), ("start", 2**32 - 1), ("count", 65535)):
        shown = f"{field}-{len(value) if isinstance(value, bytes) else value}"
        bad(f"zip-end-{shown}", one(), zip={"end": lambda last, f=field, v=value: last.update({f: v})})
    bad("zip-end-both-counts", one(), zip={"end": lambda last: last.update(here=14, count=14)})
    bad("zip-bytes-before-directory", one(), zip={"behind": b"\0"})
    bad("zip-bytes-in-directory", one(), zip={"end": lambda last: last.update(before=b"x", length=last["length"] + 1)})
    other = file_of(parts_of(USUAL, [4]))
    bad("zip-two-one-behind-the-other", one(), file=lambda raw: other + raw)
    bad("zip-two-in-the-comment", one(), file=lambda raw: raw[:-2] + len(other).to_bytes(2, "little") + other)
    bad("zip-byte-before", one(), file=lambda raw: b"\0" + raw)
    bad("zip-byte-behind", one(), file=lambda raw: raw + b"\0")
    bad("zip-cut", one(), file=lambda raw: raw[:-1])
    bad("zip-half", one(), file=lambda raw: raw[: len(raw) // 2])
    bad("zip-first-byte-cut", one(), file=lambda raw: raw[1:])
    bad("zip-empty", one(), file=lambda raw: b"")
    bad("zip-end-only", one(), file=lambda raw: b"PK\5\6" + bytes(18))
    bad("zip-not-one", one(), file=lambda raw: b"{}\n" * 20)

    def named(name, change):
        bad("zip-members-" + name, one(), names=change)

    named("extra", lambda m: m + [("extra.txt", b"x")])
    named("extra-in-front", lambda m: [("a", b"x")] + m)
    named("extra-empty", lambda m: m[:4] + [("evil.js", b"")] + m[4:])
    named("swapped", lambda m: [m[1], m[0]] + m[2:])
    named("without-openings", lambda m: [x for x in m if x[0] != "openings.jsonl"])
    named("without-readme", lambda m: m[1:])
    named("without-certificate", lambda m: m[:-1])
    named("scope-twice", lambda m: m[:4] + [m[3]] + m[4:])
    named("payload-twice", lambda m: [x for y in m for x in ([y, y] if y[0] == "payloads/2.request" else [y])])
    named("directory", lambda m: m[:9] + [("payloads/", b"")] + m[9:])
    named("upper-case", lambda m: [("readme.md", m[0][1])] + m[1:])
    named("backslash", lambda m: [(n.replace("/", "\\"), r) for n, r in m])
    named("up", lambda m: [(n.replace("payloads/", "payloads/../payloads/"), r) for n, r in m])
    named("leading-zero", lambda m: [(n.replace("/2.", "/02."), r) for n, r in m])
    named("sign", lambda m: [(n.replace("/2.", "/+2."), r) for n, r in m])
    named("no-number", lambda m: [(n.replace("/2.", "/."), r) for n, r in m])
    named("other-digits", lambda m: [(n.replace("/2.", "/\u0662."), r) for n, r in m])
    named("ending", lambda m: [(n.replace(".request", ".Request"), r) for n, r in m])
    named("name-with-newline", lambda m: [(n.replace(".response", ".response\n"), r) for n, r in m])
    named("name-with-nul", lambda m: [(n.replace(".response", ".response\0"), r) for n, r in m])
    named("number-too-large", lambda m: m[:11] + [(f"payloads/{2**53}.request", b"")] + m[11:])
    named("response-first", lambda m: m[:9] + [m[10], m[9]] + m[11:])
    named("payloads-behind", lambda m: m[:9] + m[11:] + m[9:11])
    named("token-without-certificates", lambda m: m[:11] + [("timestamps/0.tsr", b"")] + m[11:])
    named("certificates-without-token", lambda m: m[:11] + [("timestamps/0.pem", b"")] + m[11:])
    pair = [("timestamps/1.tsr", b""), ("timestamps/1.pem", b"")]
    named("tokens-from-one", lambda m: m[:11] + pair + m[11:])
    zero = [("timestamps/0.tsr", b""), ("timestamps/0.pem", b"")]
    named("tokens-twice", lambda m: m[:11] + zero + zero + m[11:])
    named("tokens-before-payloads", lambda m: m[:9] + zero + m[9:])
    named("pem-before-tsr", lambda m: m[:11] + zero[::-1] + m[11:])
    bad("zip-members-payloads-out-of-order", parts_of(USUAL, [2, 4]),
        names=lambda m: m[:9] + m[11:13] + m[9:11] + m[13:])
    bad("zip-members-without-manifest", one(), hidden=lambda m: m[:-1])
    bad("zip-members-manifest-first", one(), hidden=lambda m: m[-1:] + m[:-1])
    bad("zip-members-manifest-twice", one(), hidden=lambda m: m + m[-1:])


def bad(name, parts, **changes):
    put(name, edit(parts, **changes), name.split("-")[0])


def swap(members, name, change):
    return [(n, change(raw) if n == name else raw) for n, raw in members]


def manifests():
    bad("manifest-payload-changed", one(), hidden=lambda m: swap(m, "payloads/2.response", lambda raw: raw[:-1] + b"!"))
    two = parts_of(USUAL, [2, 9])
    bad("manifest-payloads-swapped", two, hidden=lambda m: swap(
        swap(m, "payloads/2.response", lambda _: dict(m)["payloads/9.request"]),
        "payloads/9.request", lambda _: dict(m)["payloads/2.response"]))
    bad("manifest-html-changed", one(), hidden=lambda m: swap(m, "index.html", lambda raw: b"<script>"))
    bad("manifest-unlisted-payload", one(), hidden=lambda m: m[:11] + [("payloads/3.request", b"")] + m[11:])
    bad("manifest-unlisted-tokens", one(), hidden=lambda m: m[:11] + [
        ("timestamps/0.tsr", b""), ("timestamps/0.pem", b"")] + m[11:])
    bad("manifest-names-more", one(), manifest=lambda t: t + "0" * 64 + "  extra\n")
    bad("manifest-names-itself", one(), manifest=lambda t: t + "0" * 64 + "  MANIFEST.note\n")
    bad("manifest-line-missing", one(), manifest=lambda t: "".join(t.splitlines(True)[:-1]))
    bad("manifest-out-of-order", one(), manifest=lambda t: "".join(sorted(t.splitlines(True))))
    bad("manifest-line-twice", one(), manifest=lambda t: t + t.splitlines(True)[-1])
    bad("manifest-upper-case", one(), manifest=lambda t: "".join(
        line[:64].upper() + line[64:] for line in t.splitlines(True)))
    bad("manifest-one-space", one(), manifest=lambda t: t.replace("  ", " "))
    bad("manifest-binary-star", one(), manifest=lambda t: t.replace("  ", " *"))
    bad("manifest-empty-line", one(), manifest=lambda t: t + "\n")
    bad("manifest-empty-line-inside", one(), manifest=lambda t: t.replace("\n", "\n\n", 1))
    bad("manifest-carriage-returns", one(), manifest=lambda t: t.replace("\n", "\r\n"))
    bad("manifest-two-signatures", one(), note=lambda n: n + n.splitlines(True)[-1])
    bad("manifest-two-signers", one(), note=lambda n: n + OTHER.signed(n[: n.rindex("\n\n") + 1]))
    bad("manifest-no-signature", one(), note=lambda n: n[: n.rindex("\n\n") + 2])
    bad("manifest-unfinished", one(), note=lambda n: n[:-1])
    bad("manifest-line-behind", one(), note=lambda n: n + "\n")
    bad("manifest-hyphen", one(), note=lambda n: n.replace("\u2014", "-"))
    bad("manifest-base64-without-padding", one(), note=lambda n: n.replace("=", ""))
    bad("manifest-not-utf8", one(), note=lambda n: n.encode() + b"\xff")
    bad("manifest-empty", one(), note=lambda n: b"")
    bad("manifest-byte-order-mark", one(), note=lambda n: "\ufeff" + n)


def scopes():
    def spelt(name, change):
        parts = one()
        line = change(canonical(parts["scope"]))
        parts["replace"]["scope.json"] = line if isinstance(line, bytes) else line.encode()
        bad("scope-" + name, parts)

    def valued(name, change):
        parts = one()
        change(parts["scope"])
        bad("scope-" + name, parts)

    spelt("no-newline", lambda s: s)
    spelt("two-lines", lambda s: s + "\n" + s + "\n")
    spelt("empty-line-behind", lambda s: s + "\n\n")
    spelt("empty", lambda s: "")
    spelt("newline-only", lambda s: "\n")
    spelt("blank", lambda s: s.replace(":", ": ", 1) + "\n")
    spelt("carriage-return", lambda s: s + "\r\n")
    spelt("byte-order-mark", lambda s: "\ufeff" + s + "\n")
    spelt("not-utf8", lambda s: s.encode().replace(b"a test", b"a t\xffst") + b"\n")
    spelt("overlong-utf8", lambda s: s.encode().replace(b"a test", b"a t\xc1\xa5st") + b"\n")
    spelt("surrogate-utf8", lambda s: s.encode().replace(b"a test", b"a t\xed\xa0\x80st") + b"\n")
    spelt("surrogate-escaped", lambda s: s.replace("a test", "a t\\ud800st") + "\n")
    spelt("escape", lambda s: s.replace("a test", "a t\\u0065st") + "\n")
    spelt("escaped-slash", lambda s: s.replace("0198f3a2", "\\/0198f3a2") + "\n")
    spelt("escape-upper-case", lambda s: s.replace("a test", "a t\\u001Fst") + "\n")
    spelt("control-character", lambda s: s.replace("a test", "a\ttest") + "\n")
    spelt("member-twice", lambda s: s[:-1] + ',"selection":' + canonical({"kind": "ids", "text": "x"}) + "}\n")
    spelt("member-twice-inside", lambda s: s.replace('"erased":0', '"erased":1,"erased":0') + "\n")
    spelt("other-order", lambda s: s.replace('"erased":0,"matched":1', '"matched":1,"erased":0') + "\n")
    spelt("fraction", lambda s: s.replace('"matched":1', '"matched":1.0') + "\n")
    spelt("exponent", lambda s: s.replace('"matched":1', '"matched":1e0') + "\n")
    spelt("leading-zero", lambda s: s.replace('"matched":1', '"matched":01') + "\n")
    spelt("plus", lambda s: s.replace('"matched":1', '"matched":+1') + "\n")
    spelt("minus-zero", lambda s: s.replace('"erased":0', '"erased":-0') + "\n")
    spelt("nan", lambda s: s.replace('"matched":1', '"matched":NaN') + "\n")
    spelt("many-digits", lambda s: s.replace('"matched":1', '"matched":1' + "0" * 5000) + "\n")
    spelt("trailing-comma", lambda s: s.replace('"withheld":0', '"withheld":0,') + "\n")
    spelt("deep", lambda s: "[" * 5_000 + "]" * 5_000 + "\n")
    spelt("null", lambda s: "null\n")
    spelt("text", lambda s: '"x"\n')
    spelt("list", lambda s: "[" + s + "]\n")
    spelt("positional", lambda s: canonical([[0, 1, 1, 0], "indelible evidence v1", [ORIGIN, TENANT], AS_OF, "x", "y",
                                             ["ids", "x"]]) + "\n")
    valued("counts-positional", lambda s: s.update(counts=[0, 1, 1, 0]))
    valued("ledger-positional", lambda s: s.update(ledger=[ORIGIN, TENANT]))
    valued("selection-positional", lambda s: s.update(selection=["ids", "x"]))
    valued("extra-member", lambda s: s.update(note="x"))
    valued("extra-count", lambda s: s["counts"].update(lost=0))
    valued("extra-in-ledger", lambda s: s["ledger"].update(name="x"))
    valued("missing-member", lambda s: s.pop("purpose"))
    valued("missing-count", lambda s: s["counts"].pop("matched"))
    valued("missing-tenant", lambda s: s["ledger"].pop("tenant"))
    valued("purpose-null", lambda s: s.update(purpose=None))
    valued("purpose-number", lambda s: s.update(purpose=1))
    valued("made-at-list", lambda s: s.update(made_at=[]))
    valued("count-text", lambda s: s["counts"].update(matched="1"))
    valued("count-true", lambda s: s["counts"].update(matched=True))
    valued("count-negative", lambda s: s["counts"].update(withheld=-1))
    valued("count-2-53", lambda s: s["counts"].update(matched=2**53))
    valued("count-2-64", lambda s: s["counts"].update(matched=2**64))
    valued("format-2", lambda s: s.update(format="indelible evidence v2"))
    valued("range-empty", lambda s: s.update(selection={"kind": "range", "from": 2, "to": 2}))
    valued("range-backwards", lambda s: s.update(selection={"kind": "range", "from": 3, "to": 2}))
    valued("range-with-text", lambda s: s.update(selection={"kind": "range", "from": 2, "to": 3, "text": "x"}))
    valued("range-without-to", lambda s: s.update(selection={"kind": "range", "from": 2}))
    valued("range-text", lambda s: s.update(selection={"kind": "range", "from": "2", "to": "3"}))
    valued("range-negative", lambda s: s.update(selection={"kind": "range", "from": -1, "to": 3}))
    valued("ids-with-from", lambda s: s.update(selection={"kind": "ids", "from": 2, "text": "x"}))
    valued("ids-without-text", lambda s: s.update(selection={"kind": "ids"}))
    valued("kind-unknown", lambda s: s.update(selection={"kind": "all", "text": "x"}))
    valued("kind-upper-case", lambda s: s.update(selection={"kind": "Ids", "text": "x"}))
    valued("kind-missing", lambda s: s.update(selection={"text": "x"}))
    valued("selection-text", lambda s: s.update(selection="ids"))


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


def entries():
    def spelt(name, spell, check="entries", count=1):
        ledger = Ledger()
        ledger.add(spell=spell)
        put((f"{check}-" if check else "good-") + name, whole(ledger), check)

    def valued(name, **fields):
        spelt(name, lambda e: canonical({**e, **fields}))

    def dropped(name):
        spelt("without-" + name, lambda e: canonical({k: v for k, v in e.items() if k != name}))

    bad("entries-none", one(), entries=[], openings=[], payloads=[])
    bad("entries-blank-line", one(), entries=lambda e: e + [""])
    bad("entries-unfinished", one(), entries=lambda e: e, replace={"entries.jsonl": USUAL.raw[2]})
    bad("entries-carriage-return", one(), replace={"entries.jsonl": USUAL.raw[2] + b"\r\n"})
    bad("entries-twice", one(), entries=lambda e: e + e)
    bad("entries-reordered", whole(), entries=lambda e: e[:4] + [e[5], e[4]] + e[6:])
    bad("entries-other-tenant", one(), scope=lambda s: {**s, "ledger": {"origin": ORIGIN, "tenant": "acme2"}})
    mixed = usual(e10={"tenant_id": "other"})
    bad("entries-one-of-other-tenant", whole(mixed))
    bad("entries-range-with-hole", parts_of(USUAL, [2, 3, 5], {"kind": "range", "from": 2, "to": 6}))
    bad("entries-range-without-first", parts_of(USUAL, [3, 4], {"kind": "range", "from": 2, "to": 5}))
    bad("entries-range-without-last", parts_of(USUAL, [2, 3], {"kind": "range", "from": 2, "to": 5}))
    bad("entries-range-with-one-more", parts_of(USUAL, [2, 3, 4], {"kind": "range", "from": 2, "to": 4}))
    bad("entries-range-beyond-size", parts_of(USUAL, [9, 10], {"kind": "range", "from": 9, "to": 12}))
    bad("entries-range-with-one-replaced", parts_of(USUAL, [2, 3, 9], {"kind": "range", "from": 2, "to": 5}))
    ledger = Ledger()
    ledger.add()
    ledger.add(change=lambda e: e.update(seq=2))
    bad("entries-beyond-size", whole(ledger))
    bad("entries-beyond-size-as-ids", parts_of(ledger, [0, 1]))
    for name in ("event_id", "event_type", "prev_hash", "seq", "tenant_id", "timestamp", "v"):
        dropped(name)
    valued("unknown-member", w=1)
    valued("version-2", v=2)
    valued("version-0", v=0)
    valued("version-true", v=True)
    valued("version-text", v="1")
    valued("null", model=None)
    valued("model-number", model=1)
    valued("status-unknown", status="fine")
    valued("stream-text", stream="true")
    valued("attempt-2-32", attempt=2**32)
    valued("http-status-2-16", http_status=2**16)
    valued("latency-negative", latency_ms=-1)
    valued("latency-2-53", latency_ms=2**53)
    valued("seq-text", seq="0")
    valued("seq-negative", seq=-1)
    valued("detail-list", detail=[1])
    valued("detail-number-2-53", detail={"a": 2**53})
    valued("detail-null", detail={"a": [None]})
    valued("params-list-inside", params={"a": [1]})
    valued("params-object", params={"a": {}})
    valued("tools-number", tools=["a", 1])
    valued("refs-text", refs="x")
    valued("source-positional", source=["g", "i", 1])
    valued("source-unknown-member", source={"id": "g", "incarnation": "i", "seq": 1, "x": 1})
    valued("source-without-seq", source={"id": "g", "incarnation": "i"})
    valued("actor-positional", actor=["a", "k"])
    valued("resource-positional", resource=["a", "k"])
    valued("redaction-positional", redaction=[{"a": 1}, "p"])
    valued("input-positional", input=[0, "sha256:"])
    valued("input-without-commitment", input={"bytes": 0})
    valued("input-bytes-negative", input={"bytes": -1, "commitment": "x"})
    valued("output-partial-false", output={"bytes": 0, "commitment": "x", "partial": False})
    valued("refs-empty", refs=[])
    valued("tools-empty", tools=[])
    valued("params-empty", params={})
    valued("input-partial-number", input={"bytes": 0, "commitment": "x", "partial": 1})
    valued("output-unknown-member", output={"bytes": 0, "commitment": "x", "hash": "y"})
    spelt("list", lambda e: canonical(list(e.values())))
    spelt("text", lambda e: '"x"')
    spelt("not-json", lambda e: "hello")
    spelt("blank", lambda e: canonical(e).replace(",", ", ", 1))
    spelt("blank-in-front", lambda e: " " + canonical(e))
    spelt("member-twice", lambda e: canonical(e).replace('"seq":0', '"seq":0,"seq":0'))
    spelt("member-twice-other-value", lambda e: canonical(e).replace('"seq":0', '"seq":1,"seq":0'))
    spelt("member-twice-in-detail", lambda e: canonical({**e, "detail": {"a": 1}}).replace('"a":1', '"a":1,"a":1'))
    spelt("order", lambda e: json.dumps(dict(reversed(e.items())), separators=(",", ":")))
    spelt("order-by-code-point", lambda e: canonical({**e, "detail": {"a": 0}}).replace(
        '"a":0', '"\uff5e":1,"\U0001f980":2'))
    spelt("escape-not-needed", lambda e: canonical({**e, "model": "A"}).replace('"A"', '"\\u0041"'))
    spelt("escape-non-ascii", lambda e: canonical({**e, "model": "A"}).replace('"A"', '"\\u00fc"'))
    spelt("surrogate-alone", lambda e: canonical({**e, "model": "A"}).replace('"A"', '"\\ud800"'))
    spelt("surrogate-bytes", lambda e: canonical({**e, "model": "\ud800"}))
    spelt("not-utf8", lambda e: canonical({**e, "model": "A"}).encode().replace(b'"A"', b'"\xff"'))
    spelt("byte-order-mark", lambda e: "\ufeff" + canonical(e))
    spelt("control-character", lambda e: canonical({**e, "model": "A"}).replace('"A"', '"\x1f"'))
    spelt("fraction", lambda e: canonical({**e, "detail": {"a": 0}}).replace('"a":0', '"a":1.5'))
    spelt("fraction-zero", lambda e: canonical({**e, "detail": {"a": 0}}).replace('"a":0', '"a":0.0'))
    spelt("exponent", lambda e: canonical({**e, "detail": {"a": 0}}).replace('"a":0', '"a":1e3'))
    spelt("minus-zero", lambda e: canonical({**e, "detail": {"a": 0}}).replace('"a":0', '"a":-0'))
    spelt("infinity", lambda e: canonical({**e, "detail": {"a": 0}}).replace('"a":0', '"a":Infinity'))
    spelt("nested-128", lambda e: canonical({**e, "detail": {"a": 0}}).replace(
        '{"a":0}', '{"a":' + "[" * 126 + "]" * 126 + "}"))
    spelt("nested-20000", lambda e: canonical({**e, "detail": {"a": 0}}).replace(
        '{"a":0}', '{"a":' + "[" * 20_000 + "]" * 20_000 + "}"))
    long = Ledger()
    long.add(detail={"x": ""})
    room = 61_440 - len(long.raw[0])
    spelt("too-long", lambda e: canonical({**e, "detail": {"x": "y" * (room + 1)}}))


def chains():
    def linked(name, change, pick=None):
        ledger = Ledger()
        for n in range(4):
            ledger.add(change=change if n == 2 else lambda e: None)
        parts = whole(ledger) if pick is None else parts_of(ledger, pick)
        put(name, parts, "chain" if name.startswith("chain") else None)

    linked("chain-other-hash", lambda e: e.update(prev_hash="sha256:" + "0" * 64))
    linked("chain-upper-case", lambda e: e.update(prev_hash="sha256:" + e["prev_hash"][7:].upper()))
    linked("chain-without-prefix", lambda e: e.update(prev_hash=e["prev_hash"][7:]))
    linked("chain-empty", lambda e: e.update(prev_hash=""))
    linked("chain-two-before", lambda e: e.update(prev_hash="sha256:" + "1" * 64), [1, 2])
    linked("good-link-not-shown", lambda e: e.update(prev_hash="x"), [0, 2, 3])
    # An entry that is taken from elsewhere in the ledger, with the number of the one that it hides.
    ledger = usual()
    hidden = json.loads(ledger.raw[4])
    other = json.loads(ledger.raw[9])
    other.update(seq=4, prev_hash=hidden["prev_hash"])
    parts = whole(ledger)
    parts["entries"][4] = canonical(other).encode()
    bad("chain-entry-replaced", parts)


def proofs():
    def hashes(name, parts, change):
        bad("proof-" + name, parts, proof=change)

    hashes("too-long", one(), lambda p: p + [b64(sha256(b"x"))])
    hashes("last-twice", one(), lambda p: p + p[-1:])
    hashes("too-short", one(), lambda p: p[:-1])
    hashes("empty", one(), lambda p: [])
    hashes("swapped", one(), lambda p: [p[1], p[0]] + p[2:])
    hashes("as-rfc9162", one(), lambda p: p[::-1])
    hashes("one-hash-changed", one(), lambda p: [b64(sha256(b"x"))] + p[1:])
    hashes("unused-bits", one(), lambda p: [p[0][:-2] + chr(ord(p[0][-2]) + 1) + "="] + p[1:])
    hashes("without-padding", one(), lambda p: [p[0][:-1]] + p[1:])
    hashes("hex", one(), lambda p: ["0" * 64] + p[1:])
    hashes("short-hash", one(), lambda p: [b64(bytes(31))] + p[1:])
    hashes("blank-line", one(), lambda p: p + [""])
    hashes("blank-behind", one(), lambda p: [p[0] + " "] + p[1:])
    hashes("not-utf8", one(), lambda p: [b"\xff" * 44] + p[1:])
    hashes("hash-where-none-is-needed", whole(), lambda p: [b64(sha256(b"x"))])
    bad("proof-unfinished", one(), replace={"proof.txt": "\n".join(one()["proof"]).encode()})
    bad("proof-carriage-returns", one(), replace={"proof.txt": "\r\n".join(one()["proof"] + [""]).encode()})
    bad("proof-of-another-entry", one(), proof=[b64(h) for h in proof_of([leaf(r) for r in USUAL.raw], [4])])
    bad("proof-of-another-size", one(), proof=[b64(h) for h in proof_of([leaf(r) for r in USUAL.raw[:10]], [2])])
    bad("proof-of-fewer-entries", parts_of(USUAL, [2, 4]),
        proof=[b64(h) for h in proof_of([leaf(r) for r in USUAL.raw], [2])])
    changed = json.loads(USUAL.raw[2])
    changed["model"] = "another"
    bad("proof-entry-changed", one(), entries=[canonical(changed).encode()])
    moved = json.loads(USUAL.raw[10])
    moved["seq"] = 8
    bad("proof-entry-moved", parts_of(USUAL, [10]), entries=[canonical(moved).encode()])
    # The ledger itself has two entries with exchanged numbers: their places in the tree do not fit.
    ledger = usual()
    a, b = (json.loads(ledger.raw[n]) for n in (3, 7))
    a["seq"], b["seq"] = 7, 3
    ledger.raw[3], ledger.raw[7] = canonical(a).encode(), canonical(b).encode()
    parts = parts_of(ledger, [3, 7])
    parts["entries"].reverse()
    bad("proof-numbers-exchanged", parts)
    # An inner node shown as if it were an entry's leaf hash: kept apart by the first byte.
    leaves = [leaf(r) for r in USUAL.raw]
    bad("proof-node-as-entry", one(), checkpoint=f"{ORIGIN}\n11\n{b64(sha256(leaves[0], leaves[1]))}\n")
    bad("proof-root-of-another-tree", one(), checkpoint=f"{ORIGIN}\n11\n{b64(tree(leaves[:10]))}\n")
    fork = usual(e6={"model": "forked"})
    bad("proof-of-a-fork", parts_of(fork, [2], root=tree(leaves)))
    bad("proof-size-stretched", parts_of(USUAL, [10], size=12, root=tree(leaves)))
    bad("proof-size-doubled", parts_of(
        USUAL, [2], size=22, root=tree(leaves), proof=proof_of(leaves, [2])))


def payloads():
    def opened(name, change, pick=(1, 2, 4), **more):
        parts = parts_of(USUAL, list(pick), **more)
        change(parts)
        bad("payload-" + name, parts)

    def first(**fields):
        return lambda p: p["openings"][0].update(fields)

    def file_of_side(parts, at, side, **fields):
        parts["openings"][at][side].update(fields)

    def exchange(parts, a, b):
        bodies = dict(parts["payloads"])
        parts["payloads"] = [(n, bodies[{a: b, b: a}.get(n, n)]) for n, _ in parts["payloads"]]

    def replace(parts, name, raw):
        parts["payloads"] = [(n, raw if n == name else r) for n, r in parts["payloads"]]

    def drop(parts, *names):
        parts["payloads"] = [(n, r) for n, r in parts["payloads"] if n not in names]

    opened("opening-missing", lambda p: p["openings"].pop())
    opened("opening-twice", lambda p: p["openings"].insert(1, p["openings"][0]))
    opened("openings-out-of-order", lambda p: p["openings"].reverse())
    opened("opening-of-missing-entry", lambda p: p["openings"].append({"seq": 9, "state": "withheld"}))
    opened("opening-of-entry-without-sides", lambda p: p["openings"].append({"seq": 10, "state": "withheld"}), (4, 10))
    opened("withheld-of-another", lambda p: p["openings"][0].update(seq=2), (1,), states={1: "withheld"})
    opened("output-of-nothing", lambda p: p["openings"][0].update(
        output={"file": "payloads/5.response", "salt": "00" * 32}), (5,))
    opened("no-openings", lambda p: p.update(openings=[]))
    opened("blank-line", lambda p: p["openings"].append(b""))
    opened("unfinished", lambda p: p["replace"].update({"openings.jsonl": spelled(p["openings"])[:-1]}))
    opened("line-too-long", lambda p: p["replace"].update(
        {"openings.jsonl": canonical({"seq": 1, "state": "x" * 5000}).encode() + b"\n"}))
    opened("state-unknown", first(state="lost"))
    opened("state-upper-case", first(state="Disclosed"))
    opened("state-missing", lambda p: p["openings"][0].pop("state"))
    opened("state-list", first(state=[]))
    opened("unknown-member", first(note="x"))
    opened("erasure-null", first(erasure=None))
    opened("not-canonical", lambda p: p["openings"].__setitem__(
        0, json.dumps(p["openings"][0], sort_keys=True)))
    opened("member-twice", lambda p: p["openings"].__setitem__(
        0, canonical(p["openings"][0]).replace('"seq":1', '"seq":1,"seq":1')))
    opened("file-positional", lambda p: p["openings"][0].update(
        input=list(p["openings"][0]["input"].values())))
    opened("opening-positional", lambda p: p["openings"].__setitem__(0, list(p["openings"][0].values())))
    opened("salt-upper-case", lambda p: file_of_side(p, 0, "input", salt=p["openings"][0]["input"]["salt"].upper()))
    opened("salt-short", lambda p: file_of_side(p, 0, "input", salt="00" * 31))
    opened("salt-long", lambda p: file_of_side(p, 0, "input", salt="00" * 33))
    opened("salt-not-hex", lambda p: file_of_side(p, 0, "input", salt="zz" * 32))
    opened("salt-other", lambda p: file_of_side(p, 0, "input", salt="00" * 32))
    opened("salt-number", lambda p: file_of_side(p, 0, "input", salt=0))
    opened("salts-exchanged", lambda p: (
        file_of_side(p, 0, "input", salt=p["openings"][0]["output"]["salt"])))
    opened("salt-takes-bytes", lambda p: replace(p, "payloads/1.request", b""))
    opened("file-of-another", lambda p: file_of_side(p, 0, "input", file="payloads/2.request"))
    opened("file-of-other-side", lambda p: file_of_side(p, 0, "input", file="payloads/1.response"))
    opened("file-somewhere", lambda p: file_of_side(p, 0, "input", file="scope.json"))
    opened("file-extra-member", lambda p: file_of_side(p, 0, "input", bytes=1))
    opened("input-missing-in-opening", lambda p: (p["openings"][0].pop("input"), drop(p, "payloads/1.request")))
    opened("input-missing-file-left", lambda p: p["openings"][0].pop("input"))
    opened("output-that-the-entry-lacks", lambda p: (p["openings"][0].update(
        output={"file": "payloads/5.response", "salt": "00" * 32}), p["payloads"].append(("payloads/5.response", b""))),
        (5,))
    opened("file-missing", lambda p: drop(p, "payloads/1.response"))
    opened("files-missing", lambda p: p.update(payloads=[]))
    opened("file-that-nobody-names", lambda p: p["payloads"].append(("payloads/9.request", b"x")))
    opened("file-of-withheld", lambda p: (p["openings"].__setitem__(0, {"seq": 1, "state": "withheld"})))
    opened("withheld-with-file", lambda p: p["openings"][0].update(state="withheld"))
    opened("withheld-with-erasure", lambda p: p["openings"].__setitem__(
        0, {"erasure": 7, "seq": 1, "state": "withheld"}), (1, 7), states={1: "withheld"})
    opened("exchanged-sides", lambda p: exchange(p, "payloads/1.request", "payloads/1.response"))
    opened("exchanged-entries", lambda p: exchange(p, "payloads/2.response", "payloads/4.response"))
    opened("same-bytes-other-entry", lambda p: exchange(p, "payloads/1.request", "payloads/2.request")
           or file_of_side(p, 0, "input", salt=p["openings"][1]["input"]["salt"]))
    opened("changed", lambda p: replace(p, "payloads/2.response", dict(p["payloads"])["payloads/2.response"][::-1]))
    opened("longer", lambda p: replace(p, "payloads/2.response", dict(p["payloads"])["payloads/2.response"] + b"\n"))
    opened("shorter", lambda p: replace(p, "payloads/2.response", dict(p["payloads"])["payloads/2.response"][:-1]))
    opened("erased-without-erasure", lambda p: p["openings"][0].pop("erasure"), (1, 7), states={1: "erased"}, erasures={1: 7})
    opened("erasure-not-here", lambda p: None, (1,), states={1: "erased"}, erasures={1: 7})
    opened("erasure-beyond-size", lambda p: None, (1, 7), states={1: "erased"}, erasures={1: 70})
    opened("erasure-of-other-type", lambda p: None, (1, 3), states={1: "erased"}, erasures={1: 3})
    opened("erasure-of-other-subject", lambda p: None, (2, 7), states={2: "erased"}, erasures={2: 7})
    opened("erasure-without-subject", lambda p: None, (1, 8), states={1: "erased"}, erasures={1: 8})
    opened("erasure-text", lambda p: p["openings"][0].update(erasure="7"), (1, 7), states={1: "erased"}, erasures={1: 7})
    opened("erasure-negative", lambda p: p["openings"][0].update(erasure=-7), (1, 7), states={1: "erased"}, erasures={1: 7})
    opened("erased-with-file", lambda p: p["openings"][0].update(
        input={"file": "payloads/1.request", "salt": "00" * 32}), (1, 7), states={1: "erased"}, erasures={1: 7})
    opened("disclosed-with-erasure", lambda p: p["openings"][0].update(erasure=7), (1, 7))
    for name, change in (("commitment-upper-case", lambda c: "sha256:" + c[7:].upper()),
                         ("commitment-without-prefix", lambda c: c[7:]), ("commitment-empty", lambda c: "")):
        ledger = Ledger()
        ledger.call()
        entry = json.loads(ledger.raw[0])
        entry["input"]["commitment"] = change(entry["input"]["commitment"])
        ledger.raw[0] = canonical(entry).encode()
        bad("payload-" + name, whole(ledger))
    ledger = Ledger()
    ledger.call()
    entry = json.loads(ledger.raw[0])
    entry["output"]["bytes"] += 1
    ledger.raw[0] = canonical(entry).encode()
    bad("payload-bytes-stated-wrong", whole(ledger))


def counts():
    def scoped(name, **fields):
        parts = parts_of(USUAL, [1, 2, 3, 7], states={1: "erased", 2: "withheld"}, erasures={1: 7})
        parts["scope"]["counts"].update(fields)
        bad("counts-" + name, parts)

    def said(name, change):
        parts = parts_of(USUAL, [1, 2, 3])
        change(parts)
        bad("counts-" + name, parts)

    scoped("produced-more", produced=5, matched=5)
    scoped("produced-less", produced=3)
    scoped("matched-less", matched=3)
    scoped("withheld-none", withheld=0)
    scoped("withheld-more", withheld=2)
    scoped("erased-none", erased=0)
    scoped("states-exchanged", erased=0, withheld=2)
    said("size-other", lambda p: p["completeness"].update(size=12))
    said("size-text", lambda p: p["completeness"].update(size="11"))
    said("gap-hidden", lambda p: p["completeness"].update(gaps=[]))
    said("gap-smaller", lambda p: p["completeness"].update(gaps=[{"count": 1, "seq": 3}]))
    said("gap-elsewhere", lambda p: p["completeness"].update(gaps=[{"count": 3, "seq": 2}]))
    said("gap-twice", lambda p: p["completeness"].update(gaps=[{"count": 3, "seq": 3}] * 2))
    said("gap-positional", lambda p: p["completeness"].update(gaps=[[3, 3]]))
    said("gap-extra-member", lambda p: p["completeness"].update(gaps=[{"cause": "x", "count": 3, "seq": 3}]))
    said("gaps-number", lambda p: p["completeness"].update(gaps=1))
    said("completeness-positional", lambda p: p["replace"].update(
        {"completeness.json": canonical([AS_OF, [{"count": 3, "seq": 3}], 11]).encode() + b"\n"}))
    said("as-of-missing", lambda p: p["completeness"].pop("as_of"))
    said("as-of-number", lambda p: p["completeness"].update(as_of=1))
    said("extra-member", lambda p: p["completeness"].update(complete=True))
    said("completeness-empty", lambda p: p["replace"].update({"completeness.json": b""}))
    said("completeness-unfinished", lambda p: p["replace"].update(
        {"completeness.json": canonical(p["completeness"]).encode()}))
    said("completeness-blank", lambda p: p["replace"].update(
        {"completeness.json": canonical(p["completeness"]).replace(":", ": ").encode() + b"\n"}))
    said("custody-extra-member", lambda p: p["custody"][0].update(why="x"))
    said("custody-missing-member", lambda p: p["custody"][0].pop("by"))
    said("custody-number", lambda p: p["custody"][0].update(by=1))
    said("custody-list", lambda p: p["custody"].append(["a", "b", "c"]))
    said("custody-blank-line", lambda p: p["custody"].append(b""))
    said("custody-not-canonical", lambda p: p["custody"].append('{"at":"a", "by":"b","what":"c"}'))
    said("custody-unfinished", lambda p: p["replace"].update({"custody.jsonl": spelled(p["custody"])[:-1]}))
    said("custody-line-too-long", lambda p: p["custody"].append({"at": "a", "by": "b", "what": "x" * 4096}))
    longest = {"at": "a", "by": "b", "what": ""}
    longest["what"] = "x" * (4096 - len(canonical(longest)))
    put("good-longest-custody-line", edit(one(), custody=[longest]))
    huge(2**53, 2**52 + 5, "counts-size-2-53", "counts", 2**53 - 1)
    huge(2**64 - 1, 2**53 - 1, "counts-size-2-64", "counts", 11)


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
                       ("comma", b"20261126080102,5Z"), ("letters", b"2026112608010xZ"), ("other-digits",
                       "2026112608010\u0662Z".encode()), ("newline", b"20261126080102Z\n"), ("two-points", b"20261126080102.5.5Z")):
        tokens("time-" + name, token(checkpoint, time=time))


REAL_TIME = "2026-11-26T10:33:29Z"
