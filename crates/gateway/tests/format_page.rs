//! The vectors in `docs/formats/api-keys.md` are what this crate does: a fenced block whose info string is
//! `vector NAME` is checked here, and one that no test knows fails.

use indelible_gateway::access::keys::State;
use indelible_gateway::access::{ApiKey, ApiKeys, key_text};
use indelible_record::commitment::from_hex;

const PAGE: &str = include_str!("../../../docs/formats/api-keys.md");

const NAMES: [&str; 3] = ["key", "no-keys", "file"];

/// The lines of the block called `name`, the last line end left out.
fn vector(name: &str) -> &'static str {
    let (_, after) = PAGE.split_once(&format!("\n```vector {name}\n")).expect("a block of that name");
    after.split_once("\n```").expect("an end of the block").0
}

/// The value behind a name in the block `key`.
fn value(name: &str) -> &'static str {
    let line = vector("key").lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("a line of that name")
}

fn id_key() -> [u8; 32] {
    from_hex(value("id-key")).expect("32 bytes in hex")
}

#[test]
fn every_vector_is_tested() {
    let named: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("```vector ")).collect();
    assert_eq!(named, NAMES);
}

#[test]
fn a_key_is_made_and_known_as_the_page_says() {
    let key = key_text::of_bytes(&from_hex(value("random")).expect("32 bytes in hex"));
    assert_eq!(*key, value("key"));
    let hash = ApiKeys::hash(&key, &id_key()).expect("a key");
    assert_eq!(ApiKey::new(hash).id(), value("id"));
    for line in vector("no-keys").lines() {
        assert_ne!(key_text::form_of(line.as_bytes()), key_text::Form::Whole, "{line}");
    }
}

#[test]
fn the_file_is_read_and_written_again_to_the_byte() {
    let text = format!("{}\n", vector("file"));
    let keys = ApiKeys::parse(text.as_bytes(), &id_key()).expect("a file of keys");
    assert_eq!(String::from_utf8(keys.to_bytes()).expect("text"), text);
    let [first, second] = keys.iter().collect::<Vec<_>>()[..] else { panic!("two keys") };
    assert_eq!((first.id().as_str(), first.state()), (value("id"), State::Active));
    assert_eq!(second.state(), State::Revoked);
}
