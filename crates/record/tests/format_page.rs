//! The vectors in `docs/formats/entry.md` are what this crate does: a fenced block whose info string is
//! `vector NAME` is checked here, and one that no test knows fails.

use indelible_record::canonical;
use indelible_record::commitment::{Commitment, Committer, from_hex, hash_text};
use indelible_record::entry::{Entry, VERSION, event_type};
use indelible_record::identity::{is_clear_or_hashed, may_stand_clear};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("../../../docs/formats/entry.md");

const NAMES: [&str; 7] =
    ["chain", "every-field", "leaves", "commitment", "clear-or-hashed", "canonical", "refused"];

/// The lines of the block called `name`, the last line end left out.
fn vector(name: &str) -> &'static str {
    let (_, after) = PAGE.split_once(&format!("\n```vector {name}\n")).expect("a block of that name");
    after.split_once("\n```").expect("an end of the block").0
}

/// The three entries of the page, in order.
fn entries() -> Vec<&'static str> {
    vector("chain").lines().chain([vector("every-field")]).collect()
}

fn leaf_hash(entry: &str) -> String {
    hash_text(&Sha256::new_with_prefix([0]).chain_update(entry).finalize().into())
}

#[test]
fn every_vector_is_tested() {
    let named: Vec<&str> = PAGE.lines().filter_map(|line| line.strip_prefix("```vector ")).collect();
    assert_eq!(named, NAMES);
}

#[test]
fn entries_are_read_and_written_again_to_the_byte() {
    for text in entries() {
        let entry = Entry::parse(text.as_bytes()).expect("an entry");
        assert_eq!(entry.to_bytes().unwrap(), text.as_bytes());
        assert_eq!(entry.v, VERSION);
    }
}

#[test]
fn entries_are_chained_by_their_leaf_hashes() {
    let mut prev = hash_text(&[0; 32]);
    let mut leaves = Vec::new();
    for (seq, text) in entries().into_iter().enumerate() {
        let entry = Entry::parse(text.as_bytes()).unwrap();
        assert_eq!((entry.seq, entry.prev_hash), (seq as u64, prev));
        assert_eq!(entry.event_type == event_type::GENESIS, seq == 0);
        prev = leaf_hash(text);
        leaves.push(format!("{seq} {prev}"));
    }
    assert_eq!(leaves.join("\n"), vector("leaves"));
}

/// A field that the table names is in the example, and the other way round.
#[test]
fn the_table_names_every_field() {
    let (_, table) = PAGE.split_once("| field | type | present | means | from |\n").expect("the table");
    let table = table.split_once("\n\n").expect("its end").0;
    let named: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .collect();
    let every: serde_json::Value = serde_json::from_str(vector("every-field")).unwrap();
    let members: Vec<&String> = every.as_object().expect("an object").keys().collect();
    assert_eq!(named, members);
}

#[test]
fn commitments() {
    let lines: Vec<(&str, &str)> =
        vector("commitment").lines().map(|line| line.split_once(' ').expect("name and value")).collect();
    let [("salt", salt), ("bytes", bytes), ("commitment", text)] = lines[..] else { panic!("three lines") };
    let mut committer = Committer::new(from_hex(salt).expect("32 bytes in hex"));
    committer.update(bytes.as_bytes());
    let commitment: Commitment = committer.finish();
    assert_eq!(commitment.to_text(), text);
    assert!(commitment.opens_to(bytes.as_bytes()));
    // It is the input of the second entry.
    let entry = Entry::parse(entries()[1].as_bytes()).unwrap();
    assert_eq!(
        entry.input.map(|input| (input.commitment, input.bytes)),
        Some((text.to_owned(), commitment.bytes))
    );
}

#[test]
fn clear_or_hashed() {
    for line in vector("clear-or-hashed").lines() {
        let (word, text) = line.split_once(' ').expect("a word and a string");
        assert_eq!(may_stand_clear(text), word == "clear", "{line}");
    }
    let every = Entry::parse(vector("every-field").as_bytes()).unwrap();
    assert!(every.model.is_some_and(|model| model.starts_with("h:") && is_clear_or_hashed(&model)));
}

#[test]
fn canonical_forms() {
    for line in vector("canonical").lines() {
        let (read, written) = line.split_once('\t').expect("two forms");
        let value: serde_json::Value = serde_json::from_str(read).expect("JSON");
        assert_eq!(String::from_utf8(canonical::to_vec(&value).unwrap()).unwrap(), written);
        assert!(canonical::parse(written.as_bytes()).is_ok());
        assert_eq!(canonical::parse(read.as_bytes()).is_ok(), read == written);
    }
}

#[test]
fn refused() {
    let accepted =
        r#"{"event_id":"","event_type":"","prev_hash":"","seq":0,"tenant_id":"","timestamp":"","v":1}"#;
    assert!(Entry::parse(accepted.as_bytes()).is_ok(), "each line below differs from this one in one thing");
    for line in vector("refused").lines() {
        assert!(Entry::parse(line.as_bytes()).is_err(), "{line}");
    }
}
