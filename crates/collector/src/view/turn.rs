//! A record with the conversation that its payload carries.

use super::{entry, spoken};
use crate::read::{Found, Payload};
use indelible_record::event::Private;
use indelible_transcript::{Exchange, Side, Transcript, Turn, read};

/// The record as it is read, with its payload or with the reason why there is none.
pub fn turn(found: &Found, level: &str, payload: Result<&Payload, String>) -> Turn {
    let read = payload.as_ref().ok();
    let original = |name: &str| {
        let payload = read?;
        payload.start.originals.get(name).or_else(|| payload.end.originals.get(name)).cloned()
    };
    Turn {
        entry: entry(found),
        level: level.to_owned(),
        leaf_hash: found.leaf_hash().to_string(),
        user: original("user_id"),
        matches: read.and_then(|payload| payload.matches(&found.entry)),
        error: read.and_then(|payload| payload.end.error.clone()),
        said: payload.map(transcript),
    }
}

fn transcript(payload: &Payload) -> Transcript {
    if let Some(parts) = spoken::parts(payload) {
        return Transcript::spoken(parts);
    }
    let coding = |private: &Private| {
        let lines: Vec<&str> = private
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"))
            .map(|(_, value)| value.as_str())
            .collect();
        (!lines.is_empty()).then(|| lines.join(","))
    };
    let (asked, said) = (coding(&payload.start), coding(&payload.end));
    read(&Exchange {
        target: payload.start.target.as_deref(),
        request: Side {
            body: &payload.request,
            content_type: payload.start.input_type.as_deref(),
            content_encoding: asked.as_deref(),
        },
        response: Side {
            body: &payload.response,
            content_type: payload.end.output_type.as_deref(),
            content_encoding: said.as_deref(),
        },
    })
}
