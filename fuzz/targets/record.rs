//! Canonical JSON, entries, what frames say, packed pieces, identifiers: what the `record` crate reads.
//!
//! Holds: canonical bytes are those of an independent implementation and have one spelling; what is read is
//! written back the same; the two readers of entries take the same bytes; no piece unpacks to more than its limit; nothing that stands clear is of a form that
//! entries keep for themselves.

#![no_main]

use indelible_fuzz::Input;
use indelible_record::canonical;
use indelible_record::entry::{Entry, Side};
use indelible_record::event::{
    ConfigChange, End, Gap, PieceMeta, Private, Rejections, Rewrite, SourceNotice, Start,
};
use indelible_record::shipping::{Ack, Acknowledged};
use indelible_record::view::{EntryView, SideView};
use indelible_record::{identity, payload};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 6 {
        0 => canonical_json(input.rest()),
        1 => entry(input.rest()),
        2 => pieces(input.rest()),
        3 => metas(input.byte(), input.rest()),
        4 => identifiers(input.rest()),
        _ => rewrite(&mut input),
    }
});

fn canonical_json(bytes: &[u8]) {
    let parsed = canonical::parse(bytes);
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else {
        assert!(parsed.is_err());
        return;
    };
    match canonical::to_vec(&value) {
        Ok(written) => {
            assert_eq!(written, serde_json_canonicalizer::to_vec(&value).unwrap());
            assert_eq!(canonical::parse(&written).unwrap(), value);
            assert_eq!(parsed.is_ok(), written == bytes);
        }
        Err(_) => assert!(parsed.is_err()),
    }
}

/// Both readers of entries take the same bytes and read the same in them.
fn entry(bytes: &[u8]) {
    let viewed = EntryView::parse(bytes);
    let entry = match Entry::parse(bytes) {
        Ok(entry) => entry,
        Err(error) => return assert_eq!(viewed, Err(error)),
    };
    assert_eq!(entry.to_bytes().unwrap(), bytes);
    let view = viewed.unwrap();
    let side = |side: &Side| (side.bytes, side.commitment.clone());
    let side_view = |side: &SideView<'_>| (side.bytes, side.commitment.to_string());
    assert_eq!(view.input.as_ref().map(side_view), entry.input.as_ref().map(side));
    assert_eq!(view.output.as_ref().map(side_view), entry.output.as_ref().map(side));
    let resource = view.resource.as_ref().map(|resource| (&*resource.id, &*resource.kind));
    assert_eq!(resource, entry.resource.as_ref().map(|resource| (&*resource.id, &*resource.kind)));
    assert_eq!(view.detail(), entry.detail);
    assert_eq!(view.seq, entry.seq);
    for (viewed, read) in [
        (&view.event_id, &entry.event_id),
        (&view.event_type, &entry.event_type),
        (&view.prev_hash, &entry.prev_hash),
        (&view.tenant_id, &entry.tenant_id),
        (&view.timestamp, &entry.timestamp),
    ] {
        assert_eq!(viewed, read);
    }
    for (viewed, read) in [
        (&view.api_key_id, &entry.api_key_id),
        (&view.parent_event_id, &entry.parent_event_id),
        (&view.request_id, &entry.request_id),
        (&view.session_id, &entry.session_id),
        (&view.subject_ref, &entry.subject_ref),
        (&view.trace_id, &entry.trace_id),
    ] {
        assert_eq!(viewed.as_deref(), read.as_deref());
    }
}

fn pieces(body: &[u8]) {
    let Ok((meta, piece)) = payload::split(body) else { return };
    assert_eq!(payload::join(meta, piece), body);
    let Ok(plain) = payload::unpack(piece) else { return };
    assert!(plain.len() <= payload::PIECE_MAX_BYTES);
    let packed = payload::pack(meta, &plain);
    let (same_meta, piece) = payload::split(&packed).unwrap();
    assert_eq!((same_meta, payload::unpack(piece).unwrap()), (meta, plain));
}

fn metas(which: u8, bytes: &[u8]) {
    match which % 10 {
        0 => same_again::<Start>(bytes),
        1 => same_again::<End>(bytes),
        2 => same_again::<Private>(bytes),
        3 => same_again::<PieceMeta>(bytes),
        4 => same_again::<Gap>(bytes),
        5 => same_again::<ConfigChange>(bytes),
        6 => same_again::<Rejections>(bytes),
        7 => same_again::<SourceNotice>(bytes),
        8 => same_again::<Ack>(bytes),
        _ => same_again::<Acknowledged>(bytes),
    }
}

fn same_again<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(bytes) {
        let written = serde_json::to_vec(&value).unwrap();
        assert_eq!(serde_json::from_slice::<T>(&written).unwrap(), value);
    }
}

fn identifiers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if identity::may_stand_clear(text) {
        assert!(identity::is_clear_or_hashed(text));
        assert!((1..=identity::CLEAR_MAX_BYTES).contains(&text.len()));
        assert!(!text.starts_with("h:") && !text.contains('@'));
        // Nothing that stands clear becomes personal by what is put before it in a tag.
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        assert!(digits < 9 || !text.bytes().all(|byte| byte.is_ascii_digit()));
    }
    if identity::tag_may_stand_clear(text) {
        assert!(identity::may_stand_clear(text));
    }
}

fn rewrite(input: &mut Input<'_>) {
    let (at, removed) = (u64::from(input.number()), u64::from(input.number()));
    let inserted = String::from_utf8_lossy(input.line()).into_owned();
    let body = input.rest();
    let sent = indelible_record::Committer::new([0; 32]).finish();
    let rewrite = Rewrite { name: "x".to_owned(), at, removed, inserted, sent };
    let fits = at + removed <= body.len() as u64;
    let applied = rewrite.apply(body);
    assert_eq!(applied.is_some(), fits);
    if let Some(applied) = applied {
        assert_eq!(applied.len() as u64, body.len() as u64 - removed + rewrite.inserted.len() as u64);
    }
}
