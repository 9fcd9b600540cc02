//! Transcripts as one HTML file: no script, nothing loaded from anywhere, readable in dark and light.
//!
//! The policy in the file forbids whatever escaping could have missed: no script, no image, no form, no frame, no
//! request, and no style but the one whose hash it names.

use super::{Block, blocks, clean, gists};
use crate::thread::Fresh;
use crate::trace::{Node, Step};
use crate::turn::Turn;
use base64::Engine as _;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");
/// Longer texts are folded.
const OPEN_MAX_BYTES: usize = 4096;

/// What may be in such a page, as `Content-Security-Policy`.
pub fn policy() -> String {
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

/// The page up to its first turn.
pub fn head(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n",
        policy()
    )
}

/// The end of the page.
pub fn foot() -> &'static str {
    "</body>\n</html>\n"
}

/// A line of its own.
pub fn note(text: &str) -> String {
    format!("<p class=\"note\">{}</p>\n", escape(text))
}

/// A record.
pub fn record(turn: &Turn) -> String {
    section(turn, None, "record", "")
}

/// Turn `number`, from 0, of a session: what is new in it.
pub fn turn(turn: &Turn, fresh: &Fresh, number: usize) -> String {
    let mut note = String::new();
    if let Some(from) = fresh.continues.filter(|from| from + 1 != number) {
        let _ = write!(note, "goes on from turn {}. ", from + 1);
    }
    if fresh.repeated > 0 {
        let _ = write!(note, "{} messages of before are not repeated.", fresh.repeated);
    }
    section(turn, Some(fresh), &format!("turn {}", number + 1), &note)
}

fn section(turn: &Turn, fresh: Option<&Fresh>, what: &str, note: &str) -> String {
    let mut out = format!("<section>\n<h2>{what}</h2>\n{}", facts(turn));
    if !note.is_empty() {
        let _ = writeln!(out, "<p class=\"note\">{note}</p>");
    }
    blocks(turn, fresh).iter().for_each(|block| out.push_str(&of_block(block)));
    out.push_str("</section>\n");
    out
}

fn facts(turn: &Turn) -> String {
    let mut more = format!("event {} ({})", turn.event_id(), turn.level);
    for name in ["tenant_id", "request_id", "session_id", "trace_id", "finish_reason"] {
        if let Some(value) = turn.word(name) {
            let _ = write!(more, " · {} {value}", name.trim_end_matches("_id"));
        }
    }
    if turn.matches == Some(true) {
        more.push_str(" · both bodies are what the entry commits to");
    }
    format!("<p class=\"facts\">{}</p>\n<p class=\"facts\">{}</p>\n", escape(&turn.facts()), escape(&more))
}

fn of_block(block: &Block) -> String {
    let open = if block.text.len() <= OPEN_MAX_BYTES && block.kind != "system" { " open" } else { "" };
    format!(
        "<details class=\"{}\"{open}><summary>{}</summary><pre dir=\"auto\">{}</pre></details>\n",
        block.kind,
        escape(&block.label),
        escape(&block.text)
    )
}

/// The tree of an agent run.
pub fn trace(turns: &[Turn], steps: &[Step]) -> String {
    let mut out = String::from("<ul>\n");
    let mut last: Option<usize> = None;
    for step in steps {
        let depth = step.depth.min(NESTED_MAX);
        match last {
            // A list within the item before it.
            Some(last) if depth > last => out.push_str(&"<ul>\n".repeat(depth - last)),
            Some(last) => {
                out.push_str("</li>\n");
                out.push_str(&"</ul></li>\n".repeat(last - depth));
            }
            None => {}
        }
        let _ = write!(out, "<li>{}", of_step(turns, step));
        last = Some(depth);
    }
    if let Some(last) = last {
        out.push_str("</li>\n");
        out.push_str(&"</ul></li>\n".repeat(last));
    }
    out.push_str("</ul>\n");
    out
}

/// Deeper steps stand at this depth: browsers nest only so far.
const NESTED_MAX: usize = 100;

fn of_step(turns: &[Turn], step: &Step) -> String {
    match &step.node {
        Node::Span(id) => format!("<p class=\"facts\">span {}</p>", escape(id)),
        Node::Record(at) => {
            let turn = &turns[*at];
            let (asked, said) = gists(turn);
            let mut out = facts(turn);
            for (label, text) in [("asked", asked), ("said", said)] {
                if let Some(text) = text {
                    let _ = writeln!(out, "<p>{label}: {}</p>", escape(&text));
                }
            }
            for warning in turn.warnings() {
                let _ = writeln!(out, "<p class=\"warning\">{}</p>", escape(&warning));
            }
            out.push_str("<details><summary>all of it</summary>\n");
            blocks(turn, None).iter().for_each(|block| out.push_str(&of_block(block)));
            out.push_str("</details>");
            out
        }
        Node::Call(call) => {
            let mut out =
                of_block(&super::block(format!("calls {}", call.name), "tool", call.arguments.as_str()));
            let result = match &call.result {
                Some((part, at)) => {
                    let mut parts = Vec::new();
                    super::of_part("tool", part, &mut parts);
                    for mut block in parts {
                        let _ = write!(block.label, " (in {})", turns[*at].event_id());
                        out.push_str(&of_block(&block));
                    }
                    return out;
                }
                None => "no result was recorded",
            };
            out.push_str(&note(result));
            out
        }
    }
}

/// Text that is nothing but text in HTML, within an element and within a quoted attribute.
fn escape(text: &str) -> String {
    let text = clean(text);
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
