//! A corpus: what a gateway records of months of traffic, made from a seed.
//!
//! The same seed and count give the same records, byte for byte, but for what a spool draws by itself. Twelve
//! applications call models: conversations whose requests repeat their whole history, agents with tools, questions
//! with passages pasted before them, vectors, classifications; some calls are refused, fail, take too long or lose
//! their client, and now and then the gateway dies. Sessions overlap, and their calls come in the order of arrival.
//!
//! * [`Corpus`] gives calls; [`spool::Spool`] packs them into the batches that a source ships
//! * `cast`: who calls what; `session`: one session, call by call; `fate`: what goes wrong
//! * `words`, `body`: texts and bodies; `draw`: chance
//!
//! Sizes are those of real traffic but for two things, so that ten million records fit a small disk: most records
//! are vectors of 128 numbers and short classifications, and streams have chunks of eight to twenty-four words.

#![forbid(unsafe_code)]

mod body;
mod cast;
mod draw;
mod fate;
mod session;
pub mod spool;
mod words;

use cast::App;
use draw::Draw;
use indelible_record::event::{End, Start};
use session::{Moment, Session};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use uuid::Uuid;

/// When the traffic begins: 2026-01-05T00:00:00Z, a Monday.
pub const BEGINS_US: i64 = 1_767_571_200_000_000;
/// How long it lasts, where there are records enough to fill that.
pub const SPAN_S: f64 = 30.0 * 86_400.0;

/// Small corpora are as dense as a small installation and not spread over a month: sessions shall overlap.
const RECORDS_PER_S_MIN: f64 = 0.5;
/// The gateway dies once in so many records, and once in the middle of a small corpus.
const RECORDS_PER_RESTART: u64 = 400_000;
const RESTART_MIN_RECORDS: u64 = 50;
/// Turns of the conversations of [`Mix::Chat`].
pub const CHAT_TURNS: u64 = 20;
/// Share of an average hour's traffic in each hour of a working day.
const HOURS: [f64; 24] = [
    0.25, 0.2, 0.18, 0.18, 0.2, 0.3, 0.5, 0.9, 1.4, 1.8, 1.9, 1.8, 1.5, 1.6, 1.8, 1.8, 1.7, 1.5, 1.2, 1.0,
    0.8, 0.6, 0.45, 0.34,
];
const WEEKEND: f64 = 0.45;

/// What kinds of traffic there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Everything.
    Everyday,
    /// Conversations of [`CHAT_TURNS`] turns, each over within minutes or an hour.
    Chat,
    /// The same conversations, each spread over all of the corpus.
    SlowChat,
}

/// What to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// Any number.
    pub seed: u64,
    /// How many records; of chats, whole conversations are made, so that there may be a few more.
    pub count: u64,
    /// Of which kinds.
    pub mix: Mix,
    /// Applications are spread over these.
    pub tenants: Vec<String>,
}

/// A call, as a gateway records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The event.
    pub event_id: Uuid,
    /// When the request came, and what it says.
    pub start: Start,
    /// Its body.
    pub request: String,
    /// What was written of the answer before its end.
    pub pieces: Vec<Piece>,
    /// The rest of the answer.
    pub rest: String,
    /// How it ended; its `start_seq` is to be filled in. `None`: the gateway died.
    pub end: Option<End>,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// When it was written, microseconds since 1970.
    pub time: i64,
    /// What.
    pub body: String,
}

impl Call {
    /// The whole answer, as far as there is one.
    pub fn response(&self) -> String {
        self.pieces.iter().map(|piece| piece.body.as_str()).chain([self.rest.as_str()]).collect()
    }

    /// Bytes of both bodies.
    pub fn bytes(&self) -> usize {
        self.request.len() + self.rest.len() + self.pieces.iter().map(|piece| piece.body.len()).sum::<usize>()
    }
}

impl Mix {
    /// By the name that a command line has for it.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "everyday" => Self::Everyday,
            "chat" => Self::Chat,
            "slow-chat" => Self::SlowChat,
            _ => return None,
        })
    }

    fn apps(self) -> &'static [App] {
        match self {
            Self::Everyday => &cast::EVERYDAY,
            Self::Chat | Self::SlowChat => &cast::CHATS,
        }
    }

    fn pace_us(self, options: &Options) -> Option<i64> {
        (self == Self::SlowChat).then(|| (options.span_s() / CHAT_TURNS as f64 * 1e6) as i64)
    }
}

impl Options {
    /// This many records of this seed, everyday traffic of the tenant `default`.
    pub fn new(seed: u64, count: u64) -> Self {
        Self { seed, count, mix: Mix::Everyday, tenants: vec!["default".to_owned()] }
    }

    fn records_per_s(&self) -> f64 {
        (self.count as f64 / SPAN_S).max(RECORDS_PER_S_MIN)
    }

    fn span_s(&self) -> f64 {
        self.count as f64 / self.records_per_s()
    }
}

/// The calls, in the order of their arrival.
pub struct Corpus {
    options: Options,
    draw: Draw,
    made: u64,
    /// Sessions that go on: when, and which.
    due: BinaryHeap<Reverse<(i64, u64)>>,
    sessions: std::collections::HashMap<u64, Session>,
    /// Begun so far.
    begun: u64,
    /// When the next one begins; `None`: none does any more.
    next_begins: Option<i64>,
}

impl Corpus {
    /// A corpus of these options. Without a tenant there is nobody to record for: the list must not be empty.
    pub fn new(options: Options) -> Self {
        assert!(!options.tenants.is_empty(), "a corpus without tenants");
        Self {
            draw: Draw::new(options.seed, u64::MAX),
            made: 0,
            due: BinaryHeap::new(),
            sessions: std::collections::HashMap::new(),
            begun: 0,
            next_begins: Some(BEGINS_US),
            options,
        }
    }

    /// What it is made of.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Begins the session that is due, and says when the one after it begins.
    fn begin(&mut self, now: i64) {
        let apps = self.options.mix.apps();
        // Sessions are as frequent as their records, divided by how many each has.
        let weight = |app: &App| app.records_share / app.mean_calls();
        let chosen = self.draw.weighed(apps, weight);
        let number = apps.iter().position(|app| std::ptr::eq(app, chosen)).unwrap_or(0);
        self.sessions.insert(self.begun, Session::begin(&self.options, chosen, number, self.begun));
        self.due.push(Reverse((now, self.begun)));
        self.begun += 1;
        let sessions_per_record: f64 = apps.iter().map(weight).sum();
        let mut per_s = self.options.records_per_s() * sessions_per_record;
        self.next_begins = match self.options.mix {
            Mix::Everyday => {
                per_s *= busy(now);
                Some(now + (self.draw.gap(1.0 / per_s) * 1e6) as i64)
            }
            // All begin at once, and so each is as long as the corpus.
            Mix::SlowChat => self.chats_left().then_some(now),
            Mix::Chat => self.chats_left().then(|| now + (self.draw.gap(1.0 / per_s) * 1e6) as i64),
        };
    }

    fn chats_left(&self) -> bool {
        self.begun < self.options.count.div_ceil(CHAT_TURNS)
    }

    /// Whether the gateway dies while the next call is open.
    fn is_last(&self) -> bool {
        let (made, count) = (self.made + 1, self.options.count);
        let small = (RESTART_MIN_RECORDS..2 * RECORDS_PER_RESTART).contains(&count) && made == count / 2;
        self.options.mix == Mix::Everyday
            && (small || (made < count && made.is_multiple_of(RECORDS_PER_RESTART)))
    }
}

impl Iterator for Corpus {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        if self.options.mix == Mix::Everyday && self.made == self.options.count {
            return None;
        }
        while let Some(begins) = self.next_begins
            && self.due.peek().is_none_or(|Reverse((time, _))| begins <= *time)
        {
            self.begin(begins);
        }
        let Reverse((time, number)) = self.due.pop()?;
        let moment = Moment { time, last: self.is_last() };
        let session = self.sessions.get_mut(&number)?;
        let call = session.call(moment);
        self.made += 1;
        // The next call of a session comes after this one's end.
        let over = call.end.as_ref().map_or(time, |end| end.time);
        match session.pause_us() {
            Some(pause) => self.due.push(Reverse((over + pause, number))),
            None => drop(self.sessions.remove(&number)),
        }
        Some(call)
    }
}

/// How busy an hour is, beside the average one.
fn busy(time: i64) -> f64 {
    let hours = (time - BEGINS_US) / 3_600_000_000;
    let weekend = (hours / 24) % 7 >= 5;
    HOURS[(hours % 24) as usize] * if weekend { WEEKEND } else { 1.2 }
}
