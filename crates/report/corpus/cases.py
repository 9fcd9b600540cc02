"""The bundles of the corpus, one after the other: those that are good, and where the others are."""

from bundles import USUAL, one, whole, edit, twisted, huge
from make import LOG, OLD, OTHER, T, W, Ledger, Secret, canonical, parts_of, put
from cases_form import zips, manifests, scopes
from cases_signed import checkpoints, signatures, rotations, quorums, timestamps
from cases_content import entries, chains, proofs, payloads, counts


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
    put("good-cosigned-by-three", edit(one(), cosigners=[
        lambda t: W[2].cosigned(t, T + 120), lambda t: W[0].cosigned(t, T + 60), lambda t: W[1].cosigned(t, T)]),
        cosigned={0: T + 60, 1: T, 2: T + 120})
    put("good-cosigned-at-once", edit(one(), cosigners=[lambda t, n=n: W[n].cosigned(t, T) for n in range(3)]),
        cosigned={0: T, 1: T, 2: T})
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
    empty.add(detail={"": {}}, redaction={"counts": {"": 0}, "policy": ""})
    put("good-empty-inside", whole(empty))
    private = Ledger()
    for name in ("RawValue", "Number"):
        private.add(detail={"$serde_json::private::" + name: "1"})
        private.add(detail={"a": {"$serde_json::private::" + name: "1"}})
        private.add(detail={"a": {"$serde_json::private::" + name: {"b": 1}}})
    private.add(params={"$serde_json::private::RawValue": "1"})
    put("good-names-of-a-library", whole(private))
    dated = whole()
    dated["scope"]["made_at"] = "2024-02-29T23:59:59Z"
    dated["custody"][0]["at"] = "0000-02-29T00:00:00.123456789Z"
    put("good-dates", dated)
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
