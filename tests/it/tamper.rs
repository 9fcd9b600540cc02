//! One changed bit anywhere in a data directory is found and named; so is every cheat on entries.
//!
//! Bits are flipped in every file outside `cache/` and `run/`: each bit of the small ones, and of the log
//! files a seeded walk that visits every frame. The cheats are what a forger with write access and all of this
//! program's code, but without the signing key, could do: checksums, chain and tree are made to fit.

use crate::common::{ModelServer, Site};
use indelible_os::durable::FsDir;
use indelible_spool::frame::{FileHeader, Kind, Role};
use indelible_spool::reader::{self, FileReader};
use indelible_spool::wal::Record;
use indelible_spool::writer::{Claim, FILE_MAX_BYTES, LogWriter, Options};
use indelible_standin::load::{self, Plan};
use indelible_vault::KeyStore;
use indelible_verify::Verdict;
use indelible_verify::directory::{self, Report, Trust};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Positions flipped in each log file, besides one in each frame's header and checksum.
const FLIPS_PER_LOG: usize = 400;

/// A ledger of some requests, closed in good order, which verifies.
fn recorded() -> (Site, Trust) {
    let site = Site::new();
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let plan = Plan { requests: 40, ..Plan::default() };
    let outcome = runtime.block_on(load::run(plan, &up.url(), Some("sk-test"), 4, |_| {}));
    assert_eq!(outcome.completed, 40);
    up.wait_shipped();
    assert_eq!(up.stop(), 0, "{}", up.log());
    let trust = Trust { keys: KeyStore::key_histories(&site.keys).unwrap(), head: head(&site) };
    let report = check(&site.data, &trust);
    assert_eq!(report.verdict, Verdict::Holds, "{:#?}", report.findings);
    assert_eq!(report.ledgers.iter().find(|ledger| ledger.tenant == "default").unwrap().signed, 41);
    (site, trust)
}

fn head(site: &Site) -> Vec<(String, String)> {
    let head: serde_json::Value =
        serde_json::from_slice(&std::fs::read(site.keys.join("head")).unwrap()).unwrap();
    let ledgers = head["ledgers"].as_object().unwrap();
    ledgers.iter().map(|(tenant, note)| (tenant.clone(), note.as_str().unwrap().to_owned())).collect()
}

fn check(data: &Path, trust: &Trust) -> Report {
    directory::check(data, trust, |_, _| {})
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("cache") && !path.ends_with("run") {
                found.extend(files(&path));
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every bit of a small file; of a log file, a byte in each part of each frame and a seeded walk.
fn positions(path: &Path, bytes: &[u8]) -> Vec<(usize, u8)> {
    if bytes.len() <= 512 {
        return (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))).collect();
    }
    let mut found = Vec::new();
    if let Ok((header, len)) = FileHeader::parse(bytes) {
        found.extend((0..len).map(|at| (at, (at % 8) as u8)));
        let mut at = len;
        while let Ok((frame, len)) = indelible_spool::frame::parse(&bytes[at..], &header.file_id) {
            found.extend([(at, 0), (at + 4, 1), (at + 7, 2), (at + 14, 3), (at + len - 1, 4)]);
            if !frame.body.is_empty() {
                found.extend([
                    (at + 17, 5),
                    (at + 17 + frame.body.len() / 2, 6),
                    (at + 16 + frame.body.len(), 7),
                ]);
            }
            at += len;
        }
    }
    let mut seed = bytes.len() as u64 ^ path.as_os_str().len() as u64;
    for _ in 0..FLIPS_PER_LOG {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        found.push(((seed >> 16) as usize % bytes.len(), (seed >> 60) as u8 % 8));
    }
    found
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_its_file_named() {
    let (site, trust) = recorded();
    let mut flips = 0;
    for path in files(&site.data) {
        let whole = std::fs::read(&path).unwrap();
        for (at, bit) in positions(&path, &whole) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            let report = check(&site.data, &trust);
            assert_eq!(
                report.verdict,
                Verdict::Broken,
                "{} byte {at} bit {bit}: {:#?}",
                path.display(),
                report.findings
            );
            let named = report
                .findings
                .iter()
                .any(|finding| finding.verdict == Verdict::Broken && finding.file == path);
            assert!(named, "{} byte {at} bit {bit}: {:#?}", path.display(), report.findings);
            flips += 1;
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(check(&site.data, &trust).verdict, Verdict::Holds);
    println!("{flips} bits flipped, each found");
}

#[test]
fn a_missing_or_cut_file_is_found() {
    let (site, trust) = recorded();
    for path in files(&site.data) {
        let whole = std::fs::read(&path).unwrap();
        for left in [0, 1, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..left]).unwrap();
            let report = check(&site.data, &trust);
            assert_ne!(report.verdict, Verdict::Holds, "{} cut to {left}", path.display());
        }
        std::fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert_ne!(
            check(&site.data, &trust).verdict,
            Verdict::Holds,
            "{} with a zero behind it",
            path.display()
        );
        // A checkpoint copy and a shipped spool file may be gone: the head still says what must be there.
        if path.extension().is_some_and(|extension| extension == "wal") {
            std::fs::remove_file(&path).unwrap();
            assert_eq!(check(&site.data, &trust).verdict, Verdict::Broken, "{} removed", path.display());
        }
        std::fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn after_a_kill_the_open_tail_is_doubtful_and_a_bit_in_its_padding_is_broken() {
    let site = Site::new();
    let model = ModelServer::start();
    let mut up = site.up(&model.url, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let plan = Plan { requests: 10, ..Plan::default() };
    runtime.block_on(load::run(plan, &up.url(), None, 4, |_| {}));
    up.wait_shipped();
    up.kill();
    let trust = Trust { keys: KeyStore::key_histories(&site.keys).unwrap(), head: head(&site) };
    assert_eq!(check(&site.data, &trust).verdict, Verdict::Unsure);
    for log in ["wal/00000001.wal", "spool/00000001.spool"] {
        let path = site.data.join(log);
        let mut bytes = std::fs::read(&path).unwrap();
        let padding = bytes.len() - 1000;
        assert_eq!(bytes[padding], 0);
        bytes[padding] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let report = check(&site.data, &trust);
        assert_eq!(report.verdict, Verdict::Broken);
        assert!(report.findings.iter().any(|finding| finding.file == path), "{:#?}", report.findings);
        bytes[padding] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
    }
    let mut up = site.up(&model.url, &[]);
    assert_eq!(up.stop(), 0, "{}", up.log());
    assert_eq!(check(&site.data, &trust).verdict, Verdict::Holds, "a restart settles the doubt");
}

/// What a forger does to the list of entries of the default ledger.
type Forge = fn(&mut Vec<Vec<u8>>);

#[test]
fn no_cheat_on_entries_passes_without_the_signing_key() {
    let cheats: [(&str, Forge); 6] = [
        ("edited", |entries| edit_first(entries, "\"http_status\":200", "\"http_status\":500")),
        ("dropped", |entries| drop(entries.remove(7))),
        ("swapped", |entries| entries.swap(8, 9)),
        ("doubled", |entries| entries.insert(10, entries[10].clone())),
        ("truncated", |entries| entries.truncate(20)),
        ("rebuilt, chain and numbers made to fit", |entries| {
            entries.remove(7);
            relink(entries);
        }),
    ];
    let (site, trust) = recorded();
    for (name, forge) in cheats {
        let forged = Site::new();
        let mut entries = entries_of(&site.data);
        let before = entries.clone();
        forge(&mut entries);
        assert_ne!(entries, before, "{name}: nothing was forged");
        rebuild(&site.data, &forged.data, &entries);
        let report = check(&forged.data, &trust);
        assert_eq!(report.verdict, Verdict::Broken, "{name}");
        let named = report.findings.iter().any(|f| {
            f.verdict == Verdict::Broken && f.ledger.as_deref() == Some("default") && f.seq.is_some()
        });
        assert!(named, "{name}: {:#?}", report.findings);
    }
}

#[test]
fn a_ledger_signed_by_another_key_is_not_taken_for_ours() {
    let (_, trust) = recorded();
    let (other, _) = recorded();
    let report = check(&other.data, &trust);
    assert_eq!(report.verdict, Verdict::Broken);
    assert!(report.findings.iter().any(|finding| finding.file.ends_with("ledgers/default/checkpoint")));
}

/// Which answer comes in first is chance.
fn edit_first(entries: &mut [Vec<u8>], from: &str, to: &str) {
    let holds = |entry: &&mut Vec<u8>| entry.windows(from.len()).any(|window| window == from.as_bytes());
    let entry = entries.iter_mut().find(holds).expect("an entry to edit");
    *entry = String::from_utf8(entry.clone()).unwrap().replace(from, to).into_bytes();
}

/// Makes numbers and chain fit again, as someone would who has this program's code.
fn relink(entries: &mut [Vec<u8>]) {
    let mut previous = indelible_ledger::Hash::ZERO;
    for (seq, bytes) in entries.iter_mut().enumerate() {
        let mut entry: indelible_record::Entry = serde_json::from_slice(bytes).unwrap();
        entry.seq = seq as u64;
        entry.prev_hash = previous.to_string();
        *bytes = entry.to_bytes().unwrap();
        previous = indelible_ledger::leaf_hash(bytes);
    }
}

fn entries_of(data: &Path) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    indelible_collector::entries::visit(data, "default", |bytes| {
        entries.push(bytes.to_vec());
        true
    })
    .unwrap();
    entries
}

/// Writes a data directory like `from`, its default ledger replaced: every checksum right, every old
/// signature kept where one can be kept.
fn rebuild(from: &Path, to: &Path, entries: &[Vec<u8>]) {
    std::fs::create_dir_all(to.join("wal")).unwrap();
    std::fs::copy(from.join("FORMAT"), to.join("FORMAT")).unwrap();
    for tenant in ["default", "operations"] {
        let dir = to.join("ledgers").join(tenant);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::copy(from.join("ledgers").join(tenant).join("checkpoint"), dir.join("checkpoint")).unwrap();
    }
    let options = Options { role: Role::Wal, limit_bytes: None, file_bytes: FILE_MAX_BYTES, seal: None };
    let dir = Arc::new(FsDir::open(&to.join("wal")).unwrap());
    let (mut writer, _) = LogWriter::open(dir, options, |_, _, _| Ok(()), || 0).unwrap();
    let mut entries = entries.iter();
    let old = FsDir::existing(&from.join("wal"));
    for (_, name) in reader::list(&old, "wal").unwrap() {
        let mut file = FileReader::open(&old, &name).unwrap().unwrap();
        while let Some(frame) = file.next_frame().unwrap() {
            if frame.kind.is_control() {
                continue;
            }
            match Record::parse(frame.kind, frame.body).unwrap() {
                Record::Entry { origin, event_id, tenant: "default", refs, part, .. } => {
                    let Some(entry) = entries.next() else { continue };
                    let record = Record::Entry { origin, event_id, tenant: "default", refs, entry, part };
                    writer.append(Kind::Entry, &[&record.encode()], Claim::Admit).unwrap();
                }
                _ => drop(writer.append(frame.kind, &[frame.body], Claim::Admit).unwrap()),
            }
        }
    }
    writer.close().unwrap();
}
