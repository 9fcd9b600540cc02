//! Exports: a selection of records as a stream of lines. Its begin is recorded before the first line goes out, and how
//! far it came when it ends, whichever way it ends.

use crate::auth::Operator;
use crate::records::{Filters, blocking, failed};
use crate::{Problem, Shared};
use axum::body::Body;
use axum::extract::{Query as QueryString, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use http_body::Frame;
use indelible_collector::export::{self, Content, Counts, Cursor, Export, Selection};
use indelible_collector::{Collector, CollectorError};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Lines are gathered up to this before they are sent.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that wait for the client: then reading waits, too.
const CHUNKS_MAX: usize = 4;

/// What is asked for: the filters of a list, and of an export besides.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    tenant: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    model: Option<String>,
    user: Option<String>,
    session: Option<String>,
    trace: Option<String>,
    api_key: Option<String>,
    resource: Option<String>,
    since: Option<String>,
    until: Option<String>,
    /// `entries`, `payloads` or `chat`.
    content: Option<String>,
    /// Sizes of ledgers when the export began: `default:1200,operations:17`.
    sizes: Option<String>,
    /// Where to go on: `default:512`.
    from: Option<String>,
}

impl Wish {
    fn selection(&self) -> Result<Selection, Problem> {
        let bad = |what: String| {
            Problem::new(StatusCode::BAD_REQUEST, what, "see docs/api.md for the parameters of an export")
        };
        let filters = Filters {
            tenant: self.tenant.clone(),
            event_type: self.event_type.clone(),
            model: self.model.clone(),
            user: self.user.clone(),
            session: self.session.clone(),
            trace: self.trace.clone(),
            api_key: self.api_key.clone(),
            resource: self.resource.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
            limit: None,
        };
        let name = self.content.as_deref().unwrap_or("entries");
        let content = Content::named(name).ok_or_else(|| bad(format!("unknown content {name:?}")))?;
        let places = |text: &Option<String>| -> Result<Vec<(String, u64)>, Problem> {
            let places = text.iter().flat_map(|text| text.split(',')).filter(|place| !place.is_empty());
            places
                .map(|place| {
                    let (tenant, number) = place.split_once(':')?;
                    Some((tenant.to_owned(), number.parse().ok()?))
                })
                .map(|place| place.ok_or_else(|| bad("a place is TENANT:NUMBER".to_owned())))
                .collect()
        };
        let from = places(&self.from)?.pop().map(|(tenant, seq)| Cursor { tenant, seq });
        let sizes: BTreeMap<String, u64> = places(&self.sizes)?.into_iter().collect();
        Ok(Selection { query: filters.query()?, content, sizes, from })
    }
}

pub(crate) async fn export(
    State(shared): State<Shared>,
    operator: Operator,
    QueryString(wish): QueryString<Wish>,
) -> Result<Response, Problem> {
    let selection = wish.selection()?;
    let collector = shared.collector.clone();
    let export = blocking(&shared, move |collector| Ok(Export::new(collector, selection))).await?;
    let export = export.map_err(|error| match error {
        CollectorError::Unfit(what) => Problem::new(
            StatusCode::CONFLICT,
            what,
            "the sizes are those of another ledger, or not signed yet",
        ),
        error => failed(&error),
    })?;
    let asked = json!({ "export": format!("{wish:?}"), "purpose": operator.purpose });
    export.record_begin(&collector, &asked).await.map_err(|error| failed(&error))?;
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::spawn(send(collector, export, asked, sender));
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(Lines(receiver))).into_response())
}

/// Sends the lines, records how far it came, and then says so: whoever has the last line has it on record.
async fn send(collector: Arc<Collector>, export: Export, asked: Value, sender: mpsc::Sender<Bytes>) {
    let (lines, reader) = (sender.clone(), collector.clone());
    let ran = tokio::task::spawn_blocking(move || {
        let mut chunk = String::new();
        let outcome = export.run(&reader, &mut |line| {
            chunk.push_str(&line);
            chunk.push('\n');
            if chunk.len() < CHUNK_BYTES {
                return ControlFlow::Continue(());
            }
            match lines.blocking_send(std::mem::take(&mut chunk).into()) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        });
        // The client may be gone: then nobody misses it.
        let _ = lines.blocking_send(chunk.into());
        (export, outcome)
    })
    .await;
    let Ok((export, outcome)) = ran else {
        tracing::error!("an export panicked");
        return;
    };
    let (counts, whole) = *outcome.as_ref().unwrap_or(&(Counts::default(), false));
    let recorded = export.record_end(&collector, &asked, counts, whole).await;
    let line = match (outcome, recorded) {
        (Ok((_, false)), Ok(_)) => return,
        (Ok((counts, true)), Ok(_)) => export::end_line(counts),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "an export failed");
            json!({ "error": { "message": error.to_string() } }).to_string()
        }
    };
    let _ = sender.send(format!("{line}\n").into()).await;
}

/// Chunks of lines, as a body.
struct Lines(mpsc::Receiver<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
