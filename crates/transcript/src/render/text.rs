//! Transcripts as text.

use super::{blocks, clean, gists, result_gist};
use crate::thread::Fresh;
use crate::trace::{Node, Step};
use crate::turn::Turn;
use std::fmt::Write as _;

const INDENT: &str = "    ";

/// A record.
pub fn record(turn: &Turn) -> String {
    let mut out = heading(turn, "record");
    body(turn, None, &mut out);
    if turn.matches == Some(true) {
        out.push_str("both bodies are what the entry commits to\n");
    }
    out
}

/// Turn `number`, from 0, of a session: what is new in it.
pub fn turn(turn: &Turn, fresh: &Fresh, number: usize) -> String {
    let mut out = heading(turn, &format!("turn {}", number + 1));
    if let Some(from) = fresh.continues.filter(|from| from + 1 != number) {
        let _ = writeln!(out, "  goes on from turn {}", from + 1);
    }
    if fresh.repeated > 0 {
        let _ = writeln!(out, "  {} messages of before are not repeated", fresh.repeated);
    }
    body(turn, Some(fresh), &mut out);
    out
}

fn heading(turn: &Turn, what: &str) -> String {
    let mut out = format!("── {what} · {}\n", clean(&turn.facts()));
    let _ = write!(out, "  event {} ({})", clean(turn.event_id()), turn.level);
    for name in ["tenant_id", "request_id", "session_id", "trace_id", "finish_reason"] {
        if let Some(value) = turn.word(name) {
            let _ = write!(out, " · {} {}", name.trim_end_matches("_id"), clean(value));
        }
    }
    out.push('\n');
    out
}

fn body(turn: &Turn, fresh: Option<&Fresh>, out: &mut String) {
    for block in blocks(turn, fresh) {
        let _ = writeln!(out, "{}", clean(&block.label));
        for line in clean(&block.text).trim_end().lines() {
            let _ = writeln!(out, "{}", format!("{INDENT}{line}").trim_end());
        }
    }
    out.push('\n');
}

/// The tree of an agent run.
pub fn trace(turns: &[Turn], steps: &[Step]) -> String {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for step in steps {
        match &step.node {
            Node::Span(id) => lines.push((step.depth, format!("span {}", clean(id)))),
            Node::Record(at) => {
                let turn = &turns[*at];
                lines.push((step.depth, format!("{} · {}", clean(&turn.facts()), clean(turn.event_id()))));
                let (asked, said) = gists(turn);
                let warnings = turn.warnings().into_iter().map(|warning| ("! ", Some(warning)));
                for (label, text) in [("asked: ", asked), ("said: ", said)].into_iter().chain(warnings) {
                    if let Some(text) = text {
                        lines.push((step.depth + 1, format!("{label}{}", clean(&text))));
                    }
                }
            }
            Node::Call(call) => {
                let arguments = super::gist(&call.arguments);
                lines.push((step.depth, format!("calls {} {}", clean(&call.name), clean(&arguments))));
                let result = match &call.result {
                    Some((part, at)) => {
                        let brought = turns[*at].event_id();
                        format!("result: {} (in {})", clean(&result_gist(part)), clean(brought))
                    }
                    None => "no result was recorded".to_owned(),
                };
                lines.push((step.depth + 1, result));
            }
        }
    }
    drawn(&lines)
}

/// Lines with the branches of a tree before them. From the end: whether a branch goes on below is known then.
fn drawn(lines: &[(usize, String)]) -> String {
    let mut out = Vec::with_capacity(lines.len());
    let mut open: Vec<bool> = Vec::new();
    for (depth, text) in lines.iter().rev() {
        open.resize(open.len().max(depth + 1), false);
        open.truncate(depth + 1);
        let mut line = String::new();
        for goes_on in &open[..*depth] {
            line.push_str(if *goes_on { "│  " } else { "   " });
        }
        line.push_str(if open[*depth] { "├─ " } else { "└─ " });
        line.push_str(text);
        line.push('\n');
        out.push(line);
        open[*depth] = true;
    }
    out.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_drawn_to_the_last_leaf() {
        let lines = [(0, "a"), (1, "b"), (2, "c"), (1, "d"), (0, "e"), (1, "f")];
        let lines: Vec<(usize, String)> = lines.map(|(depth, text)| (depth, text.to_owned())).into();
        assert_eq!(drawn(&lines), "├─ a\n│  ├─ b\n│  │  └─ c\n│  └─ d\n└─ e\n   └─ f\n");
    }
}
