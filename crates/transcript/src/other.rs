//! Calls that are no conversation: vectors, and whatever else passed.

use crate::json::{self, is_nothing, list, text_or_json};
use crate::model::{Message, Part, Transcript};
use crate::sse::Texts;
use serde_json::{Value, json};

/// Reads what vectors were asked for.
pub(crate) fn embeddings_request(request: &Value, out: &mut Transcript) {
    let input = ["input", "prompt"].iter().map(|name| &request[*name]).find(|input| !is_nothing(input));
    let inputs: Vec<&Value> = match input {
        None => Vec::new(),
        Some(Value::Array(several)) if several.iter().all(|one| !one.is_number()) => several.iter().collect(),
        Some(one) => vec![one],
    };
    out.request = inputs
        .into_iter()
        .map(|input| {
            let part = match input.as_str() {
                Some(said) => Part::text(said),
                None => Part::other("input", input),
            };
            Message::new("input", vec![part])
        })
        .collect();
}

/// Reads vectors: how many and how long they are. Their numbers say nothing to a reader; the record has them.
pub(crate) fn embeddings_answer(said: &Texts, out: &mut Transcript) {
    for document in &said.documents {
        if let Some(problem) = json::problem(document) {
            out.error = Some(problem);
            continue;
        }
        let vectors = list(document, "data").iter().map(|item| &item["embedding"]);
        let vectors = vectors.chain(list(document, "embeddings"));
        let vectors: Vec<Value> = vectors
            .chain(Some(&document["embedding"]).filter(|vector| !vector.is_null()))
            .map(|vector| match vector {
                Value::Array(numbers) => json!({ "dimensions": numbers.len() }),
                other => json!({ "encoded_bytes": text_or_json(other).len() }),
            })
            .collect();
        out.rest.push(match vectors.is_empty() {
            true => Part::other("answer", document),
            false => Part::other("vectors", &vectors.into()),
        });
    }
}

/// Reads an answer of which nothing is known but that it is JSON.
pub(crate) fn answer(said: &Texts, out: &mut Transcript) {
    for document in &said.documents {
        match json::problem(document) {
            Some(problem) => out.error = Some(problem),
            None => out.rest.push(Part::other("answer", document)),
        }
    }
}
