//! gen
use indelible_os::sim::SimDir;
use indelible_record::commitment::*;
use indelible_record::entry::*;
use indelible_record::event::*;
use indelible_record::payload;
use indelible_spool::frame::*;
use indelible_spool::seal::*;
use indelible_spool::wal::*;
use indelible_spool::writer::*;
use indelible_vault::subjects::Basis;
use indelible_vault::{KeyStore, SubjectRef, Vault, seal};
use std::sync::Arc;
use uuid::Uuid;
fn seq_bytes<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|i| from.wrapping_add(i as u8))
}
#[test]
fn generate() {
    let secret: [u8; 32] = seq_bytes(0x40);
    let private = SpoolPrivateKey::from_bytes(secret).unwrap();
    println!(
        "recipient-secret {}\nrecipient-public {}\nkey-id {}",
        to_hex(&secret),
        to_hex(private.public().as_bytes()),
        to_hex(&private.public().id())
    );
    // header as a writer makes it
    let dir = SimDir::new();
    let options = Options {
        role: Role::Spool,
        limit_bytes: None,
        file_bytes: 64 << 10,
        seal: Some(SealTo { source_id: "gateway-1".into(), key: private.public().clone() }),
    };
    let (mut w, _) = LogWriter::open(Arc::new(dir.clone()), options, |_, _, _| Ok(()), || 0).unwrap();
    let ev_started: Uuid = "019ab2c3-0000-7abc-8def-0123456789ab".parse().unwrap();
    let ev: Uuid = "019ab2c3-1111-7abc-8def-0123456789ab".parse().unwrap();
    let t0 = 1_795_317_255_000_000i64;
    let notice = SourceNotice { time: t0, version: "0.1.0".into() };
    let mut c_in = Committer::new(seq_bytes(0x60));
    c_in.update(br#"{"model":"m","messages":[]}"#);
    let mut c_out = Committer::new(seq_bytes(0x80));
    c_out.update(b"Hello, world");
    let start = Start {
        tenant: "default".into(),
        time: t0 + 1000,
        facts: Facts {
            route: "default".into(),
            operation: "chat".into(),
            model: Some("m".into()),
            user_id: Some("jane@example.com".into()),
            request_id: Some("req-42".into()),
            ..Default::default()
        },
        private: Private {
            method: Some("POST".into()),
            target: Some("/v1/chat/completions".into()),
            headers: vec![("content-type".into(), "application/json".into())],
            peer: Some("192.0.2.7:50000".into()),
            input: Some(c_in.finish()),
            input_type: Some("application/json".into()),
            ..Default::default()
        },
    };
    let end = End {
        start_seq: 2,
        time: t0 + 21_000,
        status: Status::Completed,
        http_status: Some(200),
        error_type: None,
        latency_us: 20_000,
        ttft_us: Some(12_000),
        delivered_bytes: 12,
        input_partial: false,
        output_partial: false,
        answer: Answer {
            finish_reason: Some("stop".into()),
            completion_tokens: Some(3),
            prompt_tokens: Some(5),
            model: Some("m".into()),
            ..Default::default()
        },
        private: Private {
            headers: vec![("content-type".into(), "text/plain".into())],
            output: Some(c_out.finish()),
            output_type: Some("text/plain".into()),
            ..Default::default()
        },
    };
    let j = |v: serde_json::Value| v;
    let _ = j;
    let a = |w: &mut LogWriter, k, e: &Uuid, meta: &[u8], piece: &[u8]| {
        w.append_sealed(k, e.as_bytes(), &[&payload::pack(meta, piece)], Claim::Settle).unwrap();
        w.flush().unwrap();
    };
    a(&mut w, Kind::SourceStarted, &ev_started, &serde_json::to_vec(&notice).unwrap(), b"");
    a(&mut w, Kind::Start, &ev, &serde_json::to_vec(&start).unwrap(), br#"{"model":"m","messages":[]}"#);
    a(&mut w, Kind::Output, &ev, b"", b"Hello, ");
    a(&mut w, Kind::End, &ev, &serde_json::to_vec(&end).unwrap(), b"world");
    w.sync().unwrap();
    w.append(Kind::Acked, &[&4u64.to_le_bytes(), b"74e7a84fa1b9d2a32e3b3a2b5d6b3c1f"], Claim::Settle)
        .unwrap();
    w.close().unwrap();
    let bytes = dir.bytes("00000001.spool").unwrap();
    let (header, hl) = FileHeader::parse(&bytes).unwrap();
    println!("file-header {}", to_hex(&bytes[..hl]));
    let sealed = SealedBy::parse(&header.ext).unwrap();
    println!("file_id {} log {} enc {}", to_hex(&header.file_id), header.log_id, to_hex(&sealed.enc));
    let cipher = private.open_file(&header, &sealed).unwrap();
    let mut rest = &bytes[hl..];
    while !rest.is_empty() {
        let (f, len) = indelible_spool::frame::parse(rest, &header.file_id).unwrap();
        println!("frame {} {:?} {}", f.seq, f.kind, to_hex(&rest[..len]));
        if !f.kind.is_control() {
            let (_, plain) = cipher.open(f.seq, &rest[..17], f.body).unwrap();
            let (meta, piece) = payload::split(&plain).unwrap();
            println!(
                "plain {} {} | {} | {:?}",
                f.seq,
                to_hex(&plain),
                String::from_utf8_lossy(meta),
                payload::unpack(piece).unwrap()
            );
        }
        rest = &rest[len..];
    }
    let text = "indelible ".repeat(20);
    let packed = payload::pack(b"", text.as_bytes());
    println!("piece-zstd {}", to_hex(&packed[4..]));
    // wal
    let inc = Uuid::from_bytes(seq_bytes(0x10));
    let origin = Origin { incarnation: inc, seq: 2 };
    let recs = [
        Record::Source { incarnation: inc, id: "gateway-1" },
        Record::Taken(Origin { incarnation: inc, seq: 1 }),
        Record::Open { origin, event_id: ev, tenant: "default", draft: br#"{"v":1}"#, part: &[0xaa, 0xbb] },
        Record::Part {
            origin: Origin { incarnation: inc, seq: 3 },
            event_id: ev,
            stream: Stream::Output,
            part: &[0xcc],
        },
        Record::Entry {
            origin: Origin { incarnation: inc, seq: 4 },
            event_id: ev,
            tenant: "default",
            refs: vec![Ref { file_no: 1, offset: 68 }, Ref { file_no: 1, offset: 300 }],
            entry: br#"{"seq":1}"#,
            part: &[0xdd],
        },
        Record::Checkpoint { notes: vec![b"a\n\n", b"b\n\n"] },
    ];
    for r in recs {
        println!("wal {} {}", r.kind() as u8, to_hex(&r.encode()));
    }
    // vault
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("master.key"), seq_bytes::<32>(0xa0)).unwrap();
    let mut vault = Vault::open(KeyStore::open(temp.path()).unwrap()).unwrap();
    let subject = vault.subject("default", Basis::User, "jane@example.com").unwrap();
    let key = vault.data_key("default", subject, 2026 * 12 + 10).unwrap();
    let mut ctx = b"default\0".to_vec();
    ctx.extend_from_slice(ev.as_bytes());
    ctx.extend_from_slice(inc.as_bytes());
    ctx.extend_from_slice(&3u64.to_le_bytes());
    let part = seal::seal(&key, &ctx, &payload::pack(b"", b"Hello, ")).unwrap();
    println!("subject {subject}\npart-context {}\npart {}", to_hex(&ctx), to_hex(&part));
    println!("hashed {}", vault.hashed("default", "Jane's model"));
    println!("hashed2 {}", vault.hashed("default", "jane@example.com"));
    vault.sync().unwrap();
    let slots = std::fs::read(temp.path().join("vault.slots")).unwrap();
    for s in slots.chunks(128) {
        println!("slot {}", to_hex(s));
    }
    let k = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &*vault.keys().derive("ack", ""));
    let mut c = ring::hmac::Context::with_key(&k);
    c.update(inc.as_bytes());
    c.update(&4u64.to_le_bytes());
    println!("ack {}", to_hex(&c.sign().as_ref()[..16]));
    let mut c = ring::hmac::Context::with_key(&k);
    c.update(header.log_id.as_bytes());
    c.update(&4u64.to_le_bytes());
    println!("ack-for-log {}", to_hex(&c.sign().as_ref()[..16]));
    for p in ["vault", "ack", "api-key-id"] {
        println!("derive {p} {}", to_hex(&*vault.keys().derive(p, "")));
    }
    println!("derive lookup default {}", to_hex(&*vault.keys().derive("lookup", "default")));
    let signer = indelible_ledger::Ed25519Signer::from_seed(
        "ledger.example/0198f3a2-6c1d-7e40-9b52-3f0a7d5c8e11",
        &seq_bytes::<32>(0),
    )
    .unwrap();
    let text = indelible_verify::directory::digest_text(1, 4096, &seq_bytes::<32>(0xc0));
    println!("{}", indelible_ledger::Note::sign(text, &[&signer as &dyn indelible_ledger::Signer]).unwrap());
    let _: SubjectRef = subject;
}
