//! Clients that speak HTTP/2, in clear text by prior knowledge (RFC 9113 §3.3) and over TLS.

use super::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};

type Client = SendRequest<Full<Bytes>>;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A client on a connection that speaks HTTP/2 from its first byte. A window of 0 takes heads, no bodies.
async fn speak(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, window: Option<u32>) -> Client {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (client, connection) =
        builder.initial_stream_window_size(window).handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn connect(address: SocketAddr) -> tokio::net::TcpStream {
    tokio::net::TcpStream::connect(address).await.unwrap()
}

fn post(path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> http::Request<Full<Bytes>> {
    let mut request = http::Request::post(format!("http://gateway{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

fn event_id<B>(response: &http::Response<B>) -> String {
    response.headers()["x-indelible-event-id"].to_str().unwrap().to_owned()
}

#[test]
fn http2_by_prior_knowledge_is_served_many_at_once() {
    let (site, model) = (Site::new(), ModelServer::start());
    let up = site.up(&model.url, &[]);
    let (plain, stream) = (chat("plain", false), chat("stream", true));
    let answers = runtime().block_on(async {
        let client = speak(connect(up.listen).await, None).await;
        let ask = |body: &Vec<u8>| {
            let (mut client, body) = (client.clone(), body.clone());
            async move {
                let answer =
                    client.send_request(post(CHAT, &[("content-type", "application/json")], body)).await;
                let answer = answer.unwrap();
                let (status, id) = (answer.status(), event_id(&answer));
                assert_eq!(answer.version(), http::Version::HTTP_2);
                (status, id, answer.into_body().collect().await.unwrap().to_bytes())
            }
        };
        let (a, b, c) = tokio::join!(ask(&plain), ask(&stream), ask(&plain));
        [(a, &plain), (b, &stream), (c, &plain)]
    });
    for ((status, id, body), sent) in answers {
        let direct = request(
            address_of(&model.url),
            &message("POST", CHAT, &[("Content-Type", "application/json")], sent),
        );
        assert_eq!((status.as_u16(), body.to_vec()), (direct.status, direct.body));
        let record = site.record(&id);
        assert_eq!(record["entry"]["status"], "completed");
        assert_faithful(&record);
        assert_eq!(&site.raw(&id, "request"), sent);
        assert_eq!(site.raw(&id, "response"), body);
    }
}

#[test]
fn http2_over_tls_is_negotiated_and_so_is_http1() {
    let model = ModelServer::start();
    let certificate = "tls_cert = \"data.keys/tls/collector.pem\"\ntls_key = \"data.keys/tls/collector.key\"";
    let machines = TwoMachines::with(&model.url, certificate, "");
    let _collector = machines.start_collector();
    let gateway = machines.start_gateway();
    let body = chat("over TLS", true);
    for protocol in ["h2", "http/1.1"] {
        let (id, got) = runtime().block_on(async {
            let mut config =
                indelible_net::tls::client(Some(&machines.site.keys.join("tls/ca.pem")), None).unwrap();
            config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
            let stream = connector.connect(name, connect(gateway.listen).await).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
            let asked = post(CHAT, &[("content-type", "application/json")], body.clone());
            let answer = if protocol == "h2" {
                speak(stream, None).await.send_request(asked).await.unwrap()
            } else {
                let (mut client, connection) =
                    hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                tokio::spawn(connection);
                client.send_request(asked).await.unwrap()
            };
            assert_eq!(answer.status(), 200);
            (event_id(&answer), answer.into_body().collect().await.unwrap().to_bytes())
        });
        assert!(got.ends_with(b"data: [DONE]\n\n"), "{protocol}");
        assert_faithful(&machines.site.record(&id));
        assert_eq!(machines.site.raw(&id, "response"), got);
        assert_eq!(machines.site.raw(&id, "request"), body);
    }
}

#[test]
fn a_client_gone_before_the_first_byte_was_asked_for_is_recorded() {
    // With a window of 0 the head goes out and the body is never polled.
    let (site, model) = (Site::new(), ModelServer::start());
    let up = site.up(&model.url, &[]);
    let id = runtime().block_on(async {
        let mut client = speak(connect(up.listen).await, Some(0)).await;
        let headers = [("content-type", "application/json"), ("x-request-id", "req-unpolled")];
        let answer = client.send_request(post(CHAT, &headers, chat("never read", true))).await.unwrap();
        assert_eq!(answer.status(), 200);
        event_id(&answer)
    });
    let record = only(&site, "req-unpolled");
    assert_eq!(record["entry"]["event_id"], id.as_str());
    assert_eq!(record["entry"]["status"], "cancelled", "{:#}", record["entry"]);
    assert_eq!(record["entry"]["error_type"], "client_gone");
    assert_eq!(record["entry"]["http_status"], 200);
    assert_eq!(record["entry"]["output"]["partial"], true);
    assert_faithful(&record);
}

#[test]
fn a_stream_that_the_client_resets_is_recorded_with_what_it_got() {
    let (site, model) = (Site::new(), ModelServer::start());
    let up = site.up(&model.url, &[]);
    let (got, other) = runtime().block_on(async {
        let mut client = speak(connect(up.listen).await, None).await;
        let headers =
            [("content-type", "application/json"), ("x-standin", "pace=200"), ("x-request-id", "req-reset")];
        let mut answer = client.send_request(post(CHAT, &headers, chat("count", true))).await.unwrap();
        let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        // RST_STREAM; the connection stays.
        drop(answer);
        let other = client.send_request(post(CHAT, &[], chat("after", false))).await.unwrap();
        (first, event_id(&other))
    });
    let record = only(&site, "req-reset");
    assert_eq!(record["entry"]["status"], "cancelled", "{:#}", record["entry"]);
    assert_faithful(&record);
    assert!(site.raw("req-reset", "response").starts_with(&got));
    assert_eq!(site.record(&other)["entry"]["status"], "completed");
}

#[test]
fn trailers_reach_a_client_that_speaks_http2() {
    let upstream = RawServer::answering(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTrailer: X-Digest\r\n\
          Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\nX-Digest: abc\r\n\r\n"
            .to_vec(),
    );
    let site = Site::new();
    let up = site.up(&upstream.url, &[]);
    let (id, collected) = runtime().block_on(async {
        let mut client = speak(connect(up.listen).await, None).await;
        let answer = client.send_request(post("/v1/x", &[("te", "trailers")], b"{}".to_vec())).await.unwrap();
        (event_id(&answer), answer.into_body().collect().await.unwrap())
    });
    assert_eq!(collected.trailers().unwrap()["x-digest"], "abc");
    assert_eq!(collected.to_bytes(), "{}");
    assert_eq!(site.record(&id)["entry"]["status"], "completed");
}
