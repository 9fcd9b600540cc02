"""Reads a transparency log over HTTP and recomputes it, from the C2SP pages alone.

Shares no code with what it reads: signed-note, tlog-checkpoint and tlog-tiles as their pages have them, Ed25519 as
RFC 8032 has it, Python's standard library.

    tlog_monitor.py URL VKEY [--token TOKEN]

Prints one JSON object: size and root, how many tiles and bundles were read, and how many proofs were made of the tiles.
Any disagreement ends it with a message and exit code 1.
"""

import argparse
import base64
import hashlib
import json
import struct
import sys
import urllib.error
import urllib.request

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def sha256(data):
    return hashlib.sha256(data).digest()


def fail(what):
    print(what, file=sys.stderr)
    sys.exit(1)


def expect(holds, what):
    if not holds:
        fail(what)


# Ed25519, RFC 8032 section 5.1: points in extended coordinates.


def x_of(y, sign):
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    expect((x * x - square) % P == 0, "no point of the curve")
    return P - x if x & 1 != sign else x


def add(a, b):
    s, t = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    u, v = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = t - s, v - u, v + u, t + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, point):
    sum_ = (0, 1, 1, 0)
    while number:
        if number & 1:
            sum_ = add(sum_, point)
        point, number = add(point, point), number >> 1
    return sum_


def point(data):
    value = int.from_bytes(data, "little")
    y, sign = value & (2**255 - 1), value >> 255
    expect(y < P, "a coordinate out of range")
    x = x_of(y, sign)
    return x, y, 1, x * y % P


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (x_of(BASE_Y, 0), BASE_Y, 1, x_of(BASE_Y, 0) * BASE_Y % P)


def verifies(key, message, signature):
    r, s = point(signature[:32]), int.from_bytes(signature[32:], "little")
    expect(s < L, "a signature out of range")
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    left = times(s, BASE)
    right = add(r, times(int.from_bytes(digest, "little") % L, point(key)))
    return not any((left[n] * right[2] - right[n] * left[2]) % P for n in (0, 1))


# RFC 6962 section 2.1.


def leaf(entry):
    return sha256(b"\0" + entry)


def node(left, right):
    return sha256(b"\1" + left + right)


def split(size):
    return 1 << (size - 1).bit_length() - 1


def root(leaves):
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    return node(root(leaves[: split(len(leaves))]), root(leaves[split(len(leaves)) :]))


def path_root(index, size, hash_, path):
    """Section 2.1.1 read backwards: the root that an audit path leads to."""
    if size == 1:
        expect(not path, "an audit path with too many hashes")
        return hash_
    expect(path, "an audit path with too few hashes")
    half = split(size)
    if index < half:
        return node(path_root(index, half, hash_, path[:-1]), path[-1])
    return node(path[-1], path_root(index - half, size - half, hash_, path[:-1]))


# C2SP signed-note and tlog-checkpoint.


def open_checkpoint(note, vkey):
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key, validate=True)
    expect(key[0] == 1, "not an Ed25519 key")
    expect(sha256(name.encode() + b"\n" + key)[:4].hex() == key_id, "the key id is not the key's")
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    signed = 0
    for line in lines.splitlines():
        dash, signer, signature = line.split(" ")
        expect(dash == "\u2014", "not a signature line")
        signature = base64.b64decode(signature, validate=True)
        if signer == name and signature[:4].hex() == key_id:
            expect(verifies(key[1:], text.encode(), signature[4:]), "the signature does not verify")
            signed += 1
    expect(signed == 1, "not signed by the log")
    origin, size, hash_ = text.splitlines()
    expect(origin == name, "another origin")
    expect(size == str(int(size)), "the size has another spelling")
    return int(size), base64.b64decode(hash_, validate=True)


# C2SP tlog-tiles.


def tile_path(level, index, width):
    digits = f"{index:03}"
    digits = "0" * (-len(digits) % 3) + digits
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{number}" + ("" if width == 256 else f".p/{width}")


class Log:
    def __init__(self, url, token):
        self.url, self.token, self.read = url.rstrip("/"), token, 0

    def get(self, path, token=None):
        request = urllib.request.Request(f"{self.url}/{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.read += 1
            return answer.read()

    def status(self, path):
        try:
            self.get(path)
            return 200
        except urllib.error.HTTPError as error:
            return error.code

    def hashes(self, level, index, width):
        data = self.get(tile_path(level, index, width))
        expect(len(data) == 32 * width, f"tile {level}/{index} has {len(data)} bytes")
        return [data[at : at + 32] for at in range(0, len(data), 32)]

    def entries(self, index, width):
        data = self.get(tile_path("entries", index, width), self.token)
        entries = []
        while data:
            (size,) = struct.unpack_from(">H", data)
            expect(len(data) >= 2 + size, "a bundle that breaks off")
            entries.append(data[2 : 2 + size])
            data = data[2 + size :]
        expect(len(entries) == width, f"bundle {index} has {len(entries)} entries")
        return entries


def widths(count):
    return [256] * (count // 256) + ([count % 256] if count % 256 else [])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("url")
    arguments.add_argument("vkey")
    arguments.add_argument("--token")
    arguments = arguments.parse_args()
    log = Log(arguments.url, arguments.token)

    note = log.get("checkpoint").decode()
    size, signed_root = open_checkpoint(note, arguments.vkey)
    levels, count = [], size
    while count:
        tiles = [log.hashes(len(levels), index, width) for index, width in enumerate(widths(count))]
        levels.append([hash_ for tile in tiles for hash_ in tile])
        count //= 256
    for below, above in zip(levels, levels[1:]):
        for at, hash_ in enumerate(above):
            expect(root(below[256 * at : 256 * at + 256]) == hash_, "a tile is not made of those below it")
    expect(root(levels[0]) == signed_root, "the tiles do not lead to the signed root")

    # Narrower tiles of earlier sizes are the beginning of wider ones.
    for width in {1, 2, levels and len(levels[0]) % 256} - {0}:
        expect(log.hashes(0, 0, width) == levels[0][:width], f"the tile of width {width} is another")
    missing = [tile_path(0, size // 256, size % 256 + 1), tile_path(0, 10**9, 256), "tile/0/1", "tile/00/000", "tile/8/x"]
    for path in missing:
        expect(log.status(path) == 404, f"{path} is there")

    bundles, proofs, previous = 0, 0, "0" * 64
    if arguments.token:
        expect(log.status(tile_path("entries", 0, min(size, 256))) == 401, "entries are open")
        for index, width in enumerate(widths(size)):
            bundles += 1
            for at, entry in enumerate(log.entries(index, width)):
                number = 256 * index + at
                expect(leaf(entry) == levels[0][number], f"entry {number} is not the one in the tree")
                fields = json.loads(entry)
                expect(fields["seq"] == number, f"entry {number} says that it is {fields['seq']}")
                expect(fields["prev_hash"] == f"sha256:{previous}", f"entry {number} does not follow")
                previous = leaf(entry).hex()
    for index in range(0, size, max(1, size // 50)):
        within, path, leaves = index, [], levels[0]
        low, high = 0, size
        while high - low > 1:
            middle = low + split(high - low)
            if index < middle:
                path, high = [root(leaves[middle:high])] + path, middle
            else:
                path, low = [root(leaves[low:middle])] + path, middle
        expect(path_root(within, size, leaves[index], path) == signed_root, f"no audit path to entry {index}")
        proofs += 1
    print(json.dumps({"size": size, "root": signed_root.hex(), "read": log.read, "bundles": bundles, "proofs": proofs}))


main()
