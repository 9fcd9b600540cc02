//! Calls to parties outside: bounded in time and in what is read of an answer.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use indelible_net::client::{self, HttpClient, Settings};
use indelible_net::{NetError, chain};
use std::path::Path;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Most bytes of an answer.
pub const ANSWER_MAX_BYTES: usize = 1 << 20;

/// A client for parties outside.
#[derive(Clone)]
pub struct Caller(HttpClient<Full<Bytes>>);

/// An answer: status, media type, body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// `Content-Type`, as it was sent.
    pub media_type: String,
    /// The whole body.
    pub body: Bytes,
}

impl Caller {
    /// A client that trusts `ca`, or the system's roots.
    ///
    /// # Errors
    /// [`NetError`] if the CA file cannot be used.
    pub fn new(ca: Option<&Path>) -> Result<Self, NetError> {
        let settings = Settings { ca, identity: None, connect_timeout: CONNECT_TIMEOUT, http2_only: false };
        client::build(&settings).map(Self)
    }

    /// Gets a URL.
    ///
    /// # Errors
    /// Words on why there is no answer.
    pub async fn get(&self, url: &str) -> Result<Answer, String> {
        self.call(Request::get(url).body(Full::default())).await
    }

    /// Posts to a URL.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn post(&self, url: &str, media_type: &str, body: impl Into<Bytes>) -> Result<Answer, String> {
        let request = Request::post(url).header(header::CONTENT_TYPE, media_type);
        self.call(request.body(Full::new(body.into()))).await
    }

    async fn call(&self, request: Result<Request<Full<Bytes>>, http::Error>) -> Result<Answer, String> {
        let request = request.map_err(|error| error.to_string())?;
        let answer = async {
            let answer = self.0.request(request).await.map_err(|error| chain(&error))?;
            read(answer).await
        };
        tokio::time::timeout(ANSWER_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

async fn read(answer: Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_MAX_BYTES).collect().await.map_err(|error| error.to_string())?;
    let media_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Ok(Answer {
        status: head.status,
        media_type: media_type.unwrap_or_default().to_owned(),
        body: body.to_bytes(),
    })
}
