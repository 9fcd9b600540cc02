//! The copy that is cheated on: what is in it, where in it is cheated, and putting back what was changed.

use crate::Trouble;
use crate::copy::{self, Copy};
use crate::outside::{Outside, trust_of, words};
use indelible_collector::drill::draw::Draw;
use indelible_collector::proofs::NoProof;
use indelible_collector::read::Payload;
use indelible_collector::{Collector, Config};
use indelible_ledger::ProofFile;
use indelible_os::durable;
use indelible_vault::KeyStore;
use indelible_verify::Verdict;
use indelible_verify::directory::{self, OPERATIONS};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

/// The shortest ledger that is cheated in.
pub const ENTRIES_MIN: u64 = 8;
/// Payloads larger than this are not swapped: each is one frame of the log.
const SWAPPED_MAX_BYTES: usize = 512 << 10;
/// Records that are looked at for two whose payloads can be swapped.
const LOOKS_MAX: usize = 32;

/// What is asked of a drill.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The original records.
    pub data: PathBuf,
    /// The original keys.
    pub keys: PathBuf,
    /// A directory for the copy: private, empty, and not in either of those.
    pub dir: PathBuf,
    /// Whose ledger; `None`: the longest.
    pub tenant: Option<String>,
    /// What places are drawn from.
    pub seed: u64,
    /// Whether checks have what an outsider kept.
    pub outside: bool,
}

/// A segment of the ledger.
pub struct Sealed {
    /// Its directory.
    pub path: PathBuf,
    /// Its entries.
    pub entries: Range<u64>,
}

/// The copy, and what is known of it.
pub struct Stage {
    /// Where it lies, and where there is room for more.
    pub dir: PathBuf,
    /// Records and keys.
    pub copy: Copy,
    /// Whose ledger is cheated in.
    pub tenant: String,
    /// Its entries.
    pub size: u64,
    /// Entries of it that stand in segments.
    pub sealed: Vec<Sealed>,
    /// Where to cheat.
    pub draw: Draw,
    /// What an outsider kept.
    pub outside: Outside,
    /// Two records that say different things, and what they say.
    pub said: Option<[(u64, Payload); 2]>,
    /// A proof of an entry.
    pub proof: ProofFile,
    /// Bytes that were copied.
    pub bytes: u64,
}

impl Stage {
    /// Copies, lets a collector recover the copy as after a crash, and keeps what an outsider would.
    ///
    /// # Errors
    /// [`Trouble`] if something cannot be read, or does not verify as it is.
    pub fn set(wish: &Wish) -> Result<Self, Trouble> {
        let sized = copy::bytes_of(&wish.data, &wish.keys);
        let bytes = sized.map_err(|error| Trouble::Io(wish.data.clone(), error))?;
        let copy = copy::take(&wish.data, &wish.keys, &wish.dir)?;
        let mut draw = Draw::new(wish.seed);
        let collector = start(&copy)?;
        let looked = look(&collector, wish, &mut draw);
        collector.stop()?;
        let Looked { tenant, size, sealed, said, proof } = looked?;
        let report = directory::check(&copy.data, &trust_of(&copy)?, |_, _| {});
        if report.verdict != Verdict::Holds {
            let found = report.findings.first().map_or_else(String::new, |found| words(found, &copy.data));
            return Err(Trouble::Broken(found));
        }
        let outside = Outside::keep(&wish.dir, &copy, &tenant)?;
        let sealed = sealed
            .into_iter()
            .map(|(path, entries)| Sealed { path: copy.data.join("segments").join(path), entries })
            .collect();
        Ok(Self { dir: wish.dir.clone(), copy, tenant, size, sealed, draw, outside, said, proof, bytes })
    }

    /// How many entries stand in segments.
    pub fn sealed_entries(&self) -> u64 {
        self.sealed.last().map_or(0, |last| last.entries.end)
    }

    /// An entry of the log that has one behind it; never the first of a ledger. `None`: there is none.
    pub fn in_log(&mut self) -> Option<u64> {
        self.draw_from(self.sealed_entries().max(1)..self.size.saturating_sub(1))
    }

    /// An entry of a segment that has one behind it there, and which segment. `None`: there is none.
    pub fn in_segment(&mut self) -> Option<(u64, PathBuf)> {
        let fits = |sealed: &&Sealed| sealed.entries.end - sealed.entries.start.max(1) >= 2;
        let count = self.sealed.iter().filter(fits).count() as u64;
        let chosen = usize::try_from(self.draw.below(count)).unwrap_or(0);
        let chosen = self.sealed.iter().filter(fits).nth(chosen)?;
        let (range, path) = (chosen.entries.start.max(1)..chosen.entries.end - 1, chosen.path.clone());
        Some((self.draw_from(range)?, path))
    }

    /// An entry, wherever it stands, that has one behind it.
    pub fn anywhere(&mut self) -> u64 {
        self.draw_from(1..self.size - 1).unwrap_or(1)
    }

    fn draw_from(&mut self, range: Range<u64>) -> Option<u64> {
        let count = range.end.checked_sub(range.start).filter(|count| *count > 0)?;
        Some(range.start + self.draw.below(count))
    }

    /// A directory for a forged history, empty.
    pub fn forged_dir(&self) -> Result<PathBuf, Trouble> {
        let dir = self.dir.join("forged");
        if dir.exists() {
            std::fs::remove_dir_all(&dir).map_err(|error| Trouble::Io(dir.clone(), error))?;
        }
        copy::make_private(&dir).map_err(|error| Trouble::Io(dir.clone(), error))?;
        Ok(dir)
    }
}

/// Starts a collector on a copy.
pub fn start(at: &Copy) -> Result<Collector, Trouble> {
    let mut config = Config::new(&at.data);
    config.keys.clone_from(&at.keys);
    // Where a cheat finds its entry must not change between looking and cheating.
    config.seals_by_itself = false;
    let tenants = KeyStore::verifier_keys(&at.keys)?.into_iter().map(|(tenant, _)| tenant);
    config.tenants = tenants.filter(|tenant| tenant != OPERATIONS).collect();
    Ok(Collector::start(config)?)
}

struct Looked {
    tenant: String,
    size: u64,
    sealed: Vec<(String, Range<u64>)>,
    said: Option<[(u64, Payload); 2]>,
    proof: ProofFile,
}

/// What is known of the copy before it is cheated on.
fn look(collector: &Collector, wish: &Wish, draw: &mut Draw) -> Result<Looked, Trouble> {
    let mut sizes = collector.signed_sizes();
    sizes.retain(|(tenant, _)| {
        tenant != OPERATIONS && wish.tenant.as_ref().is_none_or(|wanted| tenant == wanted)
    });
    let longest = sizes.into_iter().max_by_key(|(_, size)| *size);
    let (tenant, size) = longest.ok_or(Trouble::NoLedger)?;
    if size < ENTRIES_MIN {
        return Err(Trouble::Short { tenant, entries: size, needed: ENTRIES_MIN });
    }
    let view = collector.view();
    let sealed = view.segments(&tenant).iter().map(|segment| {
        let manifest = segment.manifest();
        (segment.path().to_owned(), manifest.first..manifest.end().unwrap_or(manifest.first))
    });
    let sealed = sealed.collect();
    let said = two_payloads(collector, &tenant, size, draw)?;
    let proof = collector.prove(&tenant, 1 + draw.below(size - 1))?;
    Ok(Looked { tenant, size, sealed, said, proof })
}

/// Two records with bodies that differ.
fn two_payloads(
    collector: &Collector,
    tenant: &str,
    size: u64,
    draw: &mut Draw,
) -> Result<Option<[(u64, Payload); 2]>, NoProof> {
    let mut numbers: Vec<u64> = (0..LOOKS_MAX).map(|_| 1 + draw.below(size - 1)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut first: Option<(u64, Payload)> = None;
    let mut second = None;
    collector.visit_payloads(tenant, &numbers, &mut |found, payload| {
        let Ok(payload) = payload else { return ControlFlow::Continue(()) };
        let fits = found.entry.input.is_some()
            && found.entry.output.is_some()
            && payload.pieces.is_empty()
            && payload.request.len().max(payload.response.len()) <= SWAPPED_MAX_BYTES;
        match &first {
            _ if !fits => ControlFlow::Continue(()),
            None => {
                first = Some((found.entry.seq, payload));
                ControlFlow::Continue(())
            }
            Some((_, other)) if other.request == payload.request => ControlFlow::Continue(()),
            Some(_) => {
                second = Some((found.entry.seq, payload));
                ControlFlow::Break(())
            }
        }
    })?;
    Ok(first.zip(second).map(|(first, second)| [first, second]))
}

/// Files of the copy that were changed, and what they were.
pub struct Changed {
    aside: PathBuf,
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Changed {
    /// Nothing yet. What is replaced is kept in `dir`.
    pub fn begin(dir: &Path) -> Result<Self, Trouble> {
        let aside = dir.join("aside");
        copy::make_private(&aside).map_err(|error| Trouble::Io(aside.clone(), error))?;
        Ok(Self { aside, moved: Vec::new() })
    }

    /// Takes a file away.
    pub fn remove(&mut self, path: &Path) -> Result<(), Trouble> {
        let kept = self.aside.join(self.moved.len().to_string());
        durable::publish_file(path, &kept).map_err(|error| Trouble::Io(path.to_owned(), error))?;
        self.moved.push((path.to_owned(), kept));
        Ok(())
    }

    /// Puts other bytes in a file's place.
    pub fn replace(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
        self.remove(path)?;
        std::fs::write(path, bytes).map_err(|error| Trouble::Io(path.to_owned(), error))
    }

    /// Puts another file in its place.
    pub fn put(&mut self, path: &Path, by: &Path) -> Result<(), Trouble> {
        self.remove(path)?;
        durable::publish_file(by, path).map_err(|error| Trouble::Io(path.to_owned(), error))
    }

    /// Puts everything back.
    pub fn undo(self) -> Result<(), Trouble> {
        for (path, kept) in self.moved.into_iter().rev() {
            durable::publish_file(&kept, &path).map_err(|error| Trouble::Io(path, error))?;
        }
        Ok(())
    }
}
