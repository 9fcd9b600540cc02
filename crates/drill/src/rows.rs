//! Altering the entries of a segment as anyone can who may write it: file and manifest fit each other again. That the
//! manifest's hash is an entry under a signature, nobody without the key can change.

use crate::Trouble;
use indelible_record::Entry;
use indelible_segment::columns::{Place, Row};
use indelible_segment::entries::{EntriesReader, EntriesWriter};
use indelible_segment::manifest::{ENTRIES, FileHasher, MANIFEST};
use indelible_segment::{LocalFile, Manifest};
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;

const READ_BYTES: usize = 1 << 20;

/// A row: the exact bytes of its entry, and where its payload is.
pub type RowOf = (Vec<u8>, Option<Place>);

/// Where the payload of a row is.
pub fn place(segment: &Path, row: u64) -> Result<Option<Place>, Trouble> {
    Ok(open(segment)?.place(row)?)
}

fn open(segment: &Path) -> Result<EntriesReader, Trouble> {
    let path = segment.join(ENTRIES);
    let file = LocalFile::open(&path).map_err(|error| Trouble::Io(path, error))?;
    Ok(EntriesReader::open(Arc::new(file))?)
}

/// Writes `entries.parquet` and the manifest into a directory, each row replaced by what `edit` makes of it.
pub fn rewrite(
    segment: &Path,
    into: &Path,
    mut edit: impl FnMut(u64, RowOf) -> Vec<RowOf>,
) -> Result<(), Trouble> {
    let reader = open(segment)?;
    let (path, manifest_path) = (into.join(ENTRIES), into.join(MANIFEST));
    let failed = |error| Trouble::Io(path.clone(), error);
    let out = BufWriter::new(File::create(&path).map_err(failed)?);
    let mut writer = EntriesWriter::new(out, reader.rows(), &[])?;
    for (group, rows) in reader.groups() {
        let mut places = reader.places(group)?.into_iter();
        reader.visit_from::<Trouble>(rows.start, |row, bytes| {
            for (bytes, payload) in edit(row, (bytes.to_vec(), places.next().flatten())) {
                let entry = Entry::parse(&bytes).map_err(|error| Trouble::Form(error.to_string()))?;
                let bytes = std::str::from_utf8(&bytes).map_err(|error| Trouble::Form(error.to_string()))?;
                writer.push(&Row { entry: &entry, bytes, payload })?;
            }
            Ok(row + 1 < rows.end)
        })?;
    }
    writer.finish()?.flush().map_err(failed)?;
    let mut hasher = FileHasher::default();
    let mut file = File::open(&path).map_err(failed)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let old = segment.join(MANIFEST);
    let bytes = std::fs::read(&old).map_err(|error| Trouble::Io(old, error))?;
    let mut manifest = Manifest::parse(&bytes).map_err(|error| Trouble::Form(error.to_string()))?;
    manifest.files.insert(ENTRIES.to_owned(), hasher.finish());
    let bytes = manifest.to_bytes().map_err(|error| Trouble::Form(error.to_string()))?;
    std::fs::write(&manifest_path, bytes).map_err(|error| Trouble::Io(manifest_path, error))
}
