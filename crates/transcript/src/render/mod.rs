//! Transcripts for people: as text for a terminal, and as one HTML file.
//!
//! What was recorded is hostile until shown otherwise. Both forms go through [`clean`], so that no recorded byte
//! commands the terminal or turns the direction of what stands beside it, and HTML is escaped on top.

pub mod html;
pub mod text;

use crate::model::{Media, Message, Part, Transcript};
use crate::thread::Fresh;
use crate::turn::Turn;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Most bytes of an unreadable body that are laid out; the record has all of them.
const DUMP_MAX_BYTES: usize = 2048;
const DUMP_ROW_BYTES: usize = 16;
/// Most characters of a text within a tree.
const GIST_MAX_CHARS: usize = 160;

/// What stands together in a rendered turn.
struct Block {
    /// Who or what.
    label: String,
    /// Which kind, for its looks.
    kind: &'static str,
    text: String,
}

fn block(label: impl Into<String>, kind: &'static str, text: impl Into<String>) -> Block {
    Block { label: label.into(), kind, text: text.into() }
}

/// All blocks of a turn; of a session, only what is new in it.
fn blocks(turn: &Turn, fresh: Option<&Fresh>) -> Vec<Block> {
    let mut blocks: Vec<Block> =
        turn.warnings().into_iter().map(|warning| block("warning", "warning", warning)).collect();
    let Ok(transcript) = &turn.said else { return blocks };
    if fresh.is_none() && !transcript.tools.is_empty() {
        let names: Vec<&str> = transcript.tools.iter().map(|tool| tool.name.as_str()).collect();
        blocks.push(block("tools offered", "fact", names.join(", ")));
    }
    match fresh {
        None => transcript.request.iter().for_each(|message| of_message(message, &mut blocks)),
        Some(fresh) => {
            for message in fresh.messages.iter().filter_map(|at| transcript.request.get(*at)) {
                of_message(message, &mut blocks);
            }
        }
    }
    if let Some(id) = &transcript.previous_response_id {
        blocks.push(block("goes on from response", "fact", id.as_str()));
    }
    of_answers(transcript, &mut blocks);
    blocks
}

fn of_answers(transcript: &Transcript, blocks: &mut Vec<Block>) {
    for answer in &transcript.answers {
        let at = blocks.len();
        of_message(&answer.message, blocks);
        let several = transcript.answers.len() > 1;
        if at == blocks.len() {
            blocks.push(block(answer.message.role.clone(), "assistant", "(nothing)"));
        }
        if several {
            for block in &mut blocks[at..] {
                block.label = format!("answer {}, {}", answer.index + 1, block.label);
            }
        }
        // Why it ended is worth a line when it is not what one expects.
        let ordinary = ["stop", "end_turn", "completed", "STOP", "tool_calls", "tool_use", "stop_sequence"];
        if let Some(reason) =
            answer.finish_reason.as_ref().filter(|reason| !ordinary.contains(&reason.as_str()))
        {
            blocks.push(block("ended", "fact", reason.as_str()));
        }
    }
    if let Some(error) = &transcript.error {
        let label = error.kind.as_ref().map_or_else(|| "error".to_owned(), |kind| format!("error {kind}"));
        blocks.push(block(label, "warning", error.message.as_str()));
    }
    transcript.rest.iter().for_each(|part| of_part("answer", part, blocks));
}

fn of_message(message: &Message, blocks: &mut Vec<Block>) {
    let who = match &message.name {
        Some(name) => format!("{} {name}", message.role),
        None => message.role.clone(),
    };
    message.parts.iter().for_each(|part| of_part(&who, part, blocks));
}

fn of_part(who: &str, part: &Part, blocks: &mut Vec<Block>) {
    let kind = match who.split(' ').next() {
        Some("assistant") => "assistant",
        Some("system" | "developer") => "system",
        Some("tool") => "tool",
        _ => "user",
    };
    blocks.push(match part {
        Part::Text { text } => block(who, kind, text.as_str()),
        Part::Reasoning { text } => block(format!("{who}, reasoning"), "reasoning", text.as_str()),
        Part::Refusal { text } => block(format!("{who}, refusal"), "warning", text.as_str()),
        Part::ToolCall { id, name, arguments } => {
            let id = id.as_ref().map_or_else(String::new, |id| format!(" {id}"));
            // White space within JSON says nothing; what is no JSON stays as it is.
            let json: Option<Value> = serde_json::from_str(arguments).ok();
            let arguments = json.map_or_else(|| arguments.clone(), |json| json.to_string());
            block(format!("{who} calls {name}{id}"), "tool", arguments)
        }
        Part::ToolResult { id, name, parts, is_error } => {
            let mut label = if *is_error { "tool failed" } else { "tool result" }.to_owned();
            for word in [name, id].into_iter().flatten() {
                let _ = write!(label, " {word}");
            }
            if parts.is_empty() {
                blocks.push(block(label, "tool", ""));
                return;
            }
            let at = blocks.len();
            parts.iter().for_each(|part| of_part("tool", part, blocks));
            if let [only] = &mut blocks[at..] {
                only.kind = "tool";
            }
            for block in &mut blocks[at..] {
                block.label = match block.label.strip_prefix("tool") {
                    Some(rest) => format!("{label}{rest}"),
                    None => format!("{label}, {}", block.label),
                };
            }
            return;
        }
        Part::Media(media) => block(format!("{who}, {}", media.kind), "fact", of_media(media)),
        Part::Other { kind: of, json } if of == who => block(who, "fact", pretty(json)),
        Part::Other { kind: of, json } => block(format!("{who}, {of}"), "fact", pretty(json)),
        Part::Unread { why, media_type, bytes, text, base64 } => {
            let of = media_type.as_deref().unwrap_or("no media type");
            let label = format!("{who}, {bytes} bytes of {of} that could not be read: {why}");
            let said = match (text, base64) {
                (Some(text), _) => text.clone(),
                (None, Some(base64)) => dump(base64),
                (None, None) => String::new(),
            };
            block(label, "unread", said)
        }
    });
}

fn of_media(media: &Media) -> String {
    let mut facts: Vec<String> =
        [&media.media_type, &media.name, &media.url].into_iter().flatten().cloned().collect();
    facts.extend(media.bytes.map(|bytes| format!("{bytes} bytes")));
    facts.extend(media.sha256.as_ref().map(|hash| format!("sha256 {hash}")));
    facts.join(" · ")
}

fn pretty(json: &Value) -> String {
    serde_json::to_string_pretty(json).unwrap_or_else(|_| json.to_string())
}

/// Bytes in rows of hex digits.
fn dump(base64: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).unwrap_or_default();
    let mut out = String::new();
    for (n, row) in bytes[..bytes.len().min(DUMP_MAX_BYTES)].chunks(DUMP_ROW_BYTES).enumerate() {
        let _ = write!(out, "{:08x} ", n * DUMP_ROW_BYTES);
        for byte in row {
            let _ = write!(out, " {byte:02x}");
        }
        out.push('\n');
    }
    if bytes.len() > DUMP_MAX_BYTES {
        let _ = writeln!(out, "… and {} bytes more: see the raw body", bytes.len() - DUMP_MAX_BYTES);
    }
    out
}

/// The beginning of a text, in one line.
fn gist(text: &str) -> String {
    let mut words = String::new();
    let mut chars = 0;
    for c in text.split_whitespace().flat_map(|word| std::iter::once(' ').chain(word.chars())).skip(1) {
        chars += 1;
        if chars > GIST_MAX_CHARS {
            words.push('…');
            break;
        }
        words.push(c);
    }
    words
}

/// Text that commands nothing: control characters but line ends and tabs, and those that turn or hide text, are
/// written out as `\u{…}`.
pub fn clean(text: &str) -> Cow<'_, str> {
    let is_command = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
            || matches!(c, '\u{61c}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    // A line end of two characters is one.
    let text =
        if text.contains("\r\n") { Cow::Owned(text.replace("\r\n", "\n")) } else { Cow::Borrowed(text) };
    if !text.contains(is_command) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_command(c) {
            true => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// What a record in a tree is about: what was asked last, and what was said.
fn gists(turn: &Turn) -> (Option<String>, Option<String>) {
    let asked = turn
        .request()
        .iter()
        .rev()
        .flat_map(|message| message.parts.iter().rev())
        .find_map(|part| if let Part::Text { text } = part { Some(gist(text)) } else { None });
    let said = turn.answered().find_map(|part| match part {
        Part::Text { text } | Part::Refusal { text } => Some(gist(text)),
        _ => None,
    });
    (asked, said)
}

/// A tool's result in one line.
fn result_gist(part: &Part) -> String {
    let mut blocks = Vec::new();
    of_part("tool", part, &mut blocks);
    gist(&blocks.iter().map(|block| block.text.as_str()).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_commands_a_terminal() {
        assert_eq!(clean("a\tb\nc"), "a\tb\nc");
        assert_eq!(clean("a\r\nb"), "a\nb");
        assert_eq!(clean("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
        assert_eq!(clean("rm\u{202e}txt.exe"), "rm\\u{202e}txt.exe");
        assert_eq!(clean("over\rwritten"), "over\\u{d}written");
    }

    #[test]
    fn a_gist_is_one_short_line() {
        assert_eq!(gist(" a \n b\tc "), "a b c");
        assert_eq!(gist(&"x".repeat(500)).chars().count(), GIST_MAX_CHARS + 1);
    }
}
