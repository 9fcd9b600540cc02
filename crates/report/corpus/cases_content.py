"""What was signed: entries, their chain and proof, payloads, counts."""

import json

from bundles import USUAL, one, whole, edit, bad, huge
from make import AS_OF, DATES_THAT_ARE_NONE, ORIGIN, Ledger, b64, canonical, leaf, parts_of, proof_of, put, sha256, spelled, tree, usual


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
    valued("detail-empty", detail={})
    valued("redaction-counts-empty", redaction={"counts": {}, "policy": "p"})
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
    linked("good-link-not-shown", lambda e: e.update(prev_hash="sha256:" + "1" * 64), [0, 2, 3])
    # No link, and all the same no hash.
    for name, prev in (("no-hash", "x"), ("empty", ""), ("short", "sha256:" + "1" * 63), ("long", "sha256:" + "1" * 65),
                       ("upper-case", "sha256:" + "A" * 64), ("other-hash", "sha512:" + "1" * 64), ("newline", "sha256:" + "1" * 64 + "\n"),
                       ("other-digits", "sha256:" + "1" * 63 + "\u0661")):
        linked("chain-not-shown-" + name, lambda e, prev=prev: e.update(prev_hash=prev), [0, 2, 3])
    for name, prev in (("something", "sha256:" + "0" * 63 + "1"), ("no-hash", "0" * 64)):
        first = Ledger()
        first.add(change=lambda e, prev=prev: e.update(prev_hash=prev))
        put("chain-first-links-to-" + name, whole(first), "chain")
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
    for what, date in DATES_THAT_ARE_NONE:
        said("as-of-" + what, lambda p, date=date: p["completeness"].update(as_of=date))
        said("custody-at-" + what, lambda p, date=date: p["custody"][0].update(at=date))
    put("counts-as-of-other-than-last-entry", edit(whole(), completeness=lambda c: {**c, "as_of": AS_OF}), "counts")
    dated = whole()
    dated["completeness"]["as_of"] += " "
    put("counts-as-of-last-entry-and-blank", dated, "counts")
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
    said("custody-not-canonical", lambda p: p["custody"].append(f'{{"at":"{AS_OF}", "by":"b","what":"c"}}'))
    said("custody-unfinished", lambda p: p["replace"].update({"custody.jsonl": spelled(p["custody"])[:-1]}))
    said("custody-line-too-long", lambda p: p["custody"].append({"at": AS_OF, "by": "b", "what": "x" * 4096}))
    longest = {"at": AS_OF, "by": "b", "what": ""}
    longest["what"] = "x" * (4096 - len(canonical(longest)))
    put("good-longest-custody-line", edit(one(), custody=[longest]))
    huge(2**53, 2**52 + 5, "counts-size-2-53", "counts", 2**53 - 1)
    huge(2**64 - 1, 2**53 - 1, "counts-size-2-64", "counts", 11)
