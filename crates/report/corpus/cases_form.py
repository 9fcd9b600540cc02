"""Broken in its form: the zip, the manifest, the scope."""

from bundles import USUAL, one, bad
from make import AS_OF, DATES_THAT_ARE_NONE, ORIGIN, OTHER, TENANT, canonical, file_of, parts_of, zip_of


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
    for what, made_at in DATES_THAT_ARE_NONE:
        valued("made-at-" + what, lambda s, made_at=made_at: s.update(made_at=made_at))
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
