//! A load at a fixed rate, which sees when an answer begins and when it ends.
//!
//! `wrk` asks again as soon as it is answered, so it cannot hold a rate, and it does not see the first byte of
//! a body. Here each connection is a thread with a timetable: request k is due k/rate after the start and
//! goes to the connections in turn. Latency counts from the sending, or from the due time if the connection was
//! still busy with the answer before: a slow answer cannot hide the requests that it kept from being sent.

use super::http::Answer;
use super::stage::{Quantiles, Sample};
use super::target::{PATH, Shape};
use crate::bench::Outcome;
use crate::bench::peers::API_KEY;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Until all threads stand ready.
const LEAD: Duration = Duration::from_millis(50);
/// Longer than this, an answer has failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const STACK_BYTES: usize = 128 << 10;
const BUFFER_BYTES: usize = 64 << 10;

/// How fast, and for how long.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub(super) connections: usize,
    /// Requests a second, over all connections.
    pub(super) per_second: f64,
    pub(super) seconds: u64,
    /// How long the model takes before it begins to answer.
    pub(super) model_ms: u64,
}

/// Microseconds from sending to the first and to the last byte of an answer's body.
struct Times {
    first_us: f64,
    last_us: f64,
}

/// The bytes of a request to a loopback port.
pub(super) fn request(port: u16, controls: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
         authorization: Bearer {API_KEY}\r\nx-standin: {controls}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One load on a loopback port.
pub(super) fn load(port: u16, shape: Shape, pace: Pace) -> Outcome<Sample> {
    let controls = format!("{},delay={}", shape.controls(), pace.model_ms);
    let request = request(port, &controls, &shape.request());
    let start = Instant::now() + LEAD;
    let outcomes = thread::scope(|scope| {
        let connections: Vec<_> = (0..pace.connections)
            .map(|number| {
                let request = &request;
                thread::Builder::new()
                    .stack_size(STACK_BYTES)
                    .spawn_scoped(scope, move || connection(port, request, pace, number, start))
            })
            .collect();
        connections
            .into_iter()
            .map(|thread| match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(outcome)) => Ok(outcome),
                Ok(Err(_)) => Err("a connection's thread panicked".to_owned()),
                Err(error) => Err(format!("no thread for a connection: {error}")),
            })
            .collect::<Outcome<Vec<_>>>()
    })?;
    let seconds = (Instant::now() - start).as_secs_f64();
    let errors: usize = outcomes.iter().map(|(_, errors)| errors).sum();
    let times = || outcomes.iter().flat_map(|(times, _)| times);
    let requests = times().count();
    if requests == 0 {
        return Err(format!("no answer at all on port {port}: {errors} requests failed"));
    }
    Ok(Sample {
        requests: requests as f64,
        errors: errors as f64,
        per_second: requests as f64 / seconds,
        first: Some(Quantiles::of(times().map(|times| times.first_us))),
        last: Quantiles::of(times().map(|times| times.last_us)),
        // An answer that failed may be recorded all the same.
        cut_off: errors,
    })
}

/// One connection's requests: what it measured, and how many failed.
fn connection(port: u16, request: &[u8], pace: Pace, number: usize, start: Instant) -> (Vec<Times>, usize) {
    let (mut times, mut errors) = (Vec::new(), 0);
    let end = start + Duration::from_secs(pace.seconds);
    let mut stream = connect(port);
    let mut buffer = vec![0; BUFFER_BYTES];
    for turn in 0.. {
        let due =
            start + Duration::from_secs_f64((number + turn * pace.connections) as f64 / pace.per_second);
        if due >= end {
            break;
        }
        let since = match due.checked_duration_since(Instant::now()) {
            Some(early) => {
                thread::sleep(early);
                Instant::now()
            }
            None => due,
        };
        match stream.as_mut().map_err(|error| error.to_string()).and_then(|stream| {
            exchange(stream, request, since, &mut buffer).map_err(|error| error.to_string())
        }) {
            Ok(measured) => times.push(measured),
            Err(_) => {
                errors += 1;
                stream = connect(port);
            }
        }
    }
    (times, errors)
}

/// A connection to a loopback port.
fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    Ok(stream)
}

fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    since: Instant,
    buffer: &mut [u8],
) -> std::io::Result<Times> {
    stream.write_all(request)?;
    let mut answer = Answer::default();
    let mut first_us = None;
    while !answer.is_whole() {
        let read = stream.read(buffer)?;
        answer.take(&buffer[..read])?;
        let us = since.elapsed().as_secs_f64() * 1e6;
        if answer.body_bytes() > 0 {
            first_us.get_or_insert(us);
        }
    }
    let last_us = since.elapsed().as_secs_f64() * 1e6;
    Ok(Times { first_us: first_us.unwrap_or(last_us), last_us })
}
