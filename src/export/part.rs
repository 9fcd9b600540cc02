//! A part that is being written: under a name that says so, until it is whole.

use super::io;
use super::state::{LeftOut, Part, State};
use crate::failure::Failure;
use indelible_os::durable::{self, MODE_SECRET};
use indelible_record::Entry;
use indelible_record::commitment::to_hex;
use indelible_segment::columns::Row;
use indelible_segment::entries::EntriesWriter;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// A part is not much larger than this, however few records that is.
const PART_MAX_BYTES: u64 = 256 << 20;

/// A part that is being written.
pub(super) struct Writing {
    tenant: String,
    file: String,
    form: Form,
    records: u64,
    seen: u64,
    first: u64,
    last: u64,
    left_out: Option<Hashed>,
    reasons: BTreeMap<String, u64>,
    dir: PathBuf,
}

enum Form {
    Lines(Hashed),
    Parquet(Box<EntriesWriter<Hashed>>, u64),
}

impl Writing {
    /// Begins the next part of a ledger.
    pub(super) fn begin(state: &State, tenant: &str, seq: u64) -> Result<Self, Failure> {
        let parquet = state.format() == "parquet";
        let extension = if parquet { "parquet" } else { "jsonl" };
        let file = format!("{tenant}-{:05}.{extension}", state.number(tenant));
        let out = Hashed::create(state.dir().join(format!("{file}.partial")))?;
        let form = if parquet {
            let about = [("indelible.tenant", tenant.to_owned())];
            let writer = EntriesWriter::new(out, state.part_records(), &about).map_err(Failure::new)?;
            Form::Parquet(Box::new(writer), 0)
        } else {
            Form::Lines(out)
        };
        Ok(Self {
            tenant: tenant.to_owned(),
            file,
            form,
            records: 0,
            seen: 0,
            first: seq,
            last: seq,
            left_out: None,
            reasons: BTreeMap::new(),
            dir: state.dir().to_owned(),
        })
    }

    pub(super) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Adds a line of text.
    pub(super) fn push_line(&mut self, line: &str) -> Result<(), Failure> {
        if let Form::Lines(out) = &mut self.form {
            out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(io(&out.path))?;
            self.records += 1;
        }
        Ok(())
    }

    /// Adds a row of columns.
    pub(super) fn push_row(&mut self, entry: &Entry, bytes: &str) -> Result<(), Failure> {
        if let Form::Parquet(writer, written) = &mut self.form {
            writer.push(&Row { entry, bytes, payload: None }).map_err(Failure::new)?;
            *written += bytes.len() as u64;
            self.records += 1;
        }
        Ok(())
    }

    /// Names a record that the part lacks something of.
    pub(super) fn leave_out(&mut self, entry: &Entry, why: &str) -> Result<(), Failure> {
        let out = match &mut self.left_out {
            Some(out) => out,
            none => {
                let name = format!("{}.partial", left_out_name(&self.file));
                none.insert(Hashed::create(self.dir.join(name))?)
            }
        };
        let line = json!({ "seq": entry.seq, "event_id": entry.event_id, "why": why });
        writeln!(out, "{line}").map_err(io(&out.path))?;
        *self.reasons.entry(reason(why)).or_default() += 1;
        Ok(())
    }

    /// A record was dealt with. Whether the part is full.
    pub(super) fn end_record(&mut self, seq: u64, part_records: u64) -> bool {
        self.seen += 1;
        self.last = seq;
        let bytes = match &self.form {
            Form::Lines(out) => out.bytes,
            Form::Parquet(_, written) => *written,
        };
        self.seen >= part_records || bytes >= PART_MAX_BYTES
    }

    /// Gives the part its name, once it is on disk, and then has it count.
    pub(super) fn finish(self, state: &mut State) -> Result<(), Failure> {
        let out = match self.form {
            Form::Lines(out) => out,
            Form::Parquet(writer, _) => writer.finish().map_err(Failure::new)?,
        };
        let (bytes, sha256) = out.publish(&self.dir.join(&self.file))?;
        let left_out = self.left_out.map(|out| -> Result<LeftOut, Failure> {
            let file = left_out_name(&self.file);
            let (bytes, sha256) = out.publish(&self.dir.join(&file))?;
            Ok(LeftOut { file, records: self.reasons.values().sum(), bytes, sha256 })
        });
        let part = Part {
            file: self.file,
            tenant: self.tenant,
            records: self.records,
            first: self.first,
            last: self.last,
            bytes,
            sha256,
            left_out: left_out.transpose()?,
        };
        state.add(part, &self.reasons)
    }
}

fn left_out_name(file: &str) -> String {
    format!("{}.left-out.jsonl", file.split('.').next().unwrap_or(file))
}

/// Reasons are counted by kind: a pseudonym in one makes it no kind of its own.
fn reason(why: &str) -> String {
    let of_a_key = why.starts_with("the data key of ");
    if of_a_key { "the payload's key is gone".to_owned() } else { why.to_owned() }
}

/// A file whose hash is known once it is written.
struct Hashed {
    path: PathBuf,
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Hashed {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        // What a crash left behind is begun anew.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&path)(error)),
            _ => {}
        }
        let file = durable::create_file(&path, MODE_SECRET).map_err(io(&path))?;
        Ok(Self { path, out: BufWriter::new(file), hash: Sha256::new(), bytes: 0 })
    }

    fn publish(mut self, target: &std::path::Path) -> Result<(u64, String), Failure> {
        let failed = io(&self.path);
        self.out.flush().map_err(&failed)?;
        durable::sync_file(self.out.get_ref()).map_err(&failed)?;
        durable::publish_file(&self.path, target).map_err(&failed)?;
        Ok((self.bytes, to_hex(&self.hash.finalize())))
    }
}

impl Write for Hashed {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(buf)?;
        self.hash.update(&buf[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
