//! Full verification beside programs that hash the same bytes once, one core each.
//!
//! * `hashers`: those programs, and how the two are compared
//! * `corpus`: a million records, as exported entries and as a data directory, and an evidence bundle of ten thousand
//!
//! Here are the logs that the other parts left.

mod corpus;
mod hashers;

pub(crate) use corpus::{QUICK_RECORDS, RECORDS, measure as measure_corpus};

use super::indelible::Site;
use super::report::Section;
use super::{Bench, Outcome, say};
use hashers::{Compared, Hashers};
use std::path::{Path, PathBuf};

/// Measures over the directories that the other parts left.
pub(crate) fn measure(bench: &Bench, sites: &[Site]) -> Outcome<Section> {
    let mut section = Section::new("Verification");
    let hashers = Hashers::find();
    section.note(format!(
        "{} `verify` checks every frame, leaf, chain link, root and signature; the others hash the bytes once.",
        hashers.describe(bench.effort.rounds)
    ));
    let mut table = Compared::table();
    for site in sites {
        say(&format!("verify, the data of {}", site.name));
        let mut entries = 0;
        let goes_on =
            |round| round < bench.effort.rounds && (round == 0 || bench.has_time(bench.effort.until));
        let compared = hashers.compare(&files_below(&site.data().join("wal"))?, goes_on, || {
            entries = site.verify(&hashers.pinned)?.entries;
            Ok(())
        })?;
        table.row(compared.row(&format!("log of the {} bench", site.name), entries));
        section.goals.extend(compared.goal(format!("full verification, log of the {} bench", site.name)));
    }
    section.tables.push(table);
    Ok(section)
}

/// The files in a directory and below it, in order.
fn files_below(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let names = std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut paths: Vec<PathBuf> = names.flatten().map(|name| name.path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { files.extend(files_below(&path)?) } else { files.push(path) }
    }
    Ok(files)
}
