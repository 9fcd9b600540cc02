//! The vectors in `docs/formats/spool.md` are what the crates do: a fenced block whose info string is
//! `vector NAME` is checked here, and one that no test knows fails.

use indelible_ledger::{Ed25519Signer, Note, Signer};
use indelible_record::commitment::{from_hex, to_hex};
use indelible_record::event::{ConfigChange, End, Gap, Rejections, SourceNotice, Start};
use indelible_record::payload;
use indelible_record::shipping::Ack;
use indelible_spool::frame::{self, FRAME_HEADER_BYTES, FileHeader, Frame, Kind, Role};
use indelible_spool::seal::{FileCipher, SealedBy, SpoolPrivateKey};
use indelible_spool::wal::{Origin, Record, Ref, Stream};
use indelible_vault::subjects::Basis;
use indelible_vault::{KeyStore, Vault, seal};
use indelible_verify::directory::digest_text;
use ring::hmac;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

const PAGE: &str = include_str!("../../../docs/formats/spool.md");
const CHECKPOINT_PAGE: &str = include_str!("../../../docs/formats/checkpoint.md");

const NAMES: [&str; 22] = [
    "recipient",
    "file-header",
    "frame-1",
    "frame-2",
    "frame-3",
    "frame-4",
    "frame-mark",
    "frame-acked",
    "frame-close",
    "plaintexts",
    "notices",
    "plaintext-3",
    "piece-lz4",
    "wal-records",
    "master-key",
    "vault-slots",
    "subject",
    "keyed-hash",
    "part-context",
    "part",
    "ack",
    "digest-note",
];

const EVENT: Uuid = Uuid::from_u128(0x019ab2c3_1111_7abc_8def_0123456789ab);
const INCARNATION: Uuid = Uuid::from_u128(0x10111213_14151617_18191a1b_1c1d1e1f);

/// The lines of the block called `name`, the last line end left out.
fn vector(name: &str) -> &'static str {
    vector_of(PAGE, name)
}

fn vector_of(page: &'static str, name: &str) -> &'static str {
    let (_, after) = page.split_once(&format!("\n```vector {name}\n")).expect("a block of that name");
    after.split_once("\n```").expect("an end of the block").0
}

/// The bytes of a block of hex, line breaks left out.
fn bytes(name: &str) -> Vec<u8> {
    unhex(&vector(name).replace('\n', ""))
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|two| from_hex::<1>(std::str::from_utf8(two).expect("hex")).expect("lower-case hex")[0])
        .collect()
}

/// `n` bytes that count up from `first`.
fn counting<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|n| first + n as u8)
}

fn recipient() -> SpoolPrivateKey {
    let secret = vector("recipient").lines().next().and_then(|line| line.strip_prefix("secret "));
    SpoolPrivateKey::from_bytes(from_hex(secret.expect("a secret")).expect("32 bytes")).expect("a key")
}

fn header() -> FileHeader {
    FileHeader::parse(&bytes("file-header")).expect("a header").0
}

fn cipher() -> FileCipher {
    let sealed = SealedBy::parse(&header().ext).expect("a spool's extension");
    recipient().open_file(&header(), &sealed).expect("a file sealed to the recipient")
}

/// Reads exactly one frame of the file.
fn frame_of<'a>(bytes: &'a [u8], header: &FileHeader) -> Frame<'a> {
    let (found, len) = frame::parse(bytes, &header.file_id).expect("a frame");
    assert_eq!(len, bytes.len());
    let mut again = frame::encode_header(found.kind, found.seq, found.body.len(), &header.file_id).to_vec();
    again.extend_from_slice(found.body);
    again.extend_from_slice(&crc32c::crc32c(found.body).to_le_bytes());
    assert_eq!(again, bytes);
    found
}

/// Meta must be what this crate's types write, member for member.
fn check_meta<T: DeserializeOwned + Serialize>(meta: &str) {
    let value: T = serde_json::from_str(meta).expect("meta of its kind");
    assert_eq!(serde_json::to_string(&value).expect("JSON"), meta);
}

fn vault(dir: &std::path::Path) -> Vault {
    std::fs::write(dir.join("master.key"), bytes("master-key")).expect("a writable directory");
    std::fs::write(dir.join("vault.slots"), bytes("vault-slots")).expect("a writable directory");
    Vault::open(KeyStore::open(dir).expect("a master key")).expect("whole slots")
}

#[test]
fn every_vector_is_tested() {
    let named: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("```vector ")).collect();
    assert_eq!(named, NAMES);
}

#[test]
fn the_recipient_and_the_file_header() {
    let public = recipient().public().clone();
    let secret = to_hex(&counting::<32>(0x40));
    let expected =
        format!("secret {secret}\npublic {}\nid {}", to_hex(public.as_bytes()), to_hex(&public.id()));
    assert_eq!(vector("recipient"), expected);

    let (header, len) = FileHeader::parse(&bytes("file-header")).unwrap();
    assert_eq!(len, bytes("file-header").len());
    assert_eq!(header.encode(), bytes("file-header"));
    assert_eq!((header.role, header.file_no, header.first_seq), (Role::Spool, 1, 1));
    let sealed = SealedBy::parse(&header.ext).unwrap();
    assert_eq!((sealed.source_id.as_str(), sealed.key_id), ("gateway-1", public.id()));
}

#[test]
fn sealed_frames_open_to_what_the_page_says() {
    let header = header();
    let mut lines = vector("plaintexts").lines();
    for seq in 1..=4 {
        let raw = bytes(&format!("frame-{seq}"));
        let found = frame_of(&raw, &header);
        let (event_id, plain) = cipher().open(seq, &raw[..FRAME_HEADER_BYTES], found.body).unwrap();
        let (meta, piece) = payload::split(&plain).unwrap();
        let meta = std::str::from_utf8(meta).unwrap();
        let piece = String::from_utf8(payload::unpack(piece).unwrap()).unwrap();
        let shown = format!(
            "{seq} {} {} {}\t{}",
            found.kind as u8,
            Uuid::from_bytes(event_id),
            if meta.is_empty() { "-" } else { meta },
            serde_json::to_string(&piece).unwrap(),
        );
        assert_eq!((found.seq, Some(shown.as_str())), (seq, lines.next()));
        match found.kind {
            Kind::SourceStarted => check_meta::<SourceNotice>(meta),
            Kind::Start => check_meta::<Start>(meta),
            Kind::End => check_meta::<End>(meta),
            other => assert_eq!(other, Kind::Output),
        }
        // Bound to its number, its header and its event.
        let mut other = found.body.to_vec();
        other[0] ^= 1;
        assert!(cipher().open(seq, &raw[..FRAME_HEADER_BYTES], &other).is_err());
        assert!(cipher().open(seq + 1, &raw[..FRAME_HEADER_BYTES], found.body).is_err());
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn notices_are_written_as_the_page_has_them() {
    for line in vector("notices").lines() {
        let (kind, meta) = line.split_once(' ').expect("a number and JSON");
        match kind.parse().ok().and_then(Kind::from_number) {
            Some(Kind::SourceStarted | Kind::SourceStopped) => check_meta::<SourceNotice>(meta),
            Some(Kind::Gap) => check_meta::<Gap>(meta),
            Some(Kind::ConfigChanged) => check_meta::<ConfigChange>(meta),
            Some(Kind::Rejections) => check_meta::<Rejections>(meta),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn control_frames() {
    let header = header();
    let (mark, acked, close) = (bytes("frame-mark"), bytes("frame-acked"), bytes("frame-close"));
    let four = 4u64.to_le_bytes();
    assert_eq!(frame_of(&mark, &header), Frame { kind: Kind::Mark, seq: 4, body: &four });
    let ack: Ack = serde_json::from_str(vector("ack")).unwrap();
    let body = [&four, ack.token.as_bytes()].concat();
    assert_eq!(frame_of(&acked, &header), Frame { kind: Kind::Acked, seq: 4, body: &body });
    assert_eq!(frame_of(&close, &header), Frame { kind: Kind::Close, seq: 4, body: b"" });
}

#[test]
fn pieces() {
    assert_eq!(payload::pack(b"", b"Hello, "), bytes("plaintext-3"));
    let text = b"indelible ".repeat(20);
    assert_eq!(payload::unpack(&bytes("piece-lz4")).unwrap(), text);
    assert_eq!(payload::unpack(&payload::pack(b"", &text)[4..]).unwrap(), text);
}

#[test]
fn wal_records() {
    let origin = |seq| Origin { incarnation: INCARNATION, seq };
    let records = [
        Record::Source { incarnation: INCARNATION, id: "gateway-1" },
        Record::Taken(origin(1)),
        Record::Open {
            origin: origin(2),
            event_id: EVENT,
            tenant: "default",
            draft: br#"{"v":1}"#,
            part: &[0xaa, 0xbb],
        },
        Record::Part { origin: origin(3), event_id: EVENT, stream: Stream::Output, part: &[0xcc] },
        Record::Entry {
            origin: origin(4),
            event_id: EVENT,
            tenant: "default",
            refs: vec![Ref { file_no: 1, offset: 68 }, Ref { file_no: 1, offset: 300 }],
            entry: br#"{"seq":1}"#,
            part: &[0xdd],
        },
        Record::Checkpoint { notes: vec![b"a\n\n", b"b\n\n"] },
    ];
    let shown = records.map(|record| {
        let body = record.encode();
        assert_eq!(Record::parse(record.kind(), &body), Some(record.clone()));
        format!("{} {}", record.kind() as u8, to_hex(&body))
    });
    assert_eq!(shown.join("\n"), vector("wal-records"));
}

#[test]
fn subjects_and_encrypted_parts() {
    let temp = tempfile::tempdir().unwrap();
    let mut vault = vault(temp.path());
    let (user, shown) = vector("subject").split_once(' ').unwrap();
    let subject = vault.find_subject("default", Basis::User, user).unwrap().expect("a known subject");
    assert_eq!(subject.to_string(), shown);
    let (hash, text) = vector("keyed-hash").split_once(' ').unwrap();
    assert_eq!(vault.hashed("default", text), hash);

    let context = [&b"default\0"[..], EVENT.as_bytes(), INCARNATION.as_bytes(), &3u64.to_le_bytes()].concat();
    assert_eq!(context, bytes("part-context"));
    let part = bytes("part");
    let november = 2026 * 12 + 10;
    assert_eq!(seal::owner(&part), Some((subject, november)));
    let key = vault.find_data_key("default", subject, november).unwrap().expect("a key");
    assert_eq!(seal::open(&key, &context, &part).unwrap(), bytes("plaintext-3"));
    assert!(seal::open(&key, b"another record", &part).is_err());
}

#[test]
fn the_acknowledgement() {
    let temp = tempfile::tempdir().unwrap();
    let ack: Ack = serde_json::from_str(vector("ack")).unwrap();
    assert_eq!(serde_json::to_string(&ack).unwrap(), vector("ack"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*vault(temp.path()).keys().derive("ack", ""));
    let message = [&header().log_id.as_bytes()[..], &ack.seq.to_le_bytes()].concat();
    assert_eq!(to_hex(&hmac::sign(&key, &message).as_ref()[..16]), ack.token);
    assert_eq!(ack.spool_key, to_hex(recipient().public().as_bytes()));
}

#[test]
fn the_digest_note() {
    let seed = from_hex::<32>(vector_of(CHECKPOINT_PAGE, "seed")).unwrap();
    let signer = Ed25519Signer::from_seed(vector_of(CHECKPOINT_PAGE, "origin"), &seed).unwrap();
    let text = digest_text(1, 4096, &counting(0xc0));
    let note = Note::sign(text, &[&signer as &dyn Signer]).unwrap().to_string();
    assert_eq!(note, format!("{}\n", vector("digest-note")));
}
