//! The handshake (RFC 6455 §4): an HTTP/1.1 upgrade whose headers pass as they came.

use super::record::SocketRecord;
use super::tunnel;
use crate::exchange::HandedOver;
use crate::limits::Limits;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use indelible_record::event::Start;
use std::time::Duration;

const WEBSOCKET: &str = "websocket";

/// A request for a conversation.
pub(crate) struct Handshake {
    upgrade: HeaderValue,
    client: OnUpgrade,
}

impl Handshake {
    /// Takes the handshake out of a request that asks for one.
    pub(crate) fn of(request: &mut Request<Incoming>) -> Option<Self> {
        let headers = request.headers();
        let asks = request.method() == Method::GET
            && request.version() == Version::HTTP_11
            && has_token(headers, header::CONNECTION, "upgrade");
        let upgrade = headers.get(header::UPGRADE).filter(|value| is_websocket(value))?.clone();
        asks.then(|| Self { upgrade, client: hyper::upgrade::on(request) })
    }

    /// What the start of the record says: Realtime names its model in the query.
    pub(crate) fn describe(&self, start: &mut Start, query: Option<&str>) {
        if start.facts.model.is_none() {
            let mut pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
            start.facts.model = pairs.find(|(name, _)| *name == "model").map(|(_, model)| model.to_owned());
        }
    }

    /// Puts the headers of this connection back that ask the next one for the same.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, self.upgrade.clone());
    }

    /// Whether an answer agrees to it.
    pub(crate) fn is_agreed<B>(answer: &Response<B>) -> bool {
        answer.headers().get(header::UPGRADE).is_some_and(is_websocket)
    }

    /// Passes on what both say from now on. The client is told by the `head` that it was agreed.
    pub(crate) fn follow(
        self,
        answer: Response<Incoming>,
        head: &mut HeaderMap,
        handed: HandedOver,
        mut limits: Limits,
        idle: Duration,
    ) {
        self.ask(head);
        limits.idle = idle;
        let extensions = joined(answer.headers(), header::SEC_WEBSOCKET_EXTENSIONS);
        let record = SocketRecord::new(handed, extensions);
        let server = hyper::upgrade::on(answer);
        tokio::spawn(tunnel::run(self.client, server, record, limits));
    }
}

fn is_websocket(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().eq_ignore_ascii_case(WEBSOCKET.as_bytes())
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|found| found.trim().eq_ignore_ascii_case(token))
}

/// All values of a header in one (RFC 9110 §5.3).
fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}
