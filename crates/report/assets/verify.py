#!/usr/bin/env python3
"""Checks an evidence bundle of Indelible, offline, with nothing but Python 3.9 or later.

    python3 verify.py BUNDLE.zip [--policy FILE] [--json]

Exit code 0: holds; 1: broken; 2: could not tell. The policy is the auditor's own file of whom to trust (C2SP
tlog-policy). Without one the bundle is only checked against itself, and anybody can make one that agrees with itself.

What is checked, in which order, is docs/formats/evidence.md of Indelible; the functions check_* below are the rows of
its table. Not checked here: who signed an RFC 3161 token (`openssl ts -verify` does that).
"""

import base64
import binascii
import hashlib
import json
import os
import re
import struct
import sys

FORMAT = "indelible evidence v1"

CHUNK_BYTES = 1 << 20
ZIP_MAX_BYTES = (1 << 32) - 1
MEMBERS_MAX = 65_535
NAME_MAX_BYTES = 64
SMALL_MAX_BYTES = 1 << 20
NOTE_MAX_BYTES = 1 << 20
MANIFEST_MAX_BYTES = 8 << 20
SIGNATURES_MAX = 64
KEYS_MAX = 256
ENTRY_MAX_BYTES = 61_440
LINE_MAX_BYTES = 4_096
HASH_LINE_BYTES = 44
DEPTH_MAX = 127
INTEGER_MAX = (1 << 53) - 1
SIZE_MAX = (1 << 64) - 1
POLICY_MAX_BYTES = 262_144
POLICY_ITEMS_MAX = 256


class Broken(Exception):
    """A check failed."""

    def __init__(self, check, what):
        super().__init__(what)
        self.check = check
        self.what = what


class CouldNotTell(Exception):
    """The file or the policy cannot be read."""


class Refused(Exception):
    """Bytes are not in their form. Whoever asked knows which check that breaks."""


# ---------------------------------------------------------------------------------------------------- text encodings


def from_base64(text):
    """Standard alphabet, padding, unused bits zero."""
    try:
        raw = text.encode("ascii")
        decoded = base64.b64decode(raw, validate=True)
    except ValueError:
        raise Refused("not base64") from None
    if base64.b64encode(decoded) != raw:
        raise Refused("base64 in another spelling")
    return decoded


def from_decimal(text, end):
    if not re.fullmatch(r"0|[1-9][0-9]{0,19}", text, re.ASCII) or int(text) >= end:
        raise Refused("not a number")
    return int(text)


def from_utf8(raw):
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("not UTF-8") from None


def _integer(text):
    if len(text) > 17 or abs(int(text)) > INTEGER_MAX:
        raise Refused("a number beyond 2^53-1")
    return int(text)


def _no_fraction(_text):
    raise Refused("a number that is not an integer")


def from_canonical(raw):
    """A value of RFC 8785 JSON without null and fractions: its canonical bytes are the ones given."""
    try:
        value = json.loads(from_utf8(raw), parse_int=_integer, parse_float=_no_fraction, parse_constant=_no_fraction)
        again = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except (ValueError, RecursionError):
        raise Refused("not JSON") from None
    # Members that are doubled, blanks and other escapes do not survive this.
    if again != raw:
        raise Refused("JSON that is not canonical")
    check_order(value)
    return value


def check_order(value):
    """Members are sorted by UTF-16 code units; nothing is null or nested too deep."""
    pending = [(value, 0)]
    while pending:
        value, depth = pending.pop()
        if value is None:
            raise Refused("null")
        if not isinstance(value, (dict, list)):
            continue
        if depth == DEPTH_MAX:
            raise Refused("JSON that is nested too deep")
        if isinstance(value, dict):
            names = [name.encode("utf-16-be") for name in value]
            if any(one >= next_one for one, next_one in zip(names, names[1:])):
                raise Refused("JSON that is not canonical")
            value = value.values()
        pending.extend((item, depth + 1) for item in value)


# ------------------------------------------------------------------------------------------------------------ shapes
# A shape is a function that raises Refused. Objects have exactly the members named.


def text(value):
    if not isinstance(value, str):
        raise Refused("a member is not text")


DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})((?:\.[0-9]{1,9})?)Z"


def is_time(year, month, day, hour, minute, second):
    """Whether there is such a day in the proleptic Gregorian calendar, and such a second in it."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return 1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60 and second < 60


def date(value):
    text(value)
    parts = re.fullmatch(DATE, value)
    if not parts or not is_time(*map(int, parts.groups()[:6])):
        raise Refused("a member is not a time")


def boolean(value):
    if not isinstance(value, bool):
        raise Refused("a member is not true or false")


def number(value):
    below(INTEGER_MAX + 1)(value)


def below(end):
    def shape(value):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < end:
            raise Refused("a member is not a number of its range")

    return shape


def exactly(*words):
    def shape(value):
        if not isinstance(value, str) or value not in words:
            raise Refused("a member is not one of its words")

    return shape


def yes(value):
    if value is not True:
        raise Refused("a member that is only ever true")


def filled(shape):
    """What is empty is absent."""

    def inner(value):
        shape(value)
        if not value:
            raise Refused("an empty member")

    return inner


def listing(item):
    def shape(value):
        if not isinstance(value, list):
            raise Refused("a member is not a list")
        for one in value:
            item(one)

    return shape


def mapping(item=None):
    def shape(value):
        if not isinstance(value, dict):
            raise Refused("a member is not an object")
        for one in value.values():
            if item:
                item(one)

    return shape


def members(required, optional=None):
    optional = optional or {}

    def shape(value):
        if not isinstance(value, dict):
            raise Refused("not an object")
        for name, item in value.items():
            inner = required.get(name) or optional.get(name)
            if inner is None:
                raise Refused("an unknown member")
            inner(item)
        if not all(name in value for name in required):
            raise Refused("a member is missing")

    return shape


def parameter(value):
    if not isinstance(value, (bool, int, str)):
        raise Refused("a parameter is not text, a number, true or false")


SIDE = members({"bytes": number, "commitment": text}, {"content_type": text, "partial": yes})
ENTRY = members(
    {
        "event_id": text,
        "event_type": text,
        "prev_hash": text,
        "seq": number,
        "tenant_id": text,
        "timestamp": text,
        "v": below(2),
    },
    {
        **{
            name: text
            for name in (
                "action api_key_id app_version cost_usd environment error_type finish_reason model model_checksum "
                "model_returned operation parent_event_id price_ref provider region request_id retention_class route "
                "session_id span_id subject_ref system_fingerprint trace_id usage_source"
            ).split()
        },
        **{
            name: number
            for name in "cached_tokens completion_tokens latency_ms prompt_tokens reasoning_tokens ttft_ms".split()
        },
        "actor": members({"id": text, "kind": text}),
        "attempt": below(1 << 32),
        "detail": filled(mapping()),
        "http_status": below(1 << 16),
        "input": SIDE,
        "output": SIDE,
        "params": filled(mapping(parameter)),
        "redaction": members({"counts": filled(mapping(number)), "policy": text}),
        "refs": filled(listing(text)),
        "resource": members({"id": text, "type": text}),
        "source": members(
            {"id": text, "incarnation": text, "seq": number}, {"start_seq": number, "time": text}
        ),
        "status": exactly("completed", "upstream_error", "timeout", "cancelled", "rejected", "interrupted"),
        "stream": boolean,
        "tools": filled(listing(text)),
    },
)


def entry_from(line):
    if len(line) > ENTRY_MAX_BYTES:
        raise Refused("an entry that is too long")
    entry = from_canonical(line)
    ENTRY(entry)
    if entry["v"] != 1:
        raise Refused("an entry of another version")
    return entry


def _selection(value):
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind == "range":
        members({"from": number, "kind": text, "to": number})(value)
        if value["from"] >= value["to"]:
            raise Refused("a range without entries")
    else:
        members({"kind": exactly("ids", "query"), "text": text})(value)


SCOPE = members(
    {
        "counts": members({name: number for name in ("erased", "matched", "produced", "withheld")}),
        "format": exactly(FORMAT),
        "ledger": members({"origin": text, "tenant": text}),
        "made_at": date,
        "made_by": text,
        "purpose": text,
        "selection": _selection,
    }
)
COMPLETENESS = members(
    {"as_of": date, "gaps": listing(members({"count": number, "seq": number})), "size": number}
)
CUSTODY = members({"at": date, "by": text, "what": text})
FILE = members({"file": text, "salt": text})
OPENINGS = {
    "disclosed": members({"seq": number, "state": text}, {"input": FILE, "output": FILE}),
    "withheld": members({"seq": number, "state": text}),
    "erased": members({"erasure": number, "seq": number, "state": text}),
}


def opening_from(line):
    opening = from_canonical(line)
    state = opening.get("state") if isinstance(opening, dict) else None
    if not isinstance(state, str) or state not in OPENINGS:
        raise Refused("an opening without a state")
    OPENINGS[state](opening)
    return opening


def one_line(raw, shape):
    """A file that is one line of canonical JSON."""
    if not raw.endswith(b"\n"):
        raise Refused("it does not end in a line")
    value = from_canonical(raw[:-1])
    shape(value)
    return value


# ----------------------------------------------------------------------------------------------- Ed25519, RFC 8032 §6

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


def _add(a, b):
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * a[3] * b[3] * D % P
    h = 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point = _add(point, point)
        scalar >>= 1
    return result


def _compress(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _decompress(raw):
    """The point, or None if the bytes are not the one spelling of one."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else (0, y, 1, 0)
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT_OF_MINUS_1 % P
    if (x * x - x2) % P:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def _is_small(point):
    """Whether eight times the point is the neutral one."""
    for _ in range(3):
        point = _add(point, point)
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


BASE = _decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def public_point(public):
    point = _decompress(public)
    if point is None or _is_small(point):
        raise Refused("not a public key")
    return point


def ed25519_verifies(public, message, signature):
    if len(signature) != 64:
        return False
    point, r = public_point(public), _decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if r is None or _is_small(r) or s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    negative = (P - point[0], point[1], point[2], P - point[3])
    return _compress(_add(_multiply(s, BASE), _multiply(k, negative))) == signature[:32]


# --------------------------------------------------------------------------------------------------- C2SP signed notes

# Unicode's White_Space.
SPACES = set("\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}


def is_key_name(name):
    return bool(name) and not any(c in SPACES or c == "+" or c < " " for c in name)


class Key:
    """A verifier key: `<name>+<key id>+<base64 of type ‖ public key>`."""

    LOG, WITNESS = 1, 4

    def __init__(self, vkey):
        parts = vkey.split("+", 2)
        if len(parts) != 3:
            raise Refused("not a verifier key")
        self.name, stated, encoded = parts
        typed = from_base64(encoded)
        if not is_key_name(self.name) or len(typed) != 33 or typed[0] not in (Key.LOG, Key.WITNESS):
            raise Refused("not a verifier key")
        self.kind, self.public = typed[0], typed[1:]
        public_point(self.public)
        self.id = hashlib.sha256(self.name.encode("utf-8") + b"\n" + typed).digest()[:4]
        if self.id.hex() != stated:
            raise Refused("the key id is not that of the key")

    def verifies(self, message, signature):
        if self.kind == Key.LOG:
            return ed25519_verifies(self.public, message, signature)
        time = int.from_bytes(signature[:8], "big")
        if len(signature) != 72 or not 0 < time < 1 << 63:
            return False
        return ed25519_verifies(self.public, b"cosignature/v1\ntime %d\n" % time + message, signature[8:])


class Note:
    """A text, and signature lines (name, key id, signature) below it."""

    def __init__(self, raw, most_bytes):
        if len(raw) > most_bytes:
            raise Refused("the note is too long")
        note = from_utf8(raw)
        if any(c < " " and c != "\n" for c in set(note)):
            raise Refused("the note holds a control character")
        end = note.rfind("\n\n")
        if end < 0:
            raise Refused("the note has no empty line")
        self.text, lines = note[: end + 1], note[end + 2 :]
        if not lines.endswith("\n"):
            raise Refused("the note does not end in a signature line")
        lines = lines[:-1].split("\n")
        if len(lines) > SIGNATURES_MAX:
            raise Refused("the note has too many signatures")
        self.signatures = [self._line(line) for line in lines]

    @staticmethod
    def _line(line):
        parts = line.split(" ", 2)
        if len(parts) != 3 or parts[0] != "\u2014" or not is_key_name(parts[1]):
            raise Refused("the note has a line that is no signature")
        signature = from_base64(parts[2])
        if len(signature) < 5:
            raise Refused("the note has a signature without bytes")
        return parts[1], signature[:4], signature[4:]

    def verified(self, keys):
        """(key, signature) for each of the keys that signed, in the order of the lines.

        A line that names one of them and does not verify spoils the note."""
        found = []
        for name, key_id, signature in self.signatures:
            named = [key for key in keys if key.name == name and key.id == key_id]
            if not named:
                continue
            key = named[0]
            if any(other.kind != key.kind or other.public != key.public for other in named):
                raise Refused(f"two different keys are called {name}+{key_id.hex()}")
            if not key.verifies(self.text.encode("utf-8"), signature):
                raise Refused(f"the signature of {name}+{key_id.hex()} does not verify")
            if all(key is not other for other, _ in found):
                found.append((key, signature))
        return found


class Checkpoint:
    """Origin, size and root of a signed tree head."""

    def __init__(self, body):
        lines = body[:-1].split("\n")
        if len(lines) < 3 or not all(lines):
            raise Refused("the checkpoint has too few lines, or an empty one")
        self.origin = lines[0]
        self.size = from_decimal(lines[1], 1 << 64)
        self.root = from_base64(lines[2])
        if len(self.root) != 32:
            raise Refused("the root is no hash")


# ------------------------------------------------------------------------------------------------------ C2SP policies


class Policy:
    """Whom the auditor trusts."""

    def __init__(self, raw):
        self.logs, self.witnesses, self.groups, self.quorum = [], {}, {}, ()
        # For each log, the first and the last size that its key may sign; then what a line says of the next log.
        self._sizes, self._next_sizes = [], None
        self._members = set()
        if len(raw) > POLICY_MAX_BYTES:
            raise Refused("too long")
        if any(byte < 32 and byte not in b"\t\n" or byte == 127 for byte in set(raw)):
            raise Refused("a control character")
        for at, line in enumerate(from_utf8(raw).split("\n"), 1):
            items = [item for item in re.split("[ \t]", line) if item]
            if items and (items[0] == "#sizes" or not items[0].startswith("#")):
                try:
                    self._take(items)
                except Refused as refused:
                    raise Refused(f"line {at}: {refused}") from None
        if self._next_sizes:
            raise Refused("a #sizes line with no log line behind it")
        if self.quorum == ():
            raise Refused("no quorum line")

    def _take(self, items):
        kind, rest = items[0], items[1:]
        if kind == "#sizes" and len(rest) == 2:
            first = from_decimal(rest[0], 1 << 64)
            last = SIZE_MAX if rest[1] == "-" else from_decimal(rest[1], 1 << 64)
            if first > last or self._next_sizes:
                raise Refused("no size at all, or a second #sizes line before one log line")
            self._next_sizes = (first, last)
        elif kind == "log" and len(rest) in (1, 2):
            self._key(rest[0], Key.LOG, self.logs)
            self._sizes.append(self._next_sizes or (0, SIZE_MAX))
            self._next_sizes = None
        elif kind == "witness" and len(rest) in (2, 3):
            key = self._key(rest[1], Key.WITNESS, list(self.witnesses.values()))
            self._define(rest[0])
            self.witnesses[rest[0]] = key
        elif kind == "group" and len(rest) >= 2:
            self._group(rest[0], rest[1], rest[2:])
        elif kind == "quorum" and len(rest) == 1:
            if self.quorum != ():
                raise Refused("a second quorum line")
            if rest[0] != "none" and rest[0] not in self.witnesses and rest[0] not in self.groups:
                raise Refused("the quorum was not defined before")
            self.quorum = None if rest[0] == "none" else rest[0]
        else:
            raise Refused("no line of a policy, or one with other items")

    @staticmethod
    def _key(vkey, kind, others):
        key = Key(vkey)
        if key.kind != kind:
            raise Refused("a key of another type")
        if len(others) == POLICY_ITEMS_MAX:
            raise Refused("too many keys")
        if any(other.public == key.public for other in others):
            raise Refused("this key was named before")
        others.append(key)
        return key

    def _define(self, name):
        if name == "none" or name in self.witnesses or name in self.groups:
            raise Refused("this name was defined before")

    def _group(self, name, needed, names):
        if len(self.groups) == POLICY_ITEMS_MAX:
            raise Refused("too many groups")
        for member in names:
            if member not in self.witnesses and member not in self.groups:
                raise Refused("a member was not defined before")
            if member in self._members:
                raise Refused("a member is one already")
            self._members.add(member)
        if needed == "all":
            needed = len(names)
        elif needed == "any":
            needed = 1
        else:
            needed = from_decimal(needed, 1 << 64)
        if not 1 <= needed <= len(names):
            raise Refused("a group of no members, or one that asks for more than it has")
        self._define(name)
        self.groups[name] = (needed, names)

    def log_keys(self, origin, size):
        """The keys of a log that may sign a tree of this size."""
        return [key for key, (first, last) in zip(self.logs, self._sizes) if key.name == origin and first <= size <= last]

    def manifest_keys(self, origin, size):
        """Those that may sign a manifest over it: all that were not retired before."""
        return [key for key, (_, last) in zip(self.logs, self._sizes) if key.name == origin and size <= last]

    def time_of(self, cosigned):
        """The earliest time up to which a quorum had cosigned, of names of witnesses with theirs. None: none is asked for."""
        if self.quorum is None:
            return None
        times = sorted(set(cosigned.values()))
        return next(at for at in times if self.is_satisfied_by(name for name, time in cosigned.items() if time <= at))

    def is_satisfied_by(self, cosigned):
        """Whether these names of witnesses are a quorum."""
        satisfied = set(cosigned)
        # A group has members that were defined before it, so one pass is enough.
        for name, (needed, names) in self.groups.items():
            if sum(member in satisfied for member in names) >= needed:
                satisfied.add(name)
        return self.quorum is None or self.quorum in satisfied


# --------------------------------------------------------------------------------------------------------- the zip file

LOCAL = struct.Struct("<4sHHHHHIIIHH")
CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
END = struct.Struct("<4sHHHHIIH")
FIRST_NAMES = (
    "README.md index.html verify.py scope.json entries.jsonl proof.txt checkpoint keys.txt openings.jsonl".split()
)
LAST_NAMES = "completeness.json custody.jsonl certificate.md MANIFEST.note".split()


class Member:
    """Where the bytes of a member are, and their hash."""

    def __init__(self, name, start, size, crc):
        self.name, self.start, self.size, self.crc, self.sha256 = name, start, size, crc, None


class Bundle:
    """The members of a bundle's zip, which has one spelling."""

    def __init__(self, file):
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        if self.size > ZIP_MAX_BYTES:
            raise Broken("zip", "the file is too large")
        if self.size < END.size:
            raise Broken("zip", "the file is too short")
        self.members = {}
        self._directory()
        self.payloads, self.timestamps = self._names(list(self.members))
        for member in self.members.values():
            self._hash(member)

    def read(self, start, length):
        self.file.seek(start)
        raw = self.file.read(length)
        if len(raw) != length:
            raise CouldNotTell("the file became shorter while it was read")
        return raw

    def _directory(self):
        def broken(what):
            return Broken("zip", what)

        sig, disk, disk_cd, here, count, length, start, comment = END.unpack(
            self.read(self.size - END.size, END.size)
        )
        if sig != b"PK\5\6" or (disk, disk_cd, comment) != (0, 0, 0) or here != count:
            raise broken("there is no end of a central directory where it must be")
        if start + length + END.size != self.size:
            raise broken("the central directory is not where it must be")
        at, offset = start, 0
        for _ in range(count):
            if at + CENTRAL.size > start + length:
                raise broken("the central directory is too short")
            header = CENTRAL.unpack(self.read(at, CENTRAL.size))
            sig, made_by, needed, flags, method, time, date, crc, packed, size, named = header[:11]
            if (sig, made_by, needed, flags, method, time, date) != (b"PK\1\2", 20, 20, 0x0800, 0, 0, 0x0021):
                raise broken("an entry of the central directory is in another form")
            if packed != size or header[11:16] != (0, 0, 0, 0, 0) or header[16] != offset:
                raise broken("an entry of the central directory is in another form")
            at += CENTRAL.size
            if not 0 < named <= NAME_MAX_BYTES or at + named > start + length:
                raise broken("a name is too long, or empty")
            name = self.read(at, named)
            at += named
            data = offset + LOCAL.size + named
            if data + size > start:
                raise broken("a member reaches into the central directory")
            local = LOCAL.pack(b"PK\3\4", 20, 0x0800, 0, 0, 0x0021, crc, size, size, named, 0)
            if self.read(offset, LOCAL.size + named) != local + name:
                raise broken("a local header is not what the central directory says")
            name = name.decode("latin-1")
            if name in self.members:
                raise broken("a name is there twice")
            self.members[name] = Member(name, data, size, crc)
            offset = data + size
        if at != start + length or offset != start:
            raise broken("there are bytes between the members, or before or behind them")

    @staticmethod
    def _names(names):
        """How many payloads and timestamps there are."""
        count = len(names) - len(LAST_NAMES)
        if names[: len(FIRST_NAMES)] != FIRST_NAMES or names[count:] != LAST_NAMES or count < len(FIRST_NAMES):
            raise Broken("zip", "members are missing, unknown or out of order")
        payloads, timestamps, last = 0, [], (-1, "")
        for name in names[len(FIRST_NAMES) : count]:
            payload = re.fullmatch(r"payloads/(0|[1-9][0-9]{0,15})\.(request|response)", name, re.ASCII)
            place = (int(payload[1]), payload[2]) if payload else None
            if payload and not timestamps and last < place and place[0] <= INTEGER_MAX:
                payloads, last = payloads + 1, place
            elif name == f"timestamps/{len(timestamps) // 2}.{'pem' if len(timestamps) % 2 else 'tsr'}":
                timestamps.append(name)
            else:
                raise Broken("zip", "members are missing, unknown or out of order")
        if len(timestamps) % 2:
            raise Broken("zip", "a token without its certificates")
        return payloads, len(timestamps) // 2

    def chunks(self, name):
        member = self.members[name]
        at, end = member.start, member.start + member.size
        while at < end:
            length = min(CHUNK_BYTES, end - at)
            yield self.read(at, length)
            at += length

    def _hash(self, member):
        sha256, crc = hashlib.sha256(), 0
        for chunk in self.chunks(member.name):
            sha256.update(chunk)
            crc = binascii.crc32(chunk, crc)
        if crc != member.crc:
            raise Broken("zip", f"the CRC-32 of {member.name} is wrong")
        member.sha256 = sha256.digest()

    def whole(self, name, most_bytes, check):
        member = self.members[name]
        if member.size > most_bytes:
            raise Broken(check, f"{name} is too long")
        return self.read(member.start, member.size)

    def lines(self, name, most_bytes, check):
        """The lines of a member, without their ends."""
        pending = b""
        for chunk in self.chunks(name):
            lines = (pending + chunk).split(b"\n")
            pending = lines.pop()
            for line in lines:
                if len(line) > most_bytes:
                    raise Broken(check, f"{name} has a line that is too long")
                yield line
            if len(pending) > most_bytes:
                raise Broken(check, f"{name} has a line that is too long")
        if pending:
            raise Broken(check, f"{name} does not end in a line")


# ---------------------------------------------------------------------------------------------------------- the checks


def check_manifest(bundle):
    try:
        note = Note(bundle.whole("MANIFEST.note", MANIFEST_MAX_BYTES, "manifest"), MANIFEST_MAX_BYTES)
    except Refused as refused:
        raise Broken("manifest", f"MANIFEST.note: {refused}") from None
    if len(note.signatures) != 1:
        raise Broken("manifest", "MANIFEST.note has more than one signature")
    stated = note.text[:-1].split("\n")
    for at, member in enumerate(bundle.members.values()):
        if member.name == "MANIFEST.note":
            break
        if at >= len(stated) or stated[at] != f"{member.sha256.hex()}  {member.name}":
            raise Broken("manifest", f"{member.name} is not what the manifest says")
    if len(stated) != len(bundle.members) - 1:
        raise Broken("manifest", "the manifest names something that is not here")
    return note


def check_scope(bundle):
    try:
        return one_line(bundle.whole("scope.json", SMALL_MAX_BYTES, "scope"), SCOPE)
    except Refused as refused:
        raise Broken("scope", f"scope.json: {refused}") from None


def check_checkpoint(bundle, scope):
    try:
        note = Note(bundle.whole("checkpoint", NOTE_MAX_BYTES, "checkpoint"), NOTE_MAX_BYTES)
        checkpoint = Checkpoint(note.text)
    except Refused as refused:
        raise Broken("checkpoint", str(refused)) from None
    if checkpoint.origin != scope["ledger"]["origin"]:
        raise Broken("checkpoint", "the checkpoint is that of another ledger")
    if checkpoint.size == 0:
        raise Broken("checkpoint", "the checkpoint covers no entry")
    return note, checkpoint


def claimed_keys(raw, origin):
    """The keys that the bundle itself names, newest last."""
    text = from_utf8(raw)
    if not text.endswith("\n"):
        raise Refused("keys.txt does not end in a line")
    lines = text[:-1].split("\n")
    if len(lines) > KEYS_MAX:
        raise Refused("keys.txt has too many keys")
    keys = [Key(line) for line in lines]
    if any(key.kind != Key.LOG or key.name != origin for key in keys):
        raise Refused("keys.txt has a key that is not the log's")
    return keys


def check_signature(bundle, checkpoint, note, manifest, policy):
    """After a change of keys the old key is destroyed: the new one signs manifests over old checkpoints."""
    origin, size = checkpoint.origin, checkpoint.size
    try:
        if policy:
            keys, of_manifest = policy.log_keys(origin, size), policy.manifest_keys(origin, size)
            if not keys:
                raise Refused("the policy has no key of this log for a tree of this size")
        else:
            keys = claimed_keys(bundle.whole("keys.txt", SMALL_MAX_BYTES, "signature"), origin)
            of_manifest = keys[-1:]
        if not note.verified(keys):
            raise Refused("the checkpoint is not signed by the log's key")
        if not manifest.verified(of_manifest):
            raise Refused("the manifest is not signed by a key of the log that is this recent")
    except Refused as refused:
        raise Broken("signature", str(refused)) from None


def check_quorum(note, policy):
    """When a quorum had cosigned, in seconds since 1970."""
    if not policy:
        return None
    names = {id(key): name for name, key in policy.witnesses.items()}
    try:
        verified = note.verified(list(policy.witnesses.values()))
    except Refused as refused:
        raise Broken("quorum", str(refused)) from None
    cosigned = {names[id(key)]: int.from_bytes(signature[:8], "big") for key, signature in verified}
    if not policy.is_satisfied_by(cosigned):
        raise Broken("quorum", f"{len(cosigned)} witnesses of the policy cosigned: that is no quorum")
    return policy.time_of(cosigned)


class Entries:
    """What is kept of the entries: number and leaf hash of each; more of gaps and erasures only."""

    def __init__(self):
        self.count, self.last, self.last_time = 0, -1, None
        self.numbers, self.leaves = bytearray(), bytearray()
        self.gaps, self.erasures = [], {}

    def add(self, entry, leaf):
        self.count, self.last, self.last_time = self.count + 1, entry["seq"], entry["timestamp"]
        self.numbers += self.last.to_bytes(8, "little")
        self.leaves += leaf
        if entry["event_type"] == "gap":
            count = entry.get("detail", {}).get("count")
            is_count = isinstance(count, int) and not isinstance(count, bool) and count >= 0
            self.gaps.append((count if is_count else 0, self.last))
        elif entry["event_type"] == "erasure":
            self.erasures[self.last] = subject_of(entry)

    def number(self, at):
        return int.from_bytes(self.numbers[8 * at : 8 * at + 8], "little")

    def leaf(self, at):
        return bytes(self.leaves[32 * at : 32 * at + 32])


def subject_of(entry):
    """The subject of an entry in 32 bytes, or None."""
    subject = entry.get("subject_ref")
    return None if subject is None else hashlib.sha256(subject.encode("utf-8")).digest()


def broken_link(entry, before):
    """What is wrong with the link of an entry to the leaf hash before it, if that is known."""
    if not re.fullmatch("sha256:[0-9a-f]{64}", entry["prev_hash"]):
        return f"prev_hash of entry {entry['seq']} is no hash"
    if before is not None and entry["prev_hash"] != "sha256:" + before.hex():
        return f"entry {entry['seq']} does not follow the one before it"
    return None


def check_entries(bundle, scope, checkpoint):
    """The entries, and what is wrong with their chain."""
    entries, chain = Entries(), None
    # Before the first entry of a ledger stands the hash of zeros.
    at, leaf = 0, bytes(32)
    for line in bundle.lines("entries.jsonl", ENTRY_MAX_BYTES, "entries"):
        where = f"entries.jsonl, line {entries.count + 1}"
        try:
            entry = entry_from(line)
        except Refused as refused:
            raise Broken("entries", f"{where}: {refused}") from None
        if entry["tenant_id"] != scope["ledger"]["tenant"]:
            raise Broken("entries", f"{where} is of another tenant")
        if not entries.last < entry["seq"] < checkpoint.size:
            raise Broken("entries", f"{where} is out of order or beyond the checkpoint")
        if chain is None:
            chain = broken_link(entry, leaf if entry["seq"] == at else None)
        at = entry["seq"] + 1
        leaf = hashlib.sha256(b"\0" + line).digest()
        entries.add(entry, leaf)
    if not entries.count:
        raise Broken("entries", "there is no entry")
    selection = scope["selection"]
    if selection["kind"] == "range":
        first, end = selection["from"], selection["to"]
        if entries.number(0) != first or entries.last + 1 != end or entries.count != end - first:
            raise Broken("entries", "these are not all entries of the range, and no others")
    return entries, chain


def check_chain(chain):
    if chain is not None:
        raise Broken("chain", chain)


def check_proof(bundle, entries, checkpoint):
    proof = bytearray()
    for line in bundle.lines("proof.txt", HASH_LINE_BYTES, "proof"):
        try:
            decoded = from_base64(from_utf8(line))
        except Refused:
            decoded = b""
        if len(decoded) != 32:
            raise Broken("proof", "proof.txt has a line that is no hash")
        if len(proof) == 32 * 64 * (entries.count + 1):
            raise Broken("proof", "proof.txt has more hashes than any proof")
        proof += decoded
    used = 0

    def root(start, end, low, high):
        """Root over the leaves [start, end), of which the entries low to high-1 are here."""
        nonlocal used
        if low == high:
            used += 32
            if used > len(proof):
                raise Broken("proof", "the proof is too short")
            return bytes(proof[used - 32 : used])
        if end - start == 1:
            return entries.leaf(low)
        half = start + (1 << (end - start - 1).bit_length() - 1)
        between, stop = low, high
        while between < stop:
            middle = (between + stop) // 2
            if entries.number(middle) < half:
                between = middle + 1
            else:
                stop = middle
        left = root(start, half, low, between)
        return hashlib.sha256(b"\1" + left + root(half, end, between, high)).digest()

    found = root(0, checkpoint.size, 0, entries.count)
    if used != len(proof):
        raise Broken("proof", "the proof is too long")
    if found != checkpoint.root:
        raise Broken("proof", "the entries do not lead to the signed root")


def check_payload(bundle, entries):
    """How many openings there are of each state."""
    states, files = {"disclosed": 0, "withheld": 0, "erased": 0}, 0
    openings = bundle.lines("openings.jsonl", LINE_MAX_BYTES, "payload")
    for line in bundle.lines("entries.jsonl", ENTRY_MAX_BYTES, "entries"):
        entry = entry_from(line)
        if "input" not in entry and "output" not in entry:
            continue
        line = next(openings, None)
        if line is None:
            raise Broken("payload", f"entry {entry['seq']} has no opening")
        try:
            opening = opening_from(line)
            if opening["seq"] != entry["seq"]:
                raise Refused(f"it is of entry {opening['seq']}")
            files += check_opening(bundle, entries, entry, opening)
        except Refused as refused:
            raise Broken("payload", f"opening of entry {entry['seq']}: {refused}") from None
        states[opening["state"]] += 1
    if next(openings, None) is not None:
        raise Broken("payload", "an opening of no entry")
    if files != bundle.payloads:
        raise Broken("payload", "a payload that no opening names")
    return states


def check_opening(bundle, entries, entry, opening):
    """How many files it names."""
    if opening["state"] == "erased":
        if opening["erasure"] not in entries.erasures:
            raise Refused("erased, and no entry here says so")
        if "subject_ref" in entry and entries.erasures[opening["erasure"]] != subject_of(entry):
            raise Refused("the erasure is that of another subject")
    if opening["state"] != "disclosed":
        return 0
    files = 0
    for side, ending in (("input", "request"), ("output", "response")):
        if (side in entry) != (side in opening):
            raise Refused(f"{side} is in one of entry and opening, and not in the other")
        if side in entry:
            check_side(bundle, entry[side], opening[side], f"payloads/{entry['seq']}.{ending}")
            files += 1
    return files


def check_side(bundle, side, opening, name):
    if opening["file"] != name:
        raise Refused("a file of another name")
    if not re.fullmatch("[0-9a-f]{64}", opening["salt"], re.ASCII):
        raise Refused("a salt that is not 32 bytes in hex")
    if name not in bundle.members:
        raise Refused(f"{name} is missing")
    if bundle.members[name].size != side["bytes"]:
        raise Refused(f"{name} is not as long as the entry says")
    sha256 = hashlib.sha256(bytes.fromhex(opening["salt"]))
    for chunk in bundle.chunks(name):
        sha256.update(chunk)
    if side["commitment"] != "sha256:" + sha256.hexdigest():
        raise Refused(f"{name} is not what the entry commits to")


def check_counts(bundle, scope, checkpoint, entries, states):
    counts = scope["counts"]
    if counts["produced"] != entries.count or counts["matched"] < counts["produced"]:
        raise Broken("counts", "scope.json counts other entries than are here")
    if counts["withheld"] != states["withheld"] or counts["erased"] != states["erased"]:
        raise Broken("counts", "scope.json counts other openings than are here")
    try:
        raw = bundle.whole("completeness.json", SMALL_MAX_BYTES, "counts")
        completeness = one_line(raw, COMPLETENESS)
        if completeness["size"] != checkpoint.size:
            raise Refused("the size is not that of the checkpoint")
        if [(gap["count"], gap["seq"]) for gap in completeness["gaps"]] != entries.gaps:
            raise Refused("the gaps are not those of the entries")
        if entries.last + 1 == checkpoint.size and completeness["as_of"] != entries.last_time:
            raise Refused("as_of is not the time of the last entry")
    except Refused as refused:
        raise Broken("counts", f"completeness.json: {refused}") from None
    for line in bundle.lines("custody.jsonl", LINE_MAX_BYTES, "counts"):
        try:
            CUSTODY(from_canonical(line))
        except Refused as refused:
            raise Broken("counts", f"custody.jsonl: {refused}") from None
    return completeness["as_of"]


class Der:
    """What is left of a sequence of DER values."""

    def __init__(self, raw):
        self.raw, self.at = raw, 0

    def take(self, tag):
        """The contents of the next value, which has this tag, and a length in its shortest form."""
        raw, at = self.raw, self.at
        if at + 2 > len(raw):
            raise Refused("not DER")
        length, start = raw[at + 1], at + 2
        if length >= 0x80:
            width = length & 0x7F
            encoded = raw[start : start + width]
            if not 1 <= width <= 3 or len(encoded) != width or encoded[0] == 0:
                raise Refused("not DER")
            length, start = int.from_bytes(encoded, "big"), start + width
            if length < 0x80:
                raise Refused("not DER")
        if start + length > len(raw):
            raise Refused("not DER")
        if raw[at] != tag:
            raise Refused("not in the form of a timestamp")
        self.at = start + length
        return raw[start : self.at]

    def only(self, tag):
        contents = self.take(tag)
        if self.at != len(self.raw):
            raise Refused("more than a timestamp")
        return contents


INTEGER, OCTETS, OID, TIME, SEQUENCE, SET, EXPLICIT = 0x02, 0x04, 0x06, 0x18, 0x30, 0x31, 0xA0
SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
TST_INFO = bytes.fromhex("2a864886f70d0109100104")
SHA256 = bytes.fromhex("608648016503040201")


def time_of_token(raw, checkpoint):
    """When an RFC 3161 response says that SHA-256 of the bytes existed. Its signature is not checked."""
    response = Der(Der(raw).only(SEQUENCE))
    if Der(response.take(SEQUENCE)).take(INTEGER) not in (b"\0", b"\1"):
        raise Refused("not granted")
    token = Der(response.only(SEQUENCE))
    if token.take(OID) != SIGNED_DATA:
        raise Refused("no signed data")
    signed = Der(Der(token.only(EXPLICIT)).only(SEQUENCE))
    signed.take(INTEGER)
    signed.take(SET)
    content = Der(signed.take(SEQUENCE))
    if content.take(OID) != TST_INFO:
        raise Refused("no timestamp")
    info = Der(Der(Der(content.only(EXPLICIT)).only(OCTETS)).only(SEQUENCE))
    if info.take(INTEGER) != b"\1":
        raise Refused("a timestamp of another version")
    info.take(OID)
    imprint = Der(info.take(SEQUENCE))
    if Der(imprint.take(SEQUENCE)).take(OID) != SHA256:
        raise Refused("over another hash than SHA-256")
    if imprint.only(OCTETS) != hashlib.sha256(checkpoint).digest():
        raise Refused("over something else")
    info.take(INTEGER)
    time = info.take(TIME).decode("latin-1")
    parts = re.fullmatch("([0-9]{4})" + 5 * "([0-9]{2})" + r"((?:\.[0-9]*[1-9])?)Z", time)
    if not parts or not is_time(*map(int, parts.groups()[:6])):
        raise Refused("no time")
    return "{}-{}-{}T{}:{}:{}{}Z".format(*parts.groups())


def check_timestamps(bundle):
    """The times of the tokens."""
    checkpoint = bundle.whole("checkpoint", NOTE_MAX_BYTES, "checkpoint")
    times = []
    for at in range(bundle.timestamps):
        name = f"timestamps/{at}.tsr"
        try:
            times.append(time_of_token(bundle.whole(name, SMALL_MAX_BYTES, "timestamp"), checkpoint))
        except Refused as refused:
            raise Broken("timestamp", f"{name}: {refused}") from None
    return times


def check(file, policy=None):
    """The verdict on an open file, as `--json` prints it, and what else people want to read. Raises CouldNotTell."""
    identity = "checked" if policy else "not checked"
    try:
        bundle = Bundle(file)
        manifest = check_manifest(bundle)
        scope = check_scope(bundle)
        note, checkpoint = check_checkpoint(bundle, scope)
        check_signature(bundle, checkpoint, note, manifest, policy)
        cosigned = check_quorum(note, policy)
        entries, chain = check_entries(bundle, scope, checkpoint)
        check_chain(chain)
        check_proof(bundle, entries, checkpoint)
        states = check_payload(bundle, entries)
        as_of = check_counts(bundle, scope, checkpoint, entries, states)
        tokens = check_timestamps(bundle)
    except Broken as broken:
        return {
            "check": broken.check,
            "completeness": None,
            "counts": None,
            "identity": identity,
            "integrity": "broken",
            "time": None,
            "what": broken.what,
        }, {}
    except (OSError, MemoryError) as error:
        raise CouldNotTell(str(error) or "out of memory") from None
    proven = scope["selection"]["kind"] == "range"
    return {
        "check": None,
        "completeness": {
            "as_of": as_of,
            "from": scope["selection"]["from"] if proven else None,
            "gaps": len(entries.gaps),
            "proven": proven,
            "size": checkpoint.size,
            "to": scope["selection"]["to"] if proven else None,
        },
        "counts": {**states, "entries": entries.count},
        "identity": identity,
        "integrity": "holds",
        "time": {"cosigned": None if cosigned is None else rfc3339(cosigned), "tokens": tokens},
        "what": None,
    }, scope


def rfc3339(seconds):
    """Seconds since 1970 in the proleptic Gregorian calendar; `datetime` ends at the year 9999."""
    days, rest = divmod(seconds, 86_400)
    # Days since 1 March 0000, in eras of 400 years, with the leap day at the end of the year.
    era, of_era = divmod(days + 719_468, 146_097)
    of_400 = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * of_400 + of_400 // 4 - of_400 // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year = era * 400 + of_400 + (month <= 2)
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


def to_json(verdict):
    return json.dumps(verdict, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def shown(text):
    """Text of the bundle, without what a terminal would obey."""
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text[:300])


def in_words(verdict, scope):
    lines = []
    if verdict["identity"] != "checked":
        lines.append("IDENTITY NOT CHECKED: no policy was given, so anybody can have made this bundle")
    if verdict["check"]:
        lines.append(f"BROKEN at {verdict['check']}: {shown(verdict['what'])}")
        return lines
    counts, completeness, time = verdict["counts"], verdict["completeness"], verdict["time"]
    ledger = scope["ledger"]
    lines.append(f"HOLDS: {counts['entries']} entries of {shown(ledger['tenant'])}, ledger {shown(ledger['origin'])}")
    lines.append(
        f"integrity     unaltered; payloads: {counts['disclosed']} shown, {counts['withheld']} withheld, "
        f"{counts['erased']} ERASED"
    )
    as_of = f"size {completeness['size']} as of {shown(completeness['as_of'])} by the collector's clock"
    if completeness["proven"]:
        lines.append(
            f"completeness  complete from entry {completeness['from']} to {completeness['to'] - 1}, up to {as_of}; "
            f"{completeness['gaps']} gaps are stated in it"
        )
    else:
        lines.append(f"completeness  not shown: that nothing else matched is the producer's claim ({as_of})")
    if time["cosigned"]:
        lines.append(f"time          existed before {time['cosigned']}: a quorum of the policy's witnesses says so")
    elif not time["tokens"]:
        lines.append("time          the collector's clock alone")
    for at, token in enumerate(time["tokens"]):
        lines.append(
            f"time          timestamps/{at}.tsr says {token}; who signed it is NOT checked here: openssl ts -verify"
        )
    lines.append(
        "identity      signed as the policy asks" if verdict["identity"] == "checked" else "identity      NOT CHECKED"
    )
    return lines


USAGE = "usage: python3 verify.py BUNDLE.zip [--policy FILE] [--json]"


def arguments(argv):
    path, policy, as_json = None, None, False
    argv = list(argv)
    while argv:
        argument = argv.pop(0)
        if argument == "--json":
            as_json = True
        elif argument == "--policy" and argv and policy is None:
            policy = argv.pop(0)
        elif argument.startswith("-") or path is not None:
            raise CouldNotTell(USAGE)
        else:
            path = argument
    if path is None:
        raise CouldNotTell(USAGE)
    return path, policy, as_json


def policy_from(path):
    with open(path, "rb") as file:
        raw = file.read(POLICY_MAX_BYTES + 1)
    try:
        return Policy(raw)
    except Refused as refused:
        raise CouldNotTell(f"{path}: not a policy: {refused}") from None


def main(argv):
    try:
        path, policy, as_json = arguments(argv)
        policy = None if policy is None else policy_from(policy)
        with open(path, "rb") as file:
            verdict, scope = check(file, policy)
        lines = [to_json(verdict)] if as_json else in_words(verdict, scope)
        sys.stdout.buffer.write("".join(line + "\n" for line in lines).encode("utf-8"))
        sys.stdout.buffer.flush()
        return 1 if verdict["check"] else 0
    except (CouldNotTell, OSError) as error:
        what = str(error)
    except Exception as error:  # A fault of this program is no verdict on the bundle.
        what = f"{type(error).__name__}: {error}"
    sys.stderr.write("COULD NOT TELL: " + ascii(what)[1:-1] + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
