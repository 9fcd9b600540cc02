//! One session of one application, call by call.
//!
//! A session has chance of its own, from the corpus's seed and its number, so that what it says does not depend
//! on what else goes on. Its history is kept as the JSON that the next request begins with.

mod call;
mod tools;

pub(crate) use call::Moment;

use crate::cast::{App, Kind, Model};
use crate::draw::Draw;
use crate::{Call, Options};
use std::fmt::Write as _;

/// Users of a small corpus. The first of all users has by far the most sessions.
const USERS_MIN: u64 = 40;
/// Records for each user, on average.
const RECORDS_PER_USER: u64 = 90;
const TRIES_MAX: u32 = 3;
/// Passages that an application's answers are drawn from, and how many stand before a question.
const PASSAGES: usize = 3000;
const PASSAGES_ASKED: (usize, usize) = (3, 6);
const PASSAGE_TOPIC: u64 = 1 << 40;

/// A session that goes on.
pub(crate) struct Session {
    app: &'static App,
    model: &'static Model,
    app_seed: u64,
    seed: u64,
    draw: Draw,
    tenant: String,
    user: Option<String>,
    peer: String,
    key_id: String,
    id: Option<String>,
    trace_id: Option<String>,
    topic: u64,
    stream: bool,
    /// Calls that are still to be answered.
    left: usize,
    attempt: u32,
    /// Messages so far, as JSON, separated by commas.
    history: String,
    /// Whether the question that comes next stands in the history already.
    asked: bool,
    /// Tokens of the last prompt, which the model server may still have.
    warm_tokens: u64,
    /// Microseconds between two calls, if they do not follow from who makes them.
    pace_us: Option<i64>,
}

impl Session {
    pub(crate) fn begin(options: &Options, app: &'static App, app_number: usize, number: u64) -> Self {
        let mut draw = Draw::new(options.seed, number);
        let users = (options.count / RECORDS_PER_USER).max(USERS_MIN);
        let user = draw.ranked(users as usize) as u64;
        // A person is the same one in each application that they use.
        let user_name = format!("u-{:08x}", Draw::new(options.seed ^ 0x0005_e125, user).next() as u32);
        let peer = format!(
            "10.{}.{}.{}:{}",
            user >> 16 & 255,
            user >> 8 & 255,
            user & 255,
            draw.between(32768, 60999)
        );
        let named = draw.chance(app.users_share);
        let model = &draw.weighed(app.models, |(_, weight)| *weight).0;
        let calls = match app.calls {
            (least, most) if least == most => least,
            (least, most) => draw.between(least, most),
        };
        let prefix = match app.kind {
            Kind::Embedding | Kind::Single => None,
            Kind::Chat => Some("chat"),
            Kind::Agent => Some("run"),
            Kind::Retrieval => Some("ask"),
        };
        let id = prefix.map(|prefix| format!("{prefix}-{}", draw.hex::<12>()));
        let trace_id = (app.kind == Kind::Agent).then(|| draw.hex::<16>());
        let tenants = &options.tenants;
        let key = draw.ranked(app.keys as usize) as u64;
        Self {
            app,
            model,
            app_seed: Draw::new(options.seed, u64::MAX - app_number as u64).next(),
            seed: options.seed,
            tenant: tenants[app_number % tenants.len()].clone(),
            user: named.then_some(user_name),
            peer,
            key_id: format!(
                "k:{}",
                Draw::new(options.seed ^ 0x6b65_7973, (app_number as u64) << 8 | key).hex::<16>()
            ),
            id,
            trace_id,
            topic: draw.next() % 4000,
            stream: draw.chance(app.streams_share),
            left: calls,
            attempt: 1,
            history: String::new(),
            asked: false,
            warm_tokens: 0,
            pace_us: options.mix.pace_us(options),
            draw,
        }
    }

    /// The call at `moment`; afterwards [`Session::pause_us`] says when the next one comes.
    pub(crate) fn call(&mut self, moment: Moment) -> Call {
        if !self.asked {
            self.ask();
            self.asked = true;
        }
        let request = self.request();
        call::make(self, moment, request)
    }

    /// Microseconds until the next call; `None`: that was the last one.
    pub(crate) fn pause_us(&mut self) -> Option<i64> {
        if self.left == 0 {
            return None;
        }
        if let Some(pace) = self.pace_us {
            return Some((pace as f64 * (0.5 + self.draw.unit())) as i64);
        }
        let seconds = match (self.attempt, self.app.kind) {
            (2.., _) => self.draw.skewed(2.0, 0.4),
            (_, Kind::Embedding) => self.draw.gap(0.8),
            (_, Kind::Agent) => self.draw.skewed(1.5, 0.9),
            (_, Kind::Single) => self.draw.skewed(6.0, 0.8),
            // Reading takes as long as writing.
            (_, Kind::Chat | Kind::Retrieval) => self.draw.skewed(45.0, 0.9),
        };
        Some((seconds * 1e6) as i64)
    }

    /// Puts what the next request asks into the history.
    fn ask(&mut self) {
        match self.app.kind {
            Kind::Embedding => {
                self.history.clear();
                let bytes = self.draw.skewed(330.0, 0.45).clamp(40.0, 1500.0) as usize;
                crate::words::prose(&mut self.draw, self.topic, bytes, &mut self.history);
            }
            Kind::Single => {
                self.history.clear();
                self.system(380);
                self.say("user", self.topic, 280.0, (60, 1200));
            }
            Kind::Chat => {
                if self.history.is_empty() {
                    self.system(420);
                }
                self.say("user", self.topic, 320.0, (100, 600));
            }
            Kind::Agent if self.history.is_empty() => {
                self.system(900);
                self.say("user", self.topic, 400.0, (150, 900));
            }
            // A tool's result was put there with the answer that called it.
            Kind::Agent => {}
            Kind::Retrieval => {
                if self.history.is_empty() {
                    self.system(500);
                }
                self.ask_with_passages();
            }
        }
    }

    /// The instruction that all sessions of an application begin with.
    fn system(&mut self, bytes: usize) {
        let mut fixed = Draw::new(self.app_seed, 0);
        let mut text = String::new();
        crate::words::prose(&mut fixed, self.app_seed % 4000, bytes, &mut text);
        // Writing to a String cannot fail.
        let _ = write!(self.history, "{{\"role\":\"system\",\"content\":\"{text}\"}}");
    }

    fn say(&mut self, role: &str, topic: u64, median: f64, bytes: (usize, usize)) {
        let wanted = self.draw.skewed(median, 0.55).clamp(bytes.0 as f64, bytes.1 as f64) as usize;
        let mut text = String::with_capacity(wanted + 200);
        crate::words::prose(&mut self.draw, topic, wanted, &mut text);
        let _ = write!(self.history, ",{{\"role\":\"{role}\",\"content\":\"{text}\"}}");
    }

    fn ask_with_passages(&mut self) {
        let mut text = String::from("Answer from these passages alone.");
        for place in 1..=self.draw.between(PASSAGES_ASKED.0, PASSAGES_ASKED.1) {
            // The same passage reads the same wherever it is pasted.
            let number = self.draw.ranked(PASSAGES) as u64;
            let mut passage = Draw::new(self.app_seed, PASSAGE_TOPIC + number);
            let bytes = passage.between(400, 900);
            let _ = write!(text, "\\n\\n[{place}] document {number}\\n");
            crate::words::prose(&mut passage, number % 4000, bytes, &mut text);
        }
        text.push_str("\\n\\nQuestion: ");
        let bytes = self.draw.between(80, 260);
        crate::words::prose(&mut self.draw, self.topic, bytes, &mut text);
        let _ = write!(self.history, ",{{\"role\":\"user\",\"content\":\"{text}\"}}");
    }

    fn request(&self) -> String {
        let model = self.model.name;
        if self.app.kind == Kind::Embedding {
            return crate::body::embedding_request(model, &self.history);
        }
        let mut body = format!("{{\"model\":\"{model}\",\"messages\":[{}]", self.history);
        if self.app.kind == Kind::Agent {
            let _ = write!(body, ",\"tools\":{},\"tool_choice\":\"auto\"", tools::schemas(self.app_seed));
        }
        if self.app.kind == Kind::Single {
            body.push_str(",\"response_format\":{\"type\":\"json_object\"}");
        }
        for (name, value) in call::params(self) {
            let _ = write!(body, ",\"{name}\":{value}");
        }
        if self.stream {
            body.push_str(",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
        }
        if let Some(user) = &self.user {
            let _ = write!(body, ",\"user\":\"{user}\"");
        }
        body.push('}');
        body
    }
}
