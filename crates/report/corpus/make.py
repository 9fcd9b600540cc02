#!/usr/bin/env python3
"""Writes the corpus of good and broken evidence bundles, and the verdict that each must get.

    python3 make.py [--all] [DIRECTORY]

Deterministic, standard library only; it shares no code with the programs that are tested with it. What a name begins
with is the check that must fail without a policy or with one that asks for it (docs/formats/evidence.md); everything up to
that check is right, and signed: who makes these has the log's key. `expected.json` has, for each bundle and each policy that can be read ("" is none), exit code and `check`,
and where it holds the whole verdict; with the other policies the exit code is 2. In the repository is a part of the corpus,
to keep it small; `--all` writes all of it. `token.tsr` and `token.pem` are real ones of a throw-away authority (see `token.sh`).
"""

import base64
import binascii
import hashlib
import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
ORDER_OF_CHECKS = (
    "zip manifest scope checkpoint signature quorum entries chain proof payload counts timestamp".split()
)
SOME_MAX = 16
LARGE_MIN_BYTES = 40_000
ORIGIN = "ledger.example/0198f3a2-6c1d-7e40-9b52-3f0a7d5c8e11"
TENANT = "acme"
AS_OF = "2026-11-26T08:00:00.000000Z"
DATES_THAT_ARE_NONE = [
    ("empty", ""), ("words", "for ever"), ("date-alone", "2026-11-26"), ("offset", "2026-11-26T08:00:00+00:00"),
    ("without-zone", "2026-11-26T08:00:00"), ("blank", "2026-11-26 08:00:00Z"), ("lower-case", "2026-11-26t08:00:00z"),
    ("month-0", "2026-00-26T08:00:00Z"), ("month-13", "2026-13-26T08:00:00Z"), ("day-0", "2026-11-00T08:00:00Z"),
    ("day-31", "2026-11-31T08:00:00Z"), ("no-leap-year", "2026-02-29T08:00:00Z"), ("no-leap-century", "1900-02-29T08:00:00Z"),
    ("hour-24", "2026-11-26T24:00:00Z"), ("minute-60", "2026-11-26T08:60:00Z"), ("second-60", "2026-11-26T08:00:60Z"),
    ("point-alone", "2026-11-26T08:00:00.Z"), ("ten-digits", "2026-11-26T08:00:00.0123456789Z"),
    ("other-digits", "202\u0666-11-26T08:00:00Z"), ("newline", "2026-11-26T08:00:00Z\n"), ("year-5", "12026-11-26T08:00:00Z"),
]


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def b64(raw):
    return base64.b64encode(raw).decode()


# ------------------------------------------------------------------------------------------------- Ed25519 (affine)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
I = pow(2, (P - 1) // 4, P)


def plus(a, b):
    """Twisted Edwards addition in projective coordinates (X : Y : Z)."""
    (x1, y1, z1), (x2, y2, z2) = a, b
    zz, xx, yy = z1 * z2 % P, x1 * x2 % P, y1 * y2 % P
    e, zz2 = D * xx * yy % P, zz * zz % P
    f, g = (zz2 - e) % P, (zz2 + e) % P
    x = zz * f * ((x1 + y1) * (x2 + y2) - xx - yy) % P
    return x, zz * g * (yy + xx) % P, f * g % P


def times(n, point):
    result = (0, 1, 1)
    for bit in bin(n)[2:]:
        result = plus(result, result)
        if bit == "1":
            result = plus(result, point)
    return result


def encoded(point):
    z = pow(point[2], -1, P)
    x, y = point[0] * z % P, point[1] * z % P
    return (y + ((x & 1) << 255)).to_bytes(32, "little")


def with_y(y, odd):
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if x * x % P != x2:
        x = x * I % P
    assert x * x % P == x2
    return (P - x if (x & 1) != odd else x), y, 1


B = with_y(4 * pow(5, -1, P) % P, 0)
# A point of order 8: the torsion part of any point outside the prime-order group.
T8 = next(t for y in range(2, 50) for t in [None] if pow((y * y - 1) * pow(D * y * y + 1, -1, P), (P - 1) // 2, P) == 1
          for t in [times(L, with_y(y, 0))] if encoded(times(4, t)) != encoded((0, 1, 1)))


class Secret:
    """A key with a name: kind 1 signs notes, kind 4 cosigns checkpoints."""

    def __init__(self, label, name=ORIGIN, kind=1, torsion=False):
        wide = hashlib.sha512(sha256(label.encode())).digest()
        a = int.from_bytes(wide[:32], "little")
        self.a = (a & (1 << 254) - 8) | 1 << 254
        self.prefix, self.name, self.kind = wide[32:], name, kind
        point = times(self.a, B)
        self.public = encoded(plus(point, T8) if torsion else point)

    @property
    def id(self):
        return sha256(self.name.encode(), b"\n", bytes([self.kind]), self.public)[:4]

    @property
    def vkey(self):
        return f"{self.name}+{self.id.hex()}+{b64(bytes([self.kind]) + self.public)}"

    def k(self, r, message):
        return int.from_bytes(hashlib.sha512(r + self.public + message).digest(), "little") % L

    def sign(self, message, nonce=b""):
        r = int.from_bytes(hashlib.sha512(self.prefix + nonce + message).digest(), "little") % L
        big_r = encoded(times(r, B))
        return big_r + ((r + self.k(big_r, message) * self.a) % L).to_bytes(32, "little")

    def line(self, signature):
        return f"\u2014 {self.name} {b64(self.id + signature)}\n"

    def signed(self, text, nonce=b""):
        return self.line(self.sign(text.encode(), nonce))

    def cosigned(self, text, time, signed_time=None):
        stated = time if signed_time is None else signed_time
        return self.line(time.to_bytes(8, "big") + self.sign(f"cosignature/v1\ntime {stated}\n{text}".encode()))


LOG = Secret("log")
OLD = Secret("old log")
OTHER = Secret("another log")
ELSEWHERE = Secret("log elsewhere", "elsewhere.example")
TWISTED = Secret("twisted", torsion=True)
W = [Secret(f"witness {n}", f"witness{n}.example", 4) for n in range(1, 5)]
T = 1_795_000_000  # when the first witness cosigned


# ----------------------------------------------------------------------------------------------------- entries, trees


def canonical(value):
    """RFC 8785, written out."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(canonical(name) + ":" + canonical(value[name]) for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def leaf(raw):
    return sha256(b"\0", raw)


def half(width):
    k = 1
    while k * 2 < width:
        k *= 2
    return k


def tree(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = half(len(leaves))
    return sha256(b"\1", tree(leaves[:k]), tree(leaves[k:]))


def proof_of(leaves, chosen, start=0):
    if not any(start <= n < start + len(leaves) for n in chosen):
        return [tree(leaves)]
    if len(leaves) == 1:
        return []
    k = half(len(leaves))
    return proof_of(leaves[:k], chosen, start) + proof_of(leaves[k:], chosen, start + k)


class Ledger:
    """Entries as bytes, and what opens their commitments."""

    def __init__(self):
        self.raw, self.salts, self.bodies = [], {}, {}

    def add(self, change=lambda entry: None, spell=canonical, **fields):
        n = len(self.raw)
        prev = leaf(self.raw[-1]) if n else bytes(32)
        entry = {
            "event_id": f"019ab2c3-{n:04x}-7abc-8def-0123456789ab",
            "event_type": "heartbeat",
            "prev_hash": "sha256:" + prev.hex(),
            "seq": n,
            "tenant_id": TENANT,
            "timestamp": f"2026-11-22T03:14:{n % 60:02}.000000Z",
            "v": 1,
            **fields,
        }
        change(entry)
        written = spell(entry)
        self.raw.append(written if isinstance(written, bytes) else written.encode("utf-8", "surrogatepass"))
        return n

    def call(self, request=b"{}", response=b"ok", **fields):
        n = len(self.raw)
        fields = {"event_type": "llm_request", "status": "completed", "subject_ref": f"sub_{n % 3:032x}", **fields}
        self.salts[n], self.bodies[n] = {}, {}
        for side, body in (("input", request), ("output", response)):
            if body is not None:
                salt = sha256(f"salt {n} {side}".encode())
                self.salts[n][side], self.bodies[n][side] = salt, body
                stated = {"bytes": len(body), "commitment": "sha256:" + sha256(salt, body).hex()}
                fields.setdefault(side, {**stated, "content_type": "application/json"})
        return self.add(**fields)

    def opening(self, n, state="disclosed"):
        if state != "disclosed":
            return {"seq": n, "state": state}
        opening = {"seq": n, "state": state}
        for side, salt in self.salts[n].items():
            ending = "request" if side == "input" else "response"
            opening[side] = {"file": f"payloads/{n}.{ending}", "salt": salt.hex()}
        return opening


CHAT = canonical({"messages": [{"content": "You are terse.", "role": "system"},
                               {"content": "Is it raining? <script>alert(1)</script>", "role": "user"}],
                  "model": "m", "stream": True}).encode()
STREAM = b"".join(
    b"data: " + canonical({"choices": [{"delta": {"content": part}, "index": 0}]}).encode() + b"\n\n"
    for part in ("No", ", the sun", " shines.", "<img src=x onerror=alert(1)>")
) + b"data: [DONE]\n\n"
ANSWER = canonical({"choices": [{"finish_reason": "stop", "index": 0,
                                 "message": {"content": "Nein \u2014 die Sonne scheint.", "role": "assistant"}}]}).encode()
MESSAGES = canonical({"max_tokens": 9, "messages": [{"content": [{"text": "Hello", "type": "text"}], "role": "user"}],
                      "model": "claude", "system": "Be kind."}).encode()
MESSAGE = canonical({"content": [{"text": "Hello back.", "type": "text"},
                                 {"id": "t1", "input": {"city": "Oslo"}, "name": "weather", "type": "tool_use"}],
                     "role": "assistant", "type": "message"}).encode()


def usual(**changes):
    """Eleven entries. `changes` (e4=…) are more members of one of them."""
    ledger = Ledger()
    def of(n):
        return changes.get(f"e{n}", {})
    ledger.add(event_type="genesis", detail={"format": 1, "keys": [LOG.vkey], "origin": ORIGIN}, **of(0))
    ledger.call(CHAT, STREAM, model="m", **of(1))
    ledger.call(CHAT, ANSWER, model="m", **of(2))
    ledger.add(event_type="gap", detail={"cause": "spool_full", "count": 3}, **of(3))
    ledger.call(MESSAGES, MESSAGE, model="claude", **of(4))
    ledger.call(bytes(range(256)), None, event_type="request", **of(5))
    ledger.call(b"", b"", **of(6))
    ledger.add(**{"event_type": "erasure", "subject_ref": f"sub_{1:032x}", **of(7)})
    ledger.add(**{"event_type": "erasure", **of(8)})
    ledger.call(CHAT, ANSWER, **of(9))
    ledger.add(**of(10))
    return ledger


# ------------------------------------------------------------------------------------------------------------- zip


def zip_of(members, local=lambda at, fields: None, central=lambda at, fields: None, end=None, between=b"", behind=b"",
           order=None):
    """`local`, `central` and `end` change the fields of headers; `between` is put before the second member, `behind`
    behind the last."""
    body, rows = b"", []
    for at, (name, raw) in enumerate(members):
        name = name.encode("utf-8") if isinstance(name, str) else name
        crc = binascii.crc32(raw)
        if at == 1:
            body += between
        common = dict(needed=20, flags=0x0800, method=0, time=0, date=0x21, crc=crc, packed=len(raw), size=len(raw),
                      name=name, extra=b"", tail=b"")
        here = dict(common)
        local(at, here)
        row = dict(common, made=20, comment=b"", disk=0, internal=0, external=0, offset=len(body))
        central(at, row)
        rows.append(row)
        body += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", here["needed"], here["flags"], here["method"], here["time"],
                            here["date"], here["crc"], here["packed"], here["size"], len(here["name"]),
                            len(here["extra"])) + here["name"] + here["extra"] + raw + here["tail"]
    body += behind
    directory = b""
    for row in order(rows) if order else rows:
        directory += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", row["made"], row["needed"], row["flags"],
                                 row["method"], row["time"], row["date"], row["crc"], row["packed"], row["size"],
                                 len(row["name"]), len(row["extra"]), len(row["comment"]), row["disk"],
                                 row["internal"], row["external"], row["offset"])
        directory += row["name"] + row["extra"] + row["comment"]
    last = dict(disk=0, disk_cd=0, here=len(rows), count=len(rows), length=len(directory), start=len(body), comment=b"",
                before=b"")
    if end:
        end(last)
    return body + directory + last["before"] + struct.pack(
        "<4sHHHHIIH", b"PK\5\6", last["disk"], last["disk_cd"], last["here"], last["count"], last["length"],
        last["start"], len(last["comment"])) + last["comment"]


# ---------------------------------------------------------------------------------------------------------- bundles


def parts_of(ledger, pick, selection=None, states=None, erasures=None, tokens=(), signer=LOG, keys=None, held_back=0,
             leaves=None, size=None, proof=None, root=None):
    """A bundle before it is put together: everything in it can still be changed."""
    states, erasures = states or {}, erasures or {}
    raw = [ledger.raw[n] for n in pick]
    openings, payloads = [], []
    for n in pick:
        if n not in ledger.salts:
            continue
        state = states.get(n, "disclosed")
        opening = ledger.opening(n, state)
        if state == "erased":
            opening["erasure"] = erasures[n]
        openings.append(opening)
        if state == "disclosed":
            for side, body in ledger.bodies[n].items():
                payloads.append((f"payloads/{n}.{'request' if side == 'input' else 'response'}", body))
    leaves = [leaf(one) for one in ledger.raw] if leaves is None else leaves
    size = len(leaves) if size is None else size
    gaps = []
    for one in raw:
        try:
            entry = json.loads(one)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and entry.get("event_type") == "gap":
            gaps.append({"count": entry.get("detail", {}).get("count", 0), "seq": entry["seq"]})
    count = {state: sum(o["state"] == state for o in openings) for state in ("disclosed", "withheld", "erased")}
    root = tree(leaves) if root is None else root
    as_of = AS_OF
    if size <= len(ledger.raw):
        try:
            as_of = json.loads(ledger.raw[size - 1])["timestamp"]
        except (ValueError, RecursionError, LookupError, TypeError):
            pass
    return {
        "scope": {
            "counts": {"erased": count["erased"], "matched": len(pick) + held_back, "produced": len(pick),
                       "withheld": count["withheld"]},
            "format": "indelible evidence v1",
            "ledger": {"origin": ORIGIN, "tenant": TENANT},
            "made_at": AS_OF,
            "made_by": "operator",
            "purpose": "a test",
            "selection": selection or {"kind": "ids", "text": "entries " + " ".join(map(str, pick))},
        },
        "entries": raw,
        "proof": [b64(one) for one in (proof_of(leaves, pick) if proof is None else proof)],
        "checkpoint": f"{ORIGIN}\n{size}\n{b64(root)}\n",
        "signer": signer,
        "manifest_signer": None,
        "also": [],          # keys that sign the checkpoint as well
        "failing": [],       # keys with a line that does not verify
        "cosigners": [],
        "keys": [signer.vkey] if keys is None else keys,
        "keys_wrong": False,  # with other lines in keys.txt the signatures would be right
        "openings": openings,
        "payloads": payloads,
        "tokens": list(tokens),
        "completeness": {"as_of": as_of, "gaps": gaps, "size": size},
        "custody": [{"at": AS_OF, "by": "operator", "what": "made this bundle"}],
        "replace": {},       # member → bytes, once everything is spelled
        "names": lambda members: members,  # list of members → list of members, before the manifest
        "hidden": lambda members: members,  # the same, behind its back
        "manifest": lambda text: text,
        "note": lambda note: note,
        "zip": {},
        "file": lambda raw: raw,
        "counts": {**count, "entries": len(pick)},
    }


def spelled(lines):
    return b"".join((line if isinstance(line, bytes) else (line if isinstance(line, str) else canonical(line)).encode())
                    + b"\n" for line in lines)


def note_of(parts):
    text = parts["checkpoint"]
    lines = [key.signed(text) for key in (parts["signer"], *parts["also"])]
    lines += [key.signed("of another text") for key in parts["failing"]]
    return text + "\n" + "".join(lines) + "".join(one(text) if callable(one) else one for one in parts["cosigners"])


def file_of(parts):
    members = [
        ("README.md", b"How to check this by hand.\n"),
        ("index.html", b"<!doctype html>\n"),
        ("verify.py", b"# stand-in\n"),
        ("scope.json", spelled([parts["scope"]])),
        ("entries.jsonl", spelled(parts["entries"])),
        ("proof.txt", spelled(parts["proof"])),
        ("checkpoint", note_of(parts).encode()),
        ("keys.txt", spelled(parts["keys"])),
        ("openings.jsonl", spelled(parts["openings"])),
        *parts["payloads"],
    ]
    for at, token in enumerate(parts["tokens"]):
        members.append((f"timestamps/{at}.tsr", token))
        members.append((f"timestamps/{at}.pem", (HERE / "token.pem").read_bytes() if at == 0 else b""))
    members += [
        ("completeness.json", spelled([parts["completeness"]])),
        ("custody.jsonl", spelled(parts["custody"])),
        ("certificate.md", b"A draft.\n"),
    ]
    members = [(name, parts["replace"].get(name, raw)) for name, raw in members]
    members = parts["names"](members)
    text = "".join(f"{sha256(raw).hex()}  {name}\n" for name, raw in members)
    text = parts["manifest"](text)
    signer = parts["manifest_signer"] or parts["signer"]
    note = parts["note"](text + "\n" + signer.signed(text))
    members = parts["hidden"](members + [("MANIFEST.note", note if isinstance(note, bytes) else note.encode())])
    return parts["file"](zip_of(members, **parts["zip"]))


SIZE_MAX = 2**64 - 1


def always(*keys):
    return {key.vkey: (0, SIZE_MAX) for key in keys}


# Name → text; the log's keys in it with the first and the last size that each may sign, None if it cannot be read; the quorum.
POLICIES = {
    "log.policy": (f"# the log alone\nlog {LOG.vkey} https://log.example/\nquorum none\n", always(LOG), None),
    "one.policy": (f"log {LOG.vkey}\nwitness first {W[0].vkey}\nquorum first\n", always(LOG), lambda w: 0 in w),
    "two-of-three.policy": (
        f"log {LOG.vkey}\nlog {OLD.vkey}\n\nwitness a {W[0].vkey}\nwitness b {W[1].vkey}\nwitness c {W[2].vkey}\n"
        "group some 2 a b c\n\tgroup\tall all some\nquorum all\n",
        always(LOG, OLD), lambda w: len(w & {0, 1, 2}) >= 2),
    "other-key.policy": (f"log {OTHER.vkey}\nquorum none\n", always(OTHER), None),
    "elsewhere.policy": (f"log {Secret('log', 'elsewhere.example').vkey}\nquorum none\n", {}, None),
    "twisted.policy": (f"log {TWISTED.vkey}\nlog {LOG.vkey}\nquorum none", always(TWISTED, LOG), None),
    "sizes.policy": (
        f"#sizes 0 5\nlog {OLD.vkey}\n\n\t #sizes\t5   - \n# the newer key\n\nlog {LOG.vkey}\n"
        f"log {ELSEWHERE.vkey}\nquorum none\n",
        {OLD.vkey: (0, 5), LOG.vkey: (5, SIZE_MAX)}, None),
    # The #sizes of one key are not those of the next; what only looks like such a line is a comment.
    "sizes-hole.policy": (
        f"#sizes 0 3\nwitness a {W[0].vkey}\nlog {OLD.vkey}\nlog {OTHER.vkey}\n#sizes 0 0\nlog {TWISTED.vkey}\n"
        f"#sizes 11 11\n#sizes: 0 1\n# sizes 0 1\n#sizes0 1\n#SIZES 0 1\n##sizes 0 1\n#sizes\u00a00 1\nlog {LOG.vkey}\n"
        "quorum none\n",
        {OLD.vkey: (0, 3), **always(OTHER), TWISTED.vkey: (0, 0), LOG.vkey: (11, 11)}, None),
    "sizes-large.policy": (
        f"#sizes 0 {2**53}\nlog {OLD.vkey}\n#sizes {2**53 + 1} {SIZE_MAX}\nlog {LOG.vkey}\nquorum none\n",
        {OLD.vkey: (0, 2**53), LOG.vkey: (2**53 + 1, SIZE_MAX)}, None),
    "no-quorum-line.policy": (f"log {LOG.vkey}\n", None, None),
    "undefined-member.policy": (f"log {LOG.vkey}\ngroup g any a\nwitness a {W[0].vkey}\nquorum g\n", None, None),
    "member-twice.policy": (f"log {LOG.vkey}\nwitness a {W[0].vkey}\ngroup g 2 a a\nquorum g\n", None, None),
    "witness-as-log.policy": (f"log {W[0].vkey}\nquorum none\n", None, None),
    "small-order.policy": (
        "log ledger.example+"
        + sha256(b"ledger.example\n\x01", encoded(T8))[:4].hex() + "+" + b64(b"\1" + encoded(T8)) + "\nquorum none\n",
        None, None),
    "key-id.policy": ("log " + LOG.vkey.replace(LOG.id.hex(), "00000000") + "\nquorum none\n", None, None),
    "carriage-return.policy": (f"log {LOG.vkey}\r\nquorum none\r\n", None, None),
    "group-of-none.policy": (f"log {LOG.vkey}\ngroup g all\nquorum g\n", None, None),
    "log-twice.policy": (f"log {LOG.vkey}\nlog {LOG.vkey}\nquorum none\n", None, None),
    "sizes-behind.policy": (f"log {LOG.vkey}\n#sizes 0 -\nquorum none\n", None, None),
    **{f"sizes-{name}.policy": (f"{lines}\nlog {LOG.vkey}\nquorum none\n", None, None) for name, lines in {
        "no-number": "#sizes",
        "one-number": "#sizes 0",
        "three-numbers": "#sizes 0 5 11",
        "comment-behind": "#sizes 0 - # all",
        "turned": "#sizes 6 5",
        "turned-beyond-2-53": f"#sizes {2**53 + 1} {2**53}",
        "leading-zero": "#sizes 00 11",
        "leading-zero-last": "#sizes 0 011",
        "2-64": f"#sizes 0 {2**64}",
        "from-2-64": f"#sizes {2**64} -",
        "21-digits": "#sizes 0 100000000000000000000",
        "from-dash": "#sizes - 11",
        "sign": "#sizes 0 +11",
        "minus": "#sizes -1 11",
        "hex": "#sizes 0 0xff",
        "exponent": "#sizes 0 1e3",
        "fraction": "#sizes 0.0 11",
        "underscore": "#sizes 0 1_1",
        "other-digits": "#sizes \u0660 -",
        "indented": "\t#sizes 0",
        "twice": "#sizes 0 -\n#sizes 0 -",
        "twice-apart": f"#sizes 0 5\n\n# comment\nwitness a {W[0].vkey}\n#sizes 5 -",
    }.items()},
}

CORPUS, EXPECTED = {}, {}


def is_signed_for(parts, logs):
    """Whether the signatures over a bundle satisfy a policy with these keys of the log."""
    size = int(parts["checkpoint"].split("\n")[1])
    holding = {vkey for vkey, (first, last) in logs.items() if first <= size <= last}
    recent = {vkey for vkey, (_, last) in logs.items() if size <= last}
    signers = {key.vkey for key in (parts["signer"], *parts["also"])}
    failing = {key.vkey for key in parts["failing"]}
    manifest_signer = parts["manifest_signer"] or parts["signer"]
    return bool(signers & holding) and not failing & holding and manifest_signer.vkey in recent


def put(name, parts, check=None, cosigned=None, spoiled=frozenset(), tokens=()):
    """Takes a bundle in. `check`: what fails without a policy. `cosigned`: witness → time; `spoiled`: witnesses with a line
    that does not verify."""
    raw = file_of(parts)
    assert name not in CORPUS
    CORPUS[name] = raw
    cosigned = cosigned or {}
    expected = {}
    for policy, (_, logs, quorum) in {"": ("", None, None), **POLICIES}.items():
        if policy and logs is None:
            continue
        failed = [] if check is None or policy and check == "signature" and parts["keys_wrong"] else [check]
        known = {n for n in range(4) if policy and W[n].vkey in POLICIES[policy][0]}
        if policy:
            before = check is not None and ORDER_OF_CHECKS.index(check) < ORDER_OF_CHECKS.index("signature")
            if not before and not is_signed_for(parts, logs):
                failed.append("signature")
            if known & set(spoiled) or (quorum and not quorum(set(cosigned) & known)):
                failed.append("quorum")
        first = min(failed, key=ORDER_OF_CHECKS.index, default=None)
        expected[policy] = {"check": first, "exit": 0 if first is None else 1}
        if first is None:
            times = sorted(time for n, time in cosigned.items() if n in known)
            early = (time for time in times if quorum and quorum({n for n in known & set(cosigned) if cosigned[n] <= time}))
            at = next(early, None)
            selection = parts["scope"]["selection"]
            proven = selection["kind"] == "range"
            expected[policy]["verdict"] = {
                "check": None,
                "completeness": {"as_of": parts["completeness"]["as_of"], "from": selection.get("from"), "gaps": len(parts["completeness"]["gaps"]),
                                 "proven": proven, "size": parts["completeness"]["size"], "to": selection.get("to")},
                "counts": parts["counts"],
                "identity": "checked" if policy else "not checked",
                "integrity": "holds",
                "time": {"cosigned": None if at is None else rfc3339(at), "tokens": list(tokens)},
                "what": None,
            }
    EXPECTED[name] = expected


def rfc3339(seconds):
    import datetime
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def some_of(names):
    """Of each check up to SOME_MAX, evenly spaced in the order of `cases.py`, without the large ones; all that are good, and
    all about keys that change."""
    kept, by_check = [], {}
    for name in names:
        check, about, *_ = name.split("-")
        by_check.setdefault("good" if about == "rotated" else check, []).append(name)
    for check, group in by_check.items():
        small = [name for name in group if len(CORPUS[name]) <= LARGE_MIN_BYTES]
        most = len(small) if check == "good" else SOME_MAX
        kept += [small[at * len(small) // min(most, len(small))] for at in range(min(most, len(small)))]
    return sorted(kept)


def main(directory, take_all):
    import cases
    cases.put_all()
    (directory / "policies").mkdir(parents=True, exist_ok=True)
    for old in [*directory.glob("*.zip"), *directory.glob("policies/*.policy")]:
        old.unlink()
    names = sorted(CORPUS) if take_all else some_of(CORPUS)
    for name in names:
        (directory / f"{name}.zip").write_bytes(CORPUS[name])
    for name, (text, _, _) in POLICIES.items():
        (directory / "policies" / name).write_text(text, encoding="utf-8")
    short = {"separators": (",", ":"), "sort_keys": True}
    refused = sorted(name for name, (_, logs, _) in POLICIES.items() if logs is None)
    rows = [f" {json.dumps(name + '.zip')}:{json.dumps(EXPECTED[name], **short)}" for name in names]
    (directory / "expected.json").write_text(
        "{\"bundles\":{\n" + ",\n".join(rows) + f"\n}},\n\"refused_policies\":{json.dumps(refused, **short)}}}\n")
    print(len(names), "bundles,", sum(len(CORPUS[name]) for name in names), "bytes")


if __name__ == "__main__":
    sys.modules["make"] = sys.modules["__main__"]
    paths = [argument for argument in sys.argv[1:] if argument != "--all"]
    main(pathlib.Path(paths[0]) if paths else HERE, "--all" in sys.argv)
