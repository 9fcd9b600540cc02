//! The picker against serde_json: whatever the text, wherever it is cut, both read the same at the wanted
//! paths.

use super::*;
use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;

static PLAN: LazyLock<Plan> =
    LazyLock::new(|| Plan::new(&["a", "b.a", "a[*].b", "b[*].a[*].c", "c.b.a"], &["b", "c[*].a"]));

type Picks = Vec<(String, [u32; 2], Value)>;

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
fn reference(root: &Value, path: &str, whole: bool) -> Picks {
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
    let keep = |value: &Value| !value.is_null() && (whole || !(value.is_object() || value.is_array()));
    at.into_iter().filter(|(_, _, v)| keep(v)).map(|(p, _, v)| (path.to_owned(), p, v.clone())).collect()
}

fn picks(pieces: &[&[u8]]) -> (Picks, bool) {
    let mut picker = Picker::new(&PLAN);
    picker.push(b"{\"a\":\"of a text that broke off in a name\",\"b");
    picker.reset();
    pieces.iter().for_each(|piece| picker.push(piece));
    let value = |raw: &[u8]| serde_json::from_slice(raw).unwrap_or(Value::from("not JSON"));
    let mut picks: Picks =
        picker.picked().map(|(path, pick)| (path.to_owned(), pick.at, value(&pick.raw))).collect();
    picks.sort_by(|one, other| one.0.cmp(&other.0));
    (picks, picker.complete())
}

proptest! {
    #[test]
    fn picks_what_serde_json_reads_however_it_is_cut(text in text()) {
        let root: Value = serde_json::from_str(&text).unwrap();
        let scalars = ["a", "b.a", "a[*].b", "b[*].a[*].c", "c.b.a"].map(|path| reference(&root, path, false));
        let wholes = ["b", "c[*].a"].map(|path| reference(&root, path, true));
        let mut expected: Picks = scalars.into_iter().chain(wholes).flatten().collect();
        expected.sort_by(|one, other| one.0.cmp(&other.0));
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
}
