//! What is said is read again, whatever pieces it comes in; and nothing that is sent stops a reader.

use crate::speaking::{Say, Speaker, frame};
use indelible_websocket::{Event, Extension, Kind, Mark, Messages, Side, Unreadable, conversation};
use proptest::prelude::*;

const PLAIN: Extension = Extension { client_no_context_takeover: false, server_no_context_takeover: false };

/// Kind, payload and whether it was compressed, of each message that ended.
type Heard = Vec<(Kind, Vec<u8>, bool)>;

fn hear(
    side: Side,
    extension: Option<Extension>,
    wire: &[u8],
    piece: usize,
) -> (Heard, Result<(), Unreadable>) {
    let (mut reader, mut heard, mut under_way) = (Messages::new(side, extension), Vec::new(), None);
    let mut outcome = Ok(());
    for piece in wire.chunks(piece.max(1)) {
        outcome = reader.push(piece, |event| match event {
            Event::Begin { kind, compressed } => under_way = Some((kind, Vec::new(), compressed)),
            Event::Data(part) => under_way.as_mut().unwrap().1.extend_from_slice(part),
            Event::End => heard.push(under_way.take().unwrap()),
            Event::Control(kind, payload) => heard.push((kind, payload.to_vec(), false)),
        });
    }
    (heard, outcome)
}

fn said() -> impl Strategy<Value = Say> {
    let kind = prop::sample::select(vec![Kind::Text, Kind::Binary, Kind::Ping, Kind::Pong, Kind::Close]);
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        // Long and repetitive: what compression is for, and frames of the longer forms.
        (any::<u8>(), 0usize..70_000).prop_map(|(byte, len)| vec![byte; len]),
    ];
    (kind, payload, 0usize..5000, any::<Option<[u8; 4]>>(), any::<bool>(), any::<bool>()).prop_map(
        |(kind, mut payload, fragment, mask, compress, ping)| {
            if matches!(kind, Kind::Ping | Kind::Pong | Kind::Close) {
                payload.truncate(125);
            }
            Say { kind, payload, fragment, mask, compress, ping }
        },
    )
}

proptest! {
    #[test]
    fn what_is_said_is_heard(
        says in prop::collection::vec(said(), 0..8),
        takeover: bool,
        piece in 1usize..3000,
    ) {
        let extension = Extension { client_no_context_takeover: !takeover, ..PLAIN };
        let mut speaker = Speaker::new(takeover);
        let wire: Vec<u8> = says.iter().flat_map(|say| speaker.say(say)).collect();
        let (heard, outcome) = hear(Side::Client, Some(extension), &wire, piece);
        prop_assert_eq!(outcome, Ok(()));
        let heard: Heard = heard.into_iter().filter(|(kind, ..)| *kind != Kind::Ping).collect();
        let expected: Heard = says
            .iter()
            .filter(|say| say.kind != Kind::Ping)
            .map(|say| (say.kind, say.payload.clone(), say.compress && matches!(say.kind, Kind::Text | Kind::Binary)))
            .collect();
        prop_assert_eq!(heard, expected);
    }

    #[test]
    fn nothing_that_is_sent_stops_a_reader(bytes: Vec<u8>, piece in 1usize..50, compressed: bool) {
        let extension = compressed.then_some(PLAIN);
        let whole = hear(Side::Server, extension, &bytes, bytes.len());
        prop_assert_eq!(hear(Side::Server, extension, &bytes, piece), whole);
    }

    #[test]
    fn broken_compression_is_told_and_read_no_further(payload in prop::collection::vec(any::<u8>(), 1..100)) {
        let wire = [frame(true, true, 1, None, &payload), frame(true, false, 1, None, b"after")].concat();
        let (heard, outcome) = hear(Side::Server, Some(PLAIN), &wire, wire.len());
        prop_assert!(outcome.is_ok() || heard.is_empty());
    }
}

#[test]
fn every_split_of_a_conversation_reads_the_same() {
    let mut speaker = Speaker::new(true);
    let say = |kind, payload: &[u8], fragment, compress| Say {
        kind,
        payload: payload.to_vec(),
        fragment,
        mask: Some([1, 2, 3, 4]),
        compress,
        ping: true,
    };
    let wire: Vec<u8> = [
        say(Kind::Text, b"{\"type\":\"session.update\"}", 7, true),
        say(Kind::Binary, &[9; 300], 128, false),
        say(Kind::Text, b"{\"type\":\"session.update\"}", 0, true),
        say(Kind::Text, b"", 0, true),
        say(Kind::Close, b"\x03\xe8done", 0, false),
    ]
    .iter()
    .flat_map(|say| speaker.say(say))
    .collect();
    let whole = hear(Side::Client, Some(PLAIN), &wire, wire.len());
    assert_eq!((whole.0.len(), &whole.1), (7, &Ok(())), "five messages, and two pings between fragments");
    for piece in 1..wire.len() {
        assert_eq!(hear(Side::Client, Some(PLAIN), &wire, piece), whole, "pieces of {piece}");
    }
}

#[test]
fn what_breaks_the_rules_of_fragments_or_was_not_negotiated_is_told() {
    for (wire, extension) in [
        (frame(true, false, 0, None, b"of nothing"), None),
        ([frame(false, false, 1, None, b"a"), frame(true, false, 2, None, b"b")].concat(), None),
        (frame(true, true, 1, None, b"compressed?"), None),
        (frame(false, false, 9, None, b"half a ping"), None),
        (frame(true, false, 8, None, &[0; 126]), None),
        (vec![0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0], Some(PLAIN)),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Some(PLAIN)),
    ] {
        let (_, outcome) = hear(Side::Server, extension, &wire, 3);
        assert!(outcome.is_err(), "{wire:?}");
    }
}

#[test]
fn a_message_that_inflates_beyond_measure_is_not_inflated_to_its_end() {
    let mut speaker = Speaker::new(true);
    let zeros = Say {
        kind: Kind::Binary,
        payload: vec![0; 64 << 20],
        fragment: 0,
        mask: None,
        compress: true,
        ping: false,
    };
    let wire = speaker.say(&zeros);
    let mut inflated = 0;
    let outcome = Messages::new(Side::Server, Some(PLAIN)).push(&wire, |event| {
        if let Event::Data(part) = event {
            inflated += part.len();
        }
    });
    assert!(outcome.is_err() && inflated < 20 << 20, "{inflated} bytes of {} on the wire", wire.len());
}

#[test]
fn a_conversation_is_put_in_the_order_in_which_it_was_spoken() {
    let mask = Some([7; 4]);
    let client = [frame(true, false, 1, mask, b"hello"), frame(true, false, 1, mask, b"and then?")];
    let server = [frame(true, false, 1, None, b"hi"), frame(true, false, 2, None, &[1, 2, 3])];
    let (first, second) = (client.concat(), server.concat());
    let mark = |side, bytes: usize, at_us| Mark { side, bytes: bytes as u64, at_us };
    // The server's second message comes in two pieces, and the client speaks between them.
    let marks = [
        mark(Side::Client, client[0].len(), 10),
        mark(Side::Server, server[0].len() + 2, 20),
        mark(Side::Server, server[1].len() - 2, 40),
        mark(Side::Client, client[1].len(), 30),
    ];
    let (messages, readable) = conversation(&first, &second, &marks, None, 1000);
    let said: Vec<_> = messages.iter().map(|m| (m.side, m.at_us, m.payload.as_slice())).collect();
    assert!(readable);
    assert_eq!(
        said,
        [
            (Side::Client, 10, b"hello".as_slice()),
            (Side::Server, 20, b"hi"),
            (Side::Client, 30, b"and then?"),
            (Side::Server, 40, &[1, 2, 3]),
        ]
    );
}

#[test]
fn what_broke_off_or_is_too_large_to_show_says_so() {
    let whole = frame(true, false, 1, None, &[b'x'; 100]);
    let mark = [Mark { side: Side::Server, bytes: 60, at_us: 1 }];
    let (messages, readable) = conversation(b"", &whole[..60], &mark, None, 10);
    assert!(readable);
    let [message] = &messages[..] else { panic!("one message") };
    assert!(message.partial && message.bytes == 58 && message.payload == [b'x'; 10]);
    // Bytes that no mark covers are not passed over in silence.
    let (_, readable) = conversation(b"", &whole, &mark, None, 10);
    assert!(!readable);
}
