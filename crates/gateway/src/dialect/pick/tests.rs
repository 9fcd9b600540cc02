//! The picker against serde_json: whatever the text, wherever it is cut, both read the same at the wanted
//! paths.

use super::*;
use crate::dialect::plan::Rows;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;

/// A path, which is what a value there means here.
#[derive(Clone, Copy)]
struct Want(&'static str, Keep);

impl Meaning for Want {
    fn keep(self) -> Keep {
        self.1
    }
}

const ROWS: Rows<Want> = &[
    ("a", Want("a", Keep::Scalar)),
    ("b.a", Want("b.a", Keep::Scalar)),
    ("a[*].b", Want("a[*].b", Keep::Scalar)),
    ("b[*].a[*].c", Want("b[*].a[*].c", Keep::Scalar)),
    ("c.b.a", Want("c.b.a", Keep::Scalar)),
    ("b", Want("b", Keep::Whole)),
    ("c[*].a", Want("c[*].a", Keep::Whole)),
    ("c.a", Want("c.a", Keep::Presence)),
    ("b[*].c", Want("b[*].c", Keep::Presence)),
    ("d", Want("d", Keep::Presence)),
];

static PLAN: LazyLock<Plan<Want>> = LazyLock::new(|| Plan::new(&[ROWS]));

type Found = Vec<(String, [u32; 2], Value)>;

/// A JSON text with doubled members, escapes and spaces, as no serialiser would write it.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![Just("a"), Just("b"), Just("c"), Just("\\u0061"), Just("d"), Just("")];
    let string = prop_oneof![
        "[a-c{}\\[\\],:üé🦀 ]{0,12}",
        Just("\\\"\\\\".to_owned()),
        Just("\\ud83e\\udd80\\n".to_owned())
    ];
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i32>().prop_map(|n| n.to_string()),
        Just("-0.5e+3".to_owned()),
        string.prop_map(|s| format!("\"{s}\"")),
    ];
    let space = prop_oneof![Just(""), Just(" "), Just("\r\n\t")];
    scalar.prop_recursive(6, 60, 5, move |inner| {
        let item = (space.clone(), inner.clone()).prop_map(|(s, v)| format!("{s}{v}{s}"));
        let member =
            (space.clone(), word.clone(), inner).prop_map(|(s, k, v)| format!("{s}\"{k}\"{s}:{s}{v}{s}"));
        prop_oneof![
            prop::collection::vec(item, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// What serde_json reads at a path: every value there that the picker is to keep.
fn reference(root: &Value, path: &str, keep: Keep) -> Found {
    let mut at = vec![([0u32; 2], 0, root)];
    for part in path.split('.') {
        let (name, each) = part.strip_suffix("[*]").map_or((part, false), |name| (name, true));
        at = at.into_iter().filter_map(|(p, n, value)| Some((p, n, value.as_object()?.get(name)?))).collect();
        if each {
            at = at
                .into_iter()
                .flat_map(|(place, n, value)| {
                    value.as_array().into_iter().flatten().zip(0u32..).map(move |(item, index)| {
                        let mut place = place;
                        place[n] = index;
                        (place, n + 1, item)
                    })
                })
                .collect();
        }
    }
    let kept = |value: &Value| match keep {
        Keep::Scalar => !(value.is_null() || value.is_object() || value.is_array()),
        Keep::Whole => !value.is_null(),
        Keep::Presence => value.as_str().is_some_and(|text| !text.is_empty()),
    };
    let value = |value: &Value| if keep == Keep::Presence { Value::from("present") } else { value.clone() };
    at.into_iter().filter(|(_, _, v)| kept(v)).map(|(p, _, v)| (path.to_owned(), p, value(v))).collect()
}

fn all_of_reference(root: &Value) -> Found {
    let all = ROWS.iter().map(|(path, want)| reference(root, path, want.1));
    let mut all: Found = all.flatten().collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn found(picker: &Picker<Want>) -> Found {
    let value = |raw: &[u8]| serde_json::from_slice(raw).unwrap_or(Value::from("not JSON"));
    let value = |pick: &Pick<'_, Want>| {
        if pick.meaning.1 == Keep::Presence { Value::from("present") } else { value(pick.raw) }
    };
    let all = picker.picked().map(|pick| (pick.meaning.0.to_owned(), pick.at, value(&pick)));
    let mut all: Found = all.collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn picks(pieces: &[&[u8]]) -> (Found, bool) {
    let mut picker = Picker::new(&PLAN);
    picker.push(b"{\"a\":\"of a text that broke off in a name\",\"b");
    picker.reset();
    for piece in pieces {
        picker.push(piece);
    }
    (found(&picker), picker.complete())
}

proptest! {
    #[test]
    fn picks_what_serde_json_reads_however_it_is_cut(text in text()) {
        let root: Value = serde_json::from_str(&text).unwrap();
        let expected = all_of_reference(&root);
        let is_container = root.is_object() || root.is_array();
        for at in 0..=text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            let (found, complete) = picks(&[head, tail]);
            prop_assert_eq!(&found, &expected, "cut at {}", at);
            prop_assert!(complete || !is_container);
            prop_assert!(!is_container || at == text.len() || !picks(&[head]).1 || text[at..].trim().is_empty());
        }
        let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(picks(&bytes).0, expected);
    }

    #[test]
    fn any_bytes_read_the_same_however_they_are_cut(text in text(), at: prop::sample::Index, byte: u8) {
        let mut text = text.into_bytes();
        let changed = at.index(text.len());
        text[changed] = byte;
        let expected = picks(&[&text]);
        for at in 0..=text.len() {
            let (head, tail) = text.split_at(at);
            prop_assert_eq!(&picks(&[head, tail]), &expected);
        }
    }

    /// Texts that begin alike are taken up in their middle; each must read as if it stood alone.
    #[test]
    fn texts_in_a_row_read_as_each_alone(
        texts in prop::collection::vec(text(), 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
        tails in prop::collection::vec("[a-d\\]}\",]{0,6}", 8),
        cut: prop::sample::Index,
    ) {
        let mut picker = Picker::new(&PLAN);
        for (nth, (index, tail)) in order.iter().zip(&tails).enumerate() {
            // The same beginning, and another end now and then.
            let text = index.get(&texts);
            let changed = format!("{}{tail}", &text[..text.floor_char_boundary(cut.index(text.len() + 1))]);
            let text = if nth % 3 == 2 { &changed } else { text };
            picker.push(text.as_bytes());
            let alone = picks(&[text.as_bytes()]);
            prop_assert_eq!((found(&picker), picker.complete()), alone, "text {} of {:?}", nth, text);
            picker.reset();
            prop_assert_eq!(picker.picked().count(), 0);
        }
    }
}

/// What was picked of a beginning must still be that, or the beginning cannot be taken up.
#[test]
fn a_beginning_whose_members_were_doubled_later_is_read_anew() {
    let mut picker = Picker::new(&PLAN);
    picker.push(br#"{"a":1,"d":"x","a":2}"#);
    picker.reset();
    let text = br#"{"a":1,"d":"x"}"#;
    picker.push(text);
    assert_eq!(found(&picker), picks(&[text]).0);
}

/// A client that repeats one name for ever made the reader remember all of them.
#[test]
fn doubled_members_cost_no_memory() {
    let mut picker = Picker::new(&PLAN);
    picker.push(b"{");
    for _ in 0..100_000 {
        picker.push(b"\"a\":\"once more, and not for the last time\",\"d\":\"x\",");
    }
    assert_eq!(found(&picker).len(), 2);
    assert!(picker.picks.bytes_held() < 200, "{}", picker.picks.bytes_held());
}
