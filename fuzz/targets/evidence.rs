//! Evidence bundles and timestamps: what `indelible-verify` reads, from whoever hands them over.
//!
//! Holds: every input gets a verdict; where that is "holds", what is said of the bundle is what is in it, and with one
//! bit of the file changed, an entry left out or changed, or a payload changed, and all of it signed again but for the
//! checkpoint, it is broken. A timestamp is over one document, and not with a byte more or less.

#![no_main]

use indelible_fuzz::Input;
use indelible_fuzz::bundle::{Parts, log_key, put_imprint, witness_key};
use indelible_ledger::Policy;
use indelible_verify::evidence::{Check, Fault, Shown, check};
use indelible_verify::timestamp;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};
use std::io::Cursor;
use std::sync::LazyLock;

static POLICY: LazyLock<Policy> = LazyLock::new(|| policy("none"));
static WITNESSED: LazyLock<Policy> = LazyLock::new(|| policy("w"));

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 3 {
        0 => any_file(&mut input),
        1 => packed(&mut input),
        _ => token(&mut input),
    }
});

fn policy(quorum: &str) -> Policy {
    let text = format!("log {}\nwitness w {}\nquorum {quorum}\n", log_key(), witness_key());
    Policy::parse(text.as_bytes()).unwrap()
}

/// Bytes in memory can be read: what is wrong with them is a verdict.
fn verdict(file: &[u8], policy: Option<&Policy>) -> Result<Shown, Check> {
    match check(Cursor::new(file), policy) {
        Ok(shown) => Ok(shown),
        Err(Fault::Broken(check, what)) => {
            assert!(!what.is_empty());
            Err(check)
        }
        Err(Fault::Unreadable(error)) => panic!("{error}"),
    }
}

fn any_file(input: &mut Input<'_>) {
    let flip = (input.number(), input.number());
    let file = input.rest();
    let with_policy = verdict(file, Some(&POLICY));
    if verdict(file, None).is_ok() {
        assert_ne!(with_policy, Err(Check::Zip));
        assert!(verdict(&flipped(file, flip), None).is_err());
    }
}

fn packed(input: &mut Input<'_>) {
    let mending = input.byte();
    let (how, at, flip) = (input.byte(), input.number(), (input.number(), input.number()));
    let mut parts = Parts::read(input.rest());
    let has = |bit: u8| mending >> bit & 1 == 1;
    if has(0) {
        parts.mend_chain();
    }
    if has(1) {
        parts.mend_root();
    }
    let is_cosigned = has(2);
    let Some(checkpoint) = parts.sign(is_cosigned) else { return };
    if has(3) {
        parts.mend_tokens(&checkpoint);
    }
    let file = parts.pack(&checkpoint);
    let found = verdict(&file, None);
    let trusted = verdict(&file, Some(&POLICY));
    let Ok(shown) = found else { return assert_eq!(trusted, found) };
    let witnessed = verdict(&file, Some(&WITNESSED));
    assert_eq!(witnessed.is_ok(), is_cosigned);
    let trusted = trusted.unwrap();
    assert_eq!(trusted.cosigned.is_some(), is_cosigned);
    assert_eq!(Shown { identity_checked: false, cosigned: None, ..trusted }, shown);

    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count() as u64 - 1;
    let counts = shown.counts;
    assert_eq!(counts.entries, lines(&parts.entries));
    assert_eq!(counts.disclosed + counts.withheld + counts.erased, lines(&parts.openings));
    assert!(shown.range.is_none_or(|(from, to)| to - from == counts.entries && to <= shown.size));
    assert!(counts.entries <= shown.size && shown.gaps <= counts.entries);
    assert_eq!(shown.tokens.len(), parts.tokens.len());

    assert!(verdict(&flipped(&file, flip), None).is_err());
    if tamper(&mut parts, how, at, flip) {
        assert!(verdict(&parts.pack(&checkpoint), None).is_err());
    }
}

/// Changes what a producer with the log's key might like to be other than it was; `false` where there is no such thing.
fn tamper(parts: &mut Parts, how: u8, at: u16, flip: (u16, u16)) -> bool {
    let mut lines: Vec<&[u8]> = parts.entries.split_inclusive(|byte| *byte == b'\n').collect();
    match how % 4 {
        0 => {
            lines.remove(usize::from(at) % lines.len());
            parts.entries = lines.concat();
        }
        1 => parts.entries = flipped(&parts.entries, flip),
        2 => {
            let count = parts.payloads.len();
            let Some((_, bytes)) = parts.payloads.get_mut(usize::from(at) % count.max(1)) else {
                return false;
            };
            *bytes = if bytes.is_empty() { vec![0] } else { flipped(bytes, flip) };
        }
        _ => {
            let at = usize::from(at) % lines.len();
            let line = lines[at];
            lines.insert(at, line);
            parts.entries = lines.concat();
        }
    }
    true
}

fn token(input: &mut Input<'_>) {
    let (is_mended, cut, length) =
        (input.byte() % 2 == 0, usize::from(input.number()), usize::from(input.byte()));
    let nonce: [u8; 8] = std::array::from_fn(|_| input.byte());
    let (document, response) = input.rest().split_at(length.min(input.rest().len()));
    let mut response = response.to_vec();
    if is_mended {
        put_imprint(&mut response, &Sha256::digest(document).into());
    }
    if let Ok(time) = timestamp::time_over(&response, document) {
        let (day, of_day) = time.split_once('T').unwrap();
        assert!(day.len() == 10 && of_day.len() >= 9 && of_day.ends_with('Z'));
        assert!(timestamp::time_over(&response, &[document, b"x"].concat()).is_err());
        assert!(timestamp::time_over(&[&response[..], b"x"].concat(), document).is_err());
        assert!(timestamp::time_over(&response[..cut % response.len()], document).is_err());
    }
    if let Ok(found) = timestamp::certificates(&response) {
        assert!(found.iter().all(|one| one.first() == Some(&0x30)));
        assert!(found.iter().map(|one| one.len()).sum::<usize>() < response.len());
    }
    if timestamp::answers(&response, nonce) == Ok(true) {
        let mut other = nonce;
        other[7] ^= 1;
        assert_eq!(timestamp::answers(&response, other), Ok(false));
    }
    // A request is no answer.
    assert!(timestamp::time_over(&timestamp::request(document, nonce), document).is_err());
}

/// One bit changed, of bytes that are there.
fn flipped(bytes: &[u8], (at, bit): (u16, u16)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    // Files may be longer than a number says.
    let at = (usize::from(at) * 4 + usize::from(bit / 8)) % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
    bytes
}
