//! A record with its transcript: what is rendered, and what is exported.

use crate::model::{Message, Part, Transcript};
use crate::thread::Fresh;
use serde_json::{Map, Value, json};

/// A record, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The entry.
    pub entry: Value,
    /// `logged` or `signed`.
    pub level: String,
    /// The entry's leaf hash.
    pub leaf_hash: String,
    /// The user, as the application named them.
    pub user: Option<String>,
    /// Whether the bodies are what the entry commits to.
    pub matches: Option<bool>,
    /// The call; or why its payload cannot be read.
    pub said: Result<Transcript, String>,
    /// What went wrong, in the gateway's words.
    pub error: Option<String>,
}

impl Turn {
    /// A string of the entry.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.entry[name].as_str()
    }

    /// The event's id.
    pub fn event_id(&self) -> &str {
        self.word("event_id").unwrap_or("?")
    }

    /// Who asked: as the application names them, else the pseudonym.
    pub fn who(&self) -> Option<&str> {
        self.user.as_deref().or_else(|| self.word("subject_ref"))
    }

    /// Messages of the request.
    pub fn request(&self) -> &[Message] {
        self.said.as_ref().map_or(&[], |transcript| &transcript.request)
    }

    /// All that was answered.
    pub fn answered(&self) -> impl Iterator<Item = &Part> {
        self.said.iter().flat_map(|transcript| &transcript.answers).flat_map(|answer| &answer.message.parts)
    }

    /// In one line: when, who, which model, how it ended, what it used.
    pub fn facts(&self) -> String {
        let mut facts = Vec::new();
        let time = self.word("timestamp").unwrap_or("?");
        facts.push(time.get(..23).unwrap_or(time).replace('T', " "));
        facts.extend(self.who().map(str::to_owned));
        match (self.word("model"), self.word("model_returned")) {
            (Some(asked), Some(returned)) if asked != returned => {
                facts.push(format!("{returned} (asked for {asked})"));
            }
            (Some(model), _) | (None, Some(model)) => facts.push(model.to_owned()),
            (None, None) => {}
        }
        facts.push(self.word("event_type").unwrap_or("?").to_owned());
        let status = self.entry["http_status"].as_u64().map(|status| status.to_string());
        let ended: Vec<String> = [self.word("status").map(str::to_owned), status]
            .into_iter()
            .flatten()
            .chain(self.word("error_type").map(str::to_owned))
            .collect();
        if !ended.is_empty() {
            facts.push(ended.join(" "));
        }
        let number = |name: &str| self.entry[name].as_u64();
        if let (Some(input), output) = (number("prompt_tokens"), number("completion_tokens")) {
            facts.push(format!("{input}+{} tokens", output.unwrap_or(0)));
        }
        facts.extend(self.word("cost_usd").map(|cost| format!("${cost}")));
        facts.extend(number("latency_ms").map(|ms| format!("{ms} ms")));
        facts.join(" · ")
    }

    /// What there is to warn of.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.matches == Some(false) {
            warnings.push("the bodies are NOT what the entry commits to".to_owned());
        }
        if let Err(why) = &self.said {
            warnings.push(format!("the payload cannot be read: {why}"));
        }
        if self.entry["output"]["partial"] == true {
            warnings.push("the answer broke off before its end".to_owned());
        }
        warnings.extend(self.error.clone());
        warnings
    }

    /// The record for programs; of a session, what is new in it.
    pub fn to_json(&self, fresh: Option<&Fresh>) -> Value {
        let mut out = Map::new();
        out.insert("entry".to_owned(), self.entry.clone());
        out.insert("level".to_owned(), self.level.clone().into());
        out.insert("leaf_hash".to_owned(), self.leaf_hash.clone().into());
        for (name, value) in [("user", &self.user), ("error", &self.error)] {
            if let Some(value) = value {
                out.insert(name.to_owned(), value.clone().into());
            }
        }
        if let Some(matches) = self.matches {
            out.insert("matches_commitments".to_owned(), matches.into());
        }
        match &self.said {
            Err(why) => drop(out.insert("unreadable".to_owned(), why.clone().into())),
            Ok(transcript) => {
                let mut transcript = json!(transcript);
                if let Some(fresh) = fresh {
                    let new = fresh.messages.iter().filter_map(|at| transcript["request"].get(at)).cloned();
                    let new: Value = new.collect();
                    transcript["request"] = new;
                    out.insert("repeated_messages".to_owned(), fresh.repeated.into());
                    if let Some(turn) = fresh.continues {
                        out.insert("continues_turn".to_owned(), (turn + 1).into());
                    }
                }
                out.insert("transcript".to_owned(), transcript);
            }
        }
        out.into()
    }
}
