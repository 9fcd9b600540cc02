//! Records, sessions and agent runs, as people read them.
//!
//! Finding, recording the look and showing are three steps, in this order: the caller records what was found before it
//! shows anything of it (invariant 11). What is shown at once is bounded; what is left out is said.

use crate::query::Wanted;
use crate::read::{Found, Reader};
use crate::sequencer::lock;
use crate::store::View;
use crate::{Collector, CollectorError, Query, view};
use indelible_transcript::thread::Thread;
use indelible_transcript::{Turn, render, trace};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// By request id all of it, but not without end.
const RECORDS_MAX: usize = 100;
/// Most turns of a session, or records of a run, that are shown at once: the newest.
const TURNS_MAX: usize = 1000;
/// Most bytes that are shown at once, and most bytes of payloads that a tree is made of.
const SHOWN_MAX_BYTES: usize = 64 << 20;

/// What is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// What an event id or a request id names.
    Record(String),
    /// The turns of a session.
    Session(String),
    /// The calls of a trace; an event or request id stands for its trace, or else its session.
    Trace(String),
}

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text for a terminal.
    Text,
    /// JSON.
    Json,
    /// One HTML file.
    Html,
}

impl Format {
    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            "html" => Some(Self::Html),
            _ => None,
        }
    }

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
            Self::Html => "text/html; charset=utf-8",
        }
    }
}

impl Asked {
    /// The id.
    pub fn id(&self) -> &str {
        match self {
            Self::Record(id) | Self::Session(id) | Self::Trace(id) => id,
        }
    }

    /// What was done, as the look's entry names it, and the kind of what was looked at.
    pub fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Record(_) => ("show", "record"),
            Self::Session(_) => ("conversation", "session"),
            Self::Trace(_) => ("trace", "trace"),
        }
    }

    /// Why nothing was found.
    pub fn unknown(&self) -> String {
        match self {
            Self::Record(id) => format!("no record has the event id or request id {id:?}"),
            Self::Session(id) => format!("no record belongs to a session {id:?}"),
            Self::Trace(id) => format!("no record has the trace id, event id or request id {id:?}"),
        }
    }
}

/// Records that were found, oldest first.
pub struct Finds {
    /// They.
    pub found: Vec<Found>,
    /// There are older ones that are not among them.
    pub more: bool,
    /// The records at that moment: what is sealed meanwhile is still where it was found.
    view: Arc<View>,
}

impl Finds {
    /// The tenants whose records they are. An id of several tenants is several ids.
    pub fn tenants(&self) -> BTreeSet<&str> {
        self.found.iter().map(|one| one.entry.tenant_id.as_str()).collect()
    }

    fn reader<'a>(&self, collector: &'a Collector) -> Reader<'a> {
        Reader::new(self.view.clone(), collector.vault())
    }
}

/// Finds what is asked for.
pub fn find(collector: &Collector, asked: &Asked, tenant: Option<&str>) -> Result<Finds, CollectorError> {
    let of_tenant = |tenant: Option<&str>| Query { tenant: tenant.map(str::to_owned), ..Query::default() };
    let query = of_tenant(tenant);
    let id = Some(asked.id().to_owned());
    match asked {
        Asked::Record(_) => newest(collector, &Query { id, ..query }, RECORDS_MAX),
        Asked::Session(_) => newest(collector, &Query { session: id, ..query }, TURNS_MAX),
        Asked::Trace(_) => {
            let run = newest(collector, &Query { trace: id.clone(), ..query.clone() }, TURNS_MAX)?;
            if !run.found.is_empty() {
                return Ok(run);
            }
            let named = newest(collector, &Query { id, ..query }, RECORDS_MAX)?;
            let Some(first) = named.found.first().map(|one| &one.entry) else { return Ok(named) };
            let (trace, session) = (first.trace_id.clone(), first.session_id.clone());
            if trace.is_none() && session.is_none() {
                return Ok(named);
            }
            let session = session.filter(|_| trace.is_none());
            let query = of_tenant(Some(&first.tenant_id));
            newest(collector, &Query { trace, session, as_shown: true, ..query }, TURNS_MAX)
        }
    }
}

fn newest(collector: &Collector, query: &Query, max: usize) -> Result<Finds, CollectorError> {
    let view = collector.view();
    let wanted = Wanted::resolve(query, &mut lock(collector.vault()))?;
    let reader = Reader::new(view.clone(), collector.vault());
    let mut found = wanted.map_or(Ok(Vec::new()), |wanted| reader.newest(max + 1, &wanted))?;
    let more = found.len() > max;
    found.truncate(max);
    found.reverse();
    Ok(Finds { found, more, view })
}

/// Opens what was found and shows it.
pub fn show(collector: &Collector, asked: &Asked, finds: &Finds, format: Format) -> String {
    match asked {
        Asked::Record(id) => records(collector, id, finds, format),
        Asked::Session(id) => session(collector, id, finds, format),
        Asked::Trace(id) => run(collector, id, finds, format),
    }
}

fn open(collector: &Collector, reader: &Reader<'_>, one: &Found) -> Turn {
    let payload = reader.payload(one).map_err(|error| error.to_string());
    view::turn(one, collector.level(&one.entry), payload.as_ref().map_err(Clone::clone))
}

/// What goes round what is shown, and how much room is left.
struct Page {
    format: Format,
    text: String,
    items: Vec<Value>,
    bytes: usize,
    left_out: usize,
}

impl Page {
    fn new(format: Format, title: &str) -> Self {
        let text = if format == Format::Html { render::html::head(title) } else { String::new() };
        Self { format, text, items: Vec::new(), bytes: 0, left_out: 0 }
    }

    /// Whether there is room for one more; counts what is left out.
    fn has_room(&mut self) -> bool {
        let room = self.bytes < SHOWN_MAX_BYTES;
        self.left_out += usize::from(!room);
        room
    }

    fn put(
        &mut self,
        text: impl FnOnce() -> String,
        html: impl FnOnce() -> String,
        json: impl FnOnce() -> Value,
    ) {
        let before = self.text.len();
        match self.format {
            Format::Text => self.text.push_str(&text()),
            Format::Html => self.text.push_str(&html()),
            Format::Json => {
                let value = json();
                self.bytes += value.to_string().len();
                self.items.push(value);
            }
        }
        self.bytes += self.text.len() - before;
    }

    /// Ends the page; says what is not on it.
    fn finish(mut self, finds: &Finds, name: &str, mut rest: Value) -> String {
        let mut notes = Vec::new();
        if finds.more {
            notes.push("there are older records than these: see indelible list --until".to_owned());
        }
        if self.left_out > 0 {
            notes.push(format!("{} more records are too much for one page: show them singly", self.left_out));
        }
        match self.format {
            Format::Text => notes.iter().for_each(|note| self.text.push_str(&format!("{note}\n"))),
            Format::Html => {
                notes.iter().for_each(|note| self.text.push_str(&render::html::note(note)));
                self.text.push_str(render::html::foot());
            }
            Format::Json => {
                rest[name] = self.items.into();
                if !notes.is_empty() {
                    rest["notes"] = notes.into();
                }
                self.text = format!("{rest}\n");
            }
        }
        self.text
    }
}

fn records(collector: &Collector, id: &str, finds: &Finds, format: Format) -> String {
    let reader = finds.reader(collector);
    let mut page = Page::new(format, &format!("Record {id}"));
    for one in &finds.found {
        if page.has_room() {
            let turn = open(collector, &reader, one);
            page.put(|| render::text::record(&turn), || render::html::record(&turn), || turn.to_json(None));
        }
    }
    page.finish(finds, "records", json!({}))
}

fn session(collector: &Collector, id: &str, finds: &Finds, format: Format) -> String {
    let reader = finds.reader(collector);
    let mut page = Page::new(format, &format!("Session {id}"));
    let mut thread = Thread::default();
    for (number, one) in finds.found.iter().enumerate() {
        if page.has_room() {
            let turn = open(collector, &reader, one);
            let fresh = thread.push(turn.said.as_ref().unwrap_or(&Default::default()));
            page.put(
                || render::text::turn(&turn, &fresh, number),
                || render::html::turn(&turn, &fresh, number),
                || turn.to_json(Some(&fresh)),
            );
        }
    }
    page.finish(finds, "turns", json!({ "session": id }))
}

fn run(collector: &Collector, id: &str, finds: &Finds, format: Format) -> String {
    let reader = finds.reader(collector);
    let mut room = SHOWN_MAX_BYTES as u64;
    let turns: Vec<Turn> = finds
        .found
        .iter()
        .map(|one| {
            let sides = [&one.entry.input, &one.entry.output];
            let bytes: u64 = sides.into_iter().flatten().map(|side| side.bytes).sum();
            if bytes > room {
                let why = "too much for one page: show the record singly".to_owned();
                return view::turn(one, collector.level(&one.entry), Err(why));
            }
            room -= bytes;
            open(collector, &reader, one)
        })
        .collect();
    let steps = trace::tree(&turns);
    let mut page = Page::new(format, &format!("Agent run {id}"));
    let html = || render::html::trace(&turns, &steps);
    match format {
        Format::Json => page.items = trace::to_json(&turns, &steps),
        Format::Text => page.put(|| render::text::trace(&turns, &steps), html, || Value::Null),
        Format::Html => page.put(String::new, html, || Value::Null),
    }
    page.finish(finds, "steps", json!({ "trace": id }))
}
