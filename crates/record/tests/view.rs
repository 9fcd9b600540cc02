//! The two readers of entries, `Entry::parse` and `EntryView::parse`, take the same bytes and read the same in them.
//!
//! The first goes through serde and compares what is written back; it is the reference. Entries are changed in every way that a
//! reader could miss: byte by byte, value by value, member by member.

use indelible_record::entry::{
    Actor, ENTRY_MAX_BYTES, Param, Redaction, Resource, Side, Source, Status, VERSION,
};
use indelible_record::{Entry, EntryView};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use std::ops::Range;

const PAGE: &str = include_str!("../../../docs/formats/entry.md");

/// Fails unless both take the bytes and read the same, or both refuse them for the same reason. Answers whether they take them.
fn agree(bytes: &[u8]) -> bool {
    let shown = || String::from_utf8_lossy(bytes);
    match (Entry::parse(bytes), EntryView::parse(bytes)) {
        (Ok(entry), Ok(view)) => {
            assert_same(&entry, &view);
            true
        }
        (Err(one), Err(other)) => {
            assert_eq!(one, other, "{}", shown());
            false
        }
        (Ok(_), Err(error)) => panic!("only the view refuses, {error}: {}", shown()),
        (Err(error), Ok(_)) => panic!("only the view takes what is {error}: {}", shown()),
    }
}

fn assert_same(entry: &Entry, view: &EntryView<'_>) {
    let required = [&view.event_id, &view.event_type, &view.prev_hash, &view.tenant_id, &view.timestamp];
    assert_eq!(
        required.map(|text| &**text),
        [&entry.event_id, &entry.event_type, &entry.prev_hash, &entry.tenant_id, &entry.timestamp]
    );
    let optional = [
        (&view.api_key_id, &entry.api_key_id),
        (&view.parent_event_id, &entry.parent_event_id),
        (&view.request_id, &entry.request_id),
        (&view.session_id, &entry.session_id),
        (&view.subject_ref, &entry.subject_ref),
        (&view.trace_id, &entry.trace_id),
    ];
    for (viewed, read) in optional {
        assert_eq!(viewed.as_deref(), read.as_deref());
    }
    for (viewed, read) in [(&view.input, &entry.input), (&view.output, &entry.output)] {
        let read = read.as_ref().map(|side| (side.bytes, &*side.commitment));
        assert_eq!(viewed.as_ref().map(|side| (side.bytes, &*side.commitment)), read);
    }
    let resource = entry.resource.as_ref().map(|resource| (&*resource.id, &*resource.kind));
    assert_eq!(view.resource.as_ref().map(|resource| (&*resource.id, &*resource.kind)), resource);
    assert_eq!(view.seq, entry.seq);
    assert_eq!(view.detail(), entry.detail);
}

/// The entries of the format's page, one of them with every field.
fn entries() -> Vec<String> {
    let vector = |name: &str| {
        let (_, after) = PAGE.split_once(&format!("\n```vector {name}\n")).expect("a block of that name");
        after.split_once("\n```").expect("an end of the block").0
    };
    let mut entries: Vec<String> =
        vector("chain").lines().chain([vector("every-field")]).map(str::to_owned).collect();
    // Beyond U+FFFF it is read in another way.
    let last =
        entries.last().expect("an entry").replacen("\"operation\":\"", "\"operation\":\"\u{1f980}\\n", 1);
    entries.push(last);
    entries
}

/// Where the values of an entry stand, and its members with their names, in canonical JSON.
#[derive(Default)]
struct Places {
    values: Vec<Range<usize>>,
    members: Vec<Range<usize>>,
}

impl Places {
    fn of(text: &str) -> Self {
        let mut this = Self::default();
        assert_eq!(this.value(text.as_bytes(), 0), text.len());
        this
    }

    /// Where the value that begins at `start` ends.
    fn value(&mut self, text: &[u8], start: usize) -> usize {
        let mut at = start + 1;
        match text[start] {
            b'"' => at = end_of_string(text, start),
            open @ (b'{' | b'[') => {
                while !matches!(text[at], b'}' | b']') {
                    let member = at;
                    if open == b'{' {
                        at = end_of_string(text, at) + 1;
                    }
                    at = self.value(text, at);
                    self.members.push(member..at);
                    at += usize::from(text[at] == b',');
                }
                at += 1;
            }
            _ => at += text[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count(),
        }
        self.values.push(start..at);
        at
    }
}

fn end_of_string(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while text[at] != b'"' {
        at += 1 + usize::from(text[at] == b'\\');
    }
    at + 1
}

fn replaced(text: &str, place: &Range<usize>, with: &[u8]) -> Vec<u8> {
    [&text.as_bytes()[..place.start], with, &text.as_bytes()[place.end..]].concat()
}

/// The entry with every field, its strings cut short.
fn short_entry() -> String {
    let mut text = entries().swap_remove(2);
    let mut strings = Places::of(&text).values;
    strings.retain(|place| text[place.clone()].starts_with('"') && &text[place.clone()] != "\"cancelled\"");
    strings.sort_by_key(|place| std::cmp::Reverse(place.start));
    for place in strings.into_iter().filter(|place| place.len() > 6) {
        text.replace_range(place.start + 5..place.end - 1, "");
    }
    text
}

#[test]
fn every_changed_byte_is_judged_the_same() {
    let text = short_entry();
    assert!(agree(text.as_bytes()), "{text}");
    for at in 0..text.len() {
        let byte = text.as_bytes()[at];
        for other in [byte ^ 0x01, byte ^ 0x20].iter().chain(b"\n \"\\,:[]{}0-.e\x1f\x7f\x80\xf0") {
            agree(&replaced(&text, &(at..at + 1), &[*other]));
        }
        for other in [byte].iter().chain(b" \"\\,:}0-") {
            agree(&replaced(&text, &(at..at), &[*other]));
        }
        agree(&replaced(&text, &(at..at + 1), b""));
        agree(&text.as_bytes()[..at]);
    }
    for text in entries() {
        assert!(agree(text.as_bytes()), "{text}");
        for behind in ["\n", " ", "}", ",", "{}", "\"v\":1}", "\0"] {
            assert!(!agree([&text, behind].concat().as_bytes()));
        }
        // Objects that end too early, and too late.
        let cut = text.strip_suffix('}').expect("an object");
        for end in ["", ",", ",\"", ",\"}", ",\"\":1}", "}}", "}v\":1}", ",\"v\":1}", "\"v\":1}"] {
            assert!(!agree([cut, end].concat().as_bytes()));
            let cut = cut.strip_suffix(",\"v\":1").expect("the last member");
            assert_eq!(agree([cut, end].concat().as_bytes()), end == ",\"v\":1}");
        }
    }
}

#[test]
fn every_value_is_judged_the_same_in_every_place() {
    let numbers = [
        "0",
        "-0",
        "1",
        "-1",
        "00",
        "01",
        "-01",
        "1.0",
        "1.5",
        "1e2",
        "1E2",
        "65535",
        "65536",
        "4294967295",
        "4294967296",
        "9007199254740991",
        "9007199254740992",
        "-9007199254740991",
        "-9007199254740992",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
        "-",
        "+1",
        "1-",
    ];
    let others = [
        "null",
        "true",
        "false",
        "True",
        "tru",
        "{}",
        "[]",
        "[[]]",
        "{\"\":\"\"}",
        "{\"a\":null}",
        "[null]",
        "[1,\"a\",true]",
        "[1,]",
        "[,1]",
        "{\"a\":1,}",
        "{,}",
        "{\"a\"}",
        "{\"a\":1,\"a\":1}",
        "{\"b\":1,\"a\":1}",
        "{\"a\":1,\"b\":-1}",
        "{\"a\":{\"b\":[{}]}}",
        "{1:1}",
        "\"",
        "\"\"",
        "\"completed\"",
        "\"upstream_error\"",
        "\"complete\"",
        "",
        " 1",
        "1 ",
        "{\"id\":\"\",\"kind\":\"\"}",
        "{\"id\":\"\",\"type\":\"\"}",
        "{\"bytes\":1,\"commitment\":\"\"}",
        "[1,\"\"]",
        "{\"bytes\":1,\"commitment\":\"\",\"partial\":true}",
        "{\"bytes\":1,\"commitment\":\"\",\"partial\":false}",
        "{\"bytes\":1,\"commitment\":\"\"}partial\":true}",
        "{\"bytes\":1,\"commitment\":\"\",\"",
        "{\"id\":\"\",\"kind\":\"\",\"",
        "{\"id\":\"\",\"type\":\"\",\"}",
        "{\"bytes\":1,\"commitment\":\"\"}\"partial\":true}",
        "{\"counts\":{},\"policy\":\"\"}",
        "{\"counts\":{\"b\":1,\"c\":9007199254740991},\"policy\":\"\"}",
        "{\"counts\":{\"a\":-1},\"policy\":\"\"}",
        "{\"id\":\"\",\"incarnation\":\"\",\"seq\":0}",
        "{\"id\":\"\",\"incarnation\":\"\",\"seq\":0,\"time\":\"\"}",
        "{\"$serde_json::private::RawValue\":\"1\"}",
        "{\"$serde_json::private::RawValue\":1}",
        "[{\"$serde_json::private::RawValue\":\"{}\"}]",
        "{\"a\":{\"$serde_json::private::RawValue\":\"\"}}",
        "{\"a\":{\"#\":1,\"$serde_json::private::RawValue\":\"1\"}}",
        "{\"a\":{\"$serde_json::private::RawValuf\":\"1\"}}",
        "{\"a\":{\"$serde_json::private::Number\":\"1\"}}",
    ];
    let mut taken = 0;
    for text in entries() {
        for place in Places::of(&text).values {
            for value in numbers.iter().chain(&others) {
                taken += usize::from(agree(&replaced(&text, &place, value.as_bytes())));
            }
        }
    }
    assert!(taken > 1000, "{taken} were taken: nothing was tried where it fits");
}

#[test]
fn every_spelling_of_a_string_is_judged_the_same() {
    let mut spellings: Vec<Vec<u8>> = Vec::new();
    for code in (0..0x102u32).chain([0x2028, 0xd7ff, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xe000, 0xfeff, 0xffff])
    {
        spellings.extend([format!("\\u{code:04x}").into_bytes(), format!("\\u{code:04X}").into_bytes()]);
        spellings.extend(char::from_u32(code).map(|it| it.to_string().into_bytes()));
    }
    spellings.extend((0..=u8::MAX).map(|byte| vec![b'\\', byte]));
    spellings.extend((0..=u8::MAX).map(|byte| vec![byte]));
    let others: [&[u8]; 16] = [
        b"\\ud83e\\udd80",
        b"\\udd80\\ud83e",
        b"\\ud83e",
        b"\\ud83ex",
        b"\\u",
        b"\\u0",
        b"\\u00",
        b"\\u000",
        b"\\u00g0",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xe2\x82",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\xa6\x80",
        b"\xf0\x80\x80\x80",
        b"\\U0001",
    ];
    spellings.extend(others.map(<[u8]>::to_vec));
    // A value that verification asks for, one that it does not, one in an object of any names, names of such objects, and a known one.
    let entry = |request_id: &[u8], tools: &[u8], name: &[u8], value: &[u8], known: &[u8]| {
        [
            br#"{"detail":{"#.as_slice(),
            name,
            b":",
            value,
            br#"},"event_id":"","event_type":"",""#,
            known,
            br#"":"m","params":{"#,
            name,
            b":",
            value,
            br#"},"prev_hash":"","request_id":"#,
            request_id,
            br#","seq":0,"tenant_id":"","timestamp":"","tools":["#,
            tools,
            br#"],"v":1}"#,
        ]
        .concat()
    };
    let plain = b"\"a\"".as_slice();
    assert!(agree(&entry(plain, plain, plain, plain, b"model")));
    let mut taken = 0;
    for spelling in &spellings {
        // At each place within a word that is looked at at once, and behind another escape.
        for before in ["", "a", "abcdefg", "abcdefgh", "abcdefghijklm", "\\n", "\u{e4}\u{20ac}", "\u{1f980}"]
        {
            let string = [b"\"", before.as_bytes(), spelling, b"bc\""].concat();
            taken += usize::from(agree(&entry(&string, plain, plain, plain, b"model")));
            agree(&entry(plain, &string, plain, plain, b"model"));
            agree(&entry(plain, plain, &string, plain, b"model"));
            agree(&entry(plain, plain, plain, &string, b"model"));
        }
        agree(&entry(plain, plain, plain, plain, &[b"mod", &spelling[..], b"l"].concat()));
    }
    assert!(taken > 1000, "{taken}");
}

#[test]
fn members_are_judged_the_same_left_out_doubled_and_moved() {
    for text in entries() {
        let members = Places::of(&text).members;
        for member in &members {
            let member_text = &text.as_bytes()[member.clone()];
            // With the comma behind it, or the one before.
            agree(&replaced(&text, &(member.start..member.end + 1), b""));
            agree(&replaced(&text, &(member.start - 1..member.end), b""));
            for put_in in [
                b"\"aa\":1".as_slice(),
                b"\"\":\"\"",
                b"\"zz\":[]",
                b"1",
                b"\"v\":1",
                b"\"model\":\"m\"",
                member_text,
            ] {
                agree(&replaced(&text, &(member.start..member.start), &[put_in, b","].concat()));
                agree(&replaced(&text, &(member.end..member.end), &[b",", put_in].concat()));
            }
            for next in members.iter().filter(|next| next.start == member.end + 1) {
                let both = [&text.as_bytes()[next.clone()], b",", member_text].concat();
                agree(&replaced(&text, &(member.start..next.end), &both));
            }
        }
    }
}

#[test]
fn names_in_any_order_are_judged_the_same() {
    let names = [
        "",
        "$",
        "a",
        "aa",
        "ab",
        "b",
        "\u{7f}",
        "\u{e9}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{ffff}",
        "\u{10000}",
        "\u{10ffff}",
        "\\n",
        "\\\\",
        "\\\"",
        "\\u001f",
    ];
    let mut taken = 0;
    for one in names {
        for other in names {
            for beside in ["x", "\u{1f980}"] {
                let objects = format!(r#"{{"{one}":1,"{other}":2}}"#);
                taken += usize::from(agree(
                    format!(
                        r#"{{"detail":{{"d":{objects}}},"event_id":"{beside}","event_type":"","params":{objects},"prev_hash":"","redaction":{{"counts":{objects},"policy":""}},"seq":0,"tenant_id":"","timestamp":"","v":1}}"#
                    )
                    .as_bytes(),
                ));
            }
        }
    }
    // Of two names one comes first.
    assert_eq!(taken, names.len() * (names.len() - 1));
}

#[test]
fn nesting_ends_at_the_same_depth() {
    for depth in 118..136 {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            let nested = [open.repeat(depth).as_str(), "1", &close.repeat(depth)].concat();
            let halved = [open.repeat(depth / 2).as_str(), "1", &close.repeat(depth / 2)].concat();
            for value in [nested, halved] {
                let is_taken = agree(
                    format!(
                        r#"{{"detail":{{"d":{value}}},"event_id":"","event_type":"","prev_hash":"","seq":0,"tenant_id":"","timestamp":"","v":1}}"#
                    )
                    .as_bytes(),
                );
                let containers = 2 + value.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
                assert_eq!(is_taken, containers < 128, "{containers}");
            }
        }
    }
}

#[test]
fn length_is_judged_the_same() {
    for len in [ENTRY_MAX_BYTES - 1, ENTRY_MAX_BYTES, ENTRY_MAX_BYTES + 1] {
        let entry =
            r#"{"event_id":"","event_type":"","prev_hash":"","seq":0,"tenant_id":"","timestamp":"","v":1}"#;
        let padding = "x".repeat(len - entry.len());
        let entry = entry.replacen("\"\"", &format!("\"{padding}\""), 1);
        assert_eq!(agree(entry.as_bytes()), len <= ENTRY_MAX_BYTES);
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let text = || of(any::<String>());
    let number = || of(0..1u64 << 53);
    let side = || of((0..1u64 << 53, any::<String>(), text(), any::<bool>()));
    let param = prop_oneof![
        any::<bool>().prop_map(Param::Bool),
        (1 - (1i64 << 53)..1 << 53).prop_map(Param::Integer),
        any::<String>().prop_map(Param::Text),
    ];
    let texts = vec(text(), 26);
    let numbers = vec(number(), 9);
    let sides = (side(), side()).prop_map(|(input, output)| {
        [input, output].map(|side| {
            side.map(|(bytes, commitment, content_type, partial)| Side {
                bytes,
                commitment,
                content_type,
                partial,
            })
        })
    });
    let lists = (vec(any::<String>(), 0..3), vec(any::<String>(), 0..3));
    let maps = (btree_map(any::<String>(), param, 0..4), of(btree_map(any::<String>(), 0..1u64 << 53, 1..4)));
    let others =
        (of(any::<u32>()), of(any::<u16>()), of(any::<bool>()), of(prop::sample::select(&Status::ALL[..])));
    (texts, numbers, sides, lists, maps, others).prop_map(
        |(mut texts, mut numbers, sides, lists, maps, others)| {
            let mut text = || texts.pop().flatten();
            let mut number = || numbers.pop().flatten();
            let [input, output] = sides;
            Entry {
                action: text(),
                actor: text().map(|id| Actor { id, kind: "operator".to_owned() }),
                api_key_id: text(),
                app_version: text(),
                attempt: others.0,
                cached_tokens: number(),
                completion_tokens: number(),
                detail: number().map(|number| [("n".to_owned(), number.into())].into_iter().collect()),
                event_id: text().unwrap_or_default(),
                event_type: text().unwrap_or_default(),
                http_status: others.1,
                input,
                latency_ms: number(),
                model: text(),
                model_returned: text(),
                output,
                params: maps.0,
                parent_event_id: text(),
                prev_hash: text().unwrap_or_default(),
                price_ref: text(),
                redaction: maps.1.map(|counts| Redaction { counts, policy: String::new() }),
                refs: lists.0,
                request_id: text(),
                resource: text().map(|id| Resource { id, kind: "record".to_owned() }),
                route: text(),
                seq: number().unwrap_or_default(),
                session_id: text(),
                source: text().map(|id| Source {
                    id,
                    incarnation: String::new(),
                    seq: number().unwrap_or_default(),
                    start_seq: number(),
                    time: text(),
                }),
                span_id: text(),
                status: others.3,
                stream: others.2,
                subject_ref: text(),
                tenant_id: text().unwrap_or_default(),
                timestamp: text().unwrap_or_default(),
                tools: lists.1,
                trace_id: text(),
                ttft_ms: number(),
                v: VERSION,
                ..Entry::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn any_entry_is_viewed_as_it_is(entry in entry()) {
        let bytes = entry.to_bytes().expect("an entry");
        let view = EntryView::parse(&bytes).expect("an entry");
        assert_same(&entry, &view);
        prop_assert!(agree(&bytes));
    }

    #[test]
    fn any_entry_is_judged_the_same_when_pieces_of_it_are_exchanged(
        entries in (entry(), entry()),
        places in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 20),
    ) {
        let [one, other] = [entries.0, entries.1].map(|entry| entry.to_bytes().expect("an entry"));
        let [one, other] = [one, other].map(|bytes| String::from_utf8(bytes).expect("text"));
        let (values, others) = (Places::of(&one).values, Places::of(&other).values);
        for (place, piece) in places {
            let piece = &other.as_bytes()[others[piece.index(others.len())].clone()];
            agree(&replaced(&one, &values[place.index(values.len())], piece));
            let (at, end) = (place.index(one.len()), place.index(one.len()) + 1);
            agree(&replaced(&one, &(at..end), &piece[..1]));
        }
    }
}
