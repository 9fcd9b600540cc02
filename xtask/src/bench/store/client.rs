//! Calling a collector as an operator does: one connection, TLS, the operator's token.

use crate::bench::Outcome;
use crate::bench::indelible::{SOURCE, Site};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use indelible_net::chain;
use indelible_net::client::{self, HttpClient, Settings};
use indelible_net::tls::Identity;
use serde_json::Value;
use std::time::Duration;
use tokio::runtime::Runtime;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client of one running collector.
pub(super) struct Client {
    runtime: Runtime,
    client: HttpClient<Full<Bytes>>,
    url: String,
    token: String,
}

impl Client {
    pub(super) fn connect(site: &Site) -> Outcome<Self> {
        let identity = Identity {
            cert: site.handed_over(&format!("{SOURCE}.pem")),
            key: site.handed_over(&format!("{SOURCE}.key")),
        };
        let ca = site.handed_over("ca.pem");
        let settings = Settings {
            ca: Some(&ca),
            identity: Some(&identity),
            connect_timeout: CONNECT_TIMEOUT,
            http2_only: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: runtime.map_err(|error| format!("no runtime: {error}"))?,
            client: client::build(&settings).map_err(|error| error.to_string())?,
            url: site.url(),
            token: site.token()?,
        })
    }

    pub(super) fn get(&self, path: &str) -> Outcome<(StatusCode, Bytes)> {
        self.call(Request::get(format!("{}{path}", self.url)), Bytes::new())
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Outcome<(StatusCode, Bytes)> {
        let request = Request::post(format!("{}{path}", self.url));
        self.call(request.header(header::CONTENT_TYPE, "application/json"), body.to_string().into())
    }

    fn call(&self, request: http::request::Builder, body: Bytes) -> Outcome<(StatusCode, Bytes)> {
        let request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        self.runtime.block_on(async {
            let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
            let status = answer.status();
            let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok((status, body.to_bytes()))
        })
    }
}
