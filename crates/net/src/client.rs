//! One pooled HTTP client for whatever is called now and then, such as the collector.

use crate::NetError;
use crate::tls::{self, Identity};
use http_body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::path::Path;
use std::time::Duration;

/// A pooled client that speaks HTTP and HTTPS.
pub type HttpClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// How a client connects.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// CA file to trust; the system's roots when absent.
    pub ca: Option<&'a Path>,
    /// Certificate to show.
    pub identity: Option<&'a Identity>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// Speak HTTP/2 only.
    pub http2_only: bool,
}

/// Makes a client.
pub fn build<B>(settings: &Settings<'_>) -> Result<HttpClient<B>, NetError>
where
    B: Body + Send + 'static,
    B::Data: Send,
{
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    http.set_connect_timeout(Some(settings.connect_timeout));
    let config = tls::client(settings.ca, settings.identity)?;
    let builder = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
    let connector = if settings.http2_only {
        builder.enable_http2().wrap_connector(http)
    } else {
        // What a client of the gateway sent over HTTP/1.1 goes on over HTTP/1.1.
        builder.enable_http1().wrap_connector(http)
    };
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .http2_only(settings.http2_only)
        .build(connector))
}
