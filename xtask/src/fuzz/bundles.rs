//! What the target `evidence` begins with: the bundles of crates/report/corpus, as they are and in their parts, and the
//! timestamps in them.

use super::seeds::{Numbered, Seeds, read};
use crate::machine;
use std::fs;
use std::path::PathBuf;

/// What stands before each part (`fuzz/src/bundle.rs`).
const SEPARATOR: [u8; 2] = [0xff, 0xfe];
/// Bytes of a local header before its name (APPNOTE.TXT 4.3.7).
const LOCAL_BYTES: usize = 30;
/// Of the chain, the root, cosignatures and tokens: what is to be mended.
const MENDED: [u8; 3] = [0b0000, 0b1010, 0b1111];

pub(super) fn evidence() -> Seeds {
    let mut seeds = Numbered::new();
    for path in corpus()? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = read(path)?;
        seeds.add(&[0, 0, 200, 0, 9], &file);
        // Where another check fails before the parts matter, there is nothing to learn from them.
        if ["zip", "manifest", "signature", "quorum"].iter().any(|check| name.starts_with(check)) {
            continue;
        }
        let members = members(&file);
        let parts: Vec<u8> = members.iter().filter_map(|(name, bytes)| part(name, bytes)).flatten().collect();
        for (how, mended) in MENDED.into_iter().enumerate() {
            seeds.add(&[1, mended, how as u8, 0, 1, 0, 200, 0, 9], &parts);
        }
        for (_, token) in members.iter().filter(|(name, _)| name.ends_with(".tsr")) {
            seeds.add(&[2, 0, 0, 9, 8, 1, 2, 3, 4, 5, 6, 7, 8], &[b"document", *token].concat());
        }
    }
    Ok(seeds.0)
}

/// The bundles, in the order of their names.
fn corpus() -> Result<Vec<PathBuf>, String> {
    let dir = machine::root().join("crates/report/corpus");
    let names = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut paths: Vec<PathBuf> = names.flatten().map(|name| name.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "zip"));
    paths.sort();
    Ok(paths)
}

/// The members of a zip whose data is stored, from its local headers; as far as they are in order.
fn members(mut file: &[u8]) -> Vec<(String, &[u8])> {
    let mut found = Vec::new();
    while let Some((header, behind)) = file.split_at_checked(LOCAL_BYTES) {
        if !header.starts_with(b"PK\x03\x04") {
            break;
        }
        let number = |from: usize, bytes: usize| {
            header
                .iter()
                .skip(from)
                .take(bytes)
                .rev()
                .fold(0, |number, byte| number << 8 | usize::from(*byte))
        };
        let Some((name, behind)) = behind.split_at_checked(number(26, 2)) else { break };
        let Some((data, behind)) = behind.split_at_checked(number(18, 4)) else { break };
        found.push((String::from_utf8_lossy(name).into_owned(), data));
        file = behind;
    }
    found
}

/// A member as a part; `None` where the target makes it itself.
fn part(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let letter = match name {
        "scope.json" => b's',
        "entries.jsonl" => b'e',
        "proof.txt" => b'p',
        "checkpoint" => b'c',
        "openings.jsonl" => b'o',
        "completeness.json" => b'm',
        "custody.jsonl" => b'u',
        _ if name.ends_with(".tsr") => b't',
        _ if name.starts_with("payloads/") => b'q',
        _ => return None,
    };
    let mut part = [&SEPARATOR[..], &[letter]].concat();
    match letter {
        b'q' => part.extend([name.as_bytes(), b"\n", bytes].concat()),
        // Its text without the signatures.
        b'c' => {
            let end = bytes.windows(2).rposition(|two| two == b"\n\n").map_or(bytes.len(), |at| at + 1);
            part.extend(bytes.iter().take(end));
        }
        _ => part.extend(bytes),
    }
    Some(part)
}
