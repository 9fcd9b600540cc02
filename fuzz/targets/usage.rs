//! Asking for the usage of a stream, and taking the event that answers out again.
//!
//! Holds: a request that asks is the client's but for the option, and asks once; what passes and what was taken
//! out are the stream; a stream with the event put in passes as the one without it, wherever it was put and
//! however both are cut.

#![no_main]

use indelible_fuzz::{Input, pieces};
use indelible_gateway::fuzzing;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Most stretches that are taken out of one answer.
const TAKEN_MAX: usize = 16;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    match input.byte() % 3 {
        0 => ask(input.rest()),
        1 => strip(&mut input),
        _ => put_in(&mut input),
    }
});

fn ask(body: &[u8]) {
    let Some(sent) = fuzzing::ask(body) else { return };
    assert_eq!(fuzzing::ask(&sent), None);
    let Ok(mut before) = serde_json::from_slice::<Value>(body) else { return };
    let mut after: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(before["stream"], true);
    assert_eq!(after["stream_options"]["include_usage"], true);
    for request in [&mut before, &mut after] {
        let members = request.as_object_mut().unwrap();
        let mut options = members.remove("stream_options").unwrap_or_default();
        if let Some(options) = options.as_object_mut() {
            options.remove("include_usage");
            if !options.is_empty() {
                members.insert("stream_options".to_owned(), Value::Object(options.clone()));
            }
        }
    }
    assert_eq!(after, before);
}

fn strip(input: &mut Input<'_>) {
    let seed = input.number();
    let stream = input.rest();
    let (passed, taken) = fuzzing::strip([stream].into_iter());
    assert_eq!(fuzzing::strip(pieces(stream, seed)), (passed.clone(), taken.clone()));
    assert!(taken.len() <= TAKEN_MAX);
    let (mut left, mut at, mut rebuilt) = (&*passed, 0, Vec::new());
    for (from, len) in taken {
        let (from, len) = (from as usize, len as usize);
        let (begin, rest) = left.split_at(from - at);
        rebuilt.extend_from_slice(begin);
        rebuilt.extend_from_slice(&stream[from..from + len]);
        (left, at) = (rest, from + len);
    }
    rebuilt.extend_from_slice(left);
    assert_eq!(rebuilt, stream);
}

fn put_in(input: &mut Input<'_>) {
    let (seed, at, end) = (input.number(), usize::from(input.number()), input.byte());
    let end = ["\n\n", "\r\n\r\n", "\r\r"][usize::from(end) % 3];
    let stream = input.rest();
    let (before, after) = stream.split_at(at % (stream.len() + 1));
    // A line feed behind a carriage return would belong to it.
    let feeds = after.iter().take_while(|byte| end == "\r\r" && **byte == b'\n').count();
    let after = &after[feeds..];
    let before = if before.is_empty() { Vec::new() } else { [before, end.as_bytes()].concat() };
    let event = format!("data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{seed}}}}}{end}");
    let without = fuzzing::strip([&[&*before, after].concat()[..]].into_iter());
    let with = [&*before, event.as_bytes(), after].concat();
    let (passed, taken) = fuzzing::strip(pieces(&with, seed));
    if without.1.len() + 1 < TAKEN_MAX {
        assert_eq!(passed, without.0);
        assert_eq!(
            taken.iter().map(|(_, len)| len).sum::<u64>(),
            without.1.iter().map(|(_, len)| len).sum::<u64>() + event.len() as u64
        );
    }
}
