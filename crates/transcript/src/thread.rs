//! What is new in each turn of a session.
//!
//! APIs of chat have no memory: each request repeats the conversation. A turn goes on from an earlier one when its
//! messages begin with those of the earlier request and what was answered to it; what follows is new. Sessions
//! branch (an agent asks aside, a user edits what they said), so any earlier turn may be the one.
//!
//! ```text
//! turn 1   S a            ─▶ A          shown: S a ─▶ A
//! turn 2   S a A b        ─▶ B          shown:     b ─▶ B
//! turn 3   S   A b B c    ─▶ C          shown:     c ─▶ C      the client has cut the beginning off
//! turn 4   S a A x        ─▶ X          shown:     x ─▶ X      goes on from turn 1
//! ```
//!
//! **Invariant:** a message is left out only if the same message stands in an earlier turn. Same is: by SHA-256 of role
//! and content, thoughts apart, which clients do not send back.

use crate::model::{Dialect, Message, Part, Transcript};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Which messages of a turn are new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fresh {
    /// Their places in the request.
    pub messages: Vec<usize>,
    /// How many others there are.
    pub repeated: usize,
    /// The turn, from 0, that this one goes on from, if there is one.
    pub continues: Option<usize>,
}

type Print = [u8; 32];

/// Longest conversation in which a cut beginning is looked for.
const WINDOW_MAX_MESSAGES: usize = 2000;

/// A session, turn by turn.
#[derive(Debug, Default)]
pub struct Thread {
    turns: usize,
    /// For the hash of each beginning of a conversation, the first turn that had it.
    beginnings: HashMap<Print, usize>,
    /// The newest conversation, system messages apart.
    newest: Vec<Print>,
    system: Vec<Print>,
}

impl Thread {
    /// Adds the next turn.
    pub fn push(&mut self, transcript: &Transcript) -> Fresh {
        let turn = self.turns;
        self.turns += 1;
        let all = 0..transcript.request.len();
        if transcript.dialect == Dialect::WebSocket {
            return Fresh { messages: all.collect(), ..Fresh::default() };
        }
        let scene = transcript.request.iter().take_while(|message| message.is_system()).count();
        let prints: Vec<Print> = transcript.request.iter().map(print).collect();
        let (system, said) = prints.split_at(scene);
        let chain = chain(said);
        let known =
            chain.iter().rposition(|print| self.beginnings.contains_key(print)).map_or(0, |at| at + 1);
        let (known, continues) = match known.checked_sub(1) {
            Some(at) => (known, self.beginnings.get(&chain[at]).copied()),
            None => match self.overlap(said) {
                0 => (0, None),
                overlap => (overlap, turn.checked_sub(1)),
            },
        };
        // A scene that is set anew is shown, whatever follows it.
        let scene_known = turn > 0 && self.system == system;
        let is_new = |at: &usize| if *at < scene { !scene_known } else { *at >= scene + known };
        let messages: Vec<usize> = all.clone().filter(is_new).collect();
        self.remember(turn, system, said, &chain, transcript);
        Fresh { repeated: all.len() - messages.len(), messages, continues }
    }

    /// How many messages stand at the end of the newest conversation and at the beginning of this one.
    fn overlap(&self, said: &[Print]) -> usize {
        let window = self.newest.len().min(WINDOW_MAX_MESSAGES);
        let newest = &self.newest[self.newest.len() - window..];
        (1..=newest.len().min(said.len()))
            .rev()
            .find(|len| newest[newest.len() - len..] == said[..*len])
            .unwrap_or(0)
    }

    fn remember(
        &mut self,
        turn: usize,
        system: &[Print],
        said: &[Print],
        chain: &[Print],
        transcript: &Transcript,
    ) {
        for print in chain {
            self.beginnings.entry(*print).or_insert(turn);
        }
        let end = chain.last().copied().unwrap_or_default();
        for answer in &transcript.answers {
            self.beginnings.entry(link(&end, &print(&answer.message))).or_insert(turn);
        }
        self.newest = said.to_vec();
        self.newest.extend(transcript.answers.first().map(|answer| print(&answer.message)));
        self.system = system.to_vec();
    }
}

/// The hash of each beginning.
fn chain(prints: &[Print]) -> Vec<Print> {
    let next = |before: &mut Print, print: &Print| {
        *before = link(before, print);
        Some(*before)
    };
    prints.iter().scan(Print::default(), next).collect()
}

fn link(before: &Print, print: &Print) -> Print {
    Sha256::new().chain_update(before).chain_update(print).finalize().into()
}

/// What makes two messages the same.
fn print(message: &Message) -> Print {
    let mut hash = Sha256::new();
    put(&mut hash, "role", &message.role);
    put_parts(&mut hash, &message.parts);
    hash.finalize().into()
}

fn put_parts(hash: &mut Sha256, parts: &[Part]) {
    let mut said = String::new();
    for part in parts {
        match part {
            // A text in several parts comes back in one.
            Part::Text { text } => said.push_str(text.trim()),
            Part::Reasoning { .. } => {}
            Part::Refusal { text } => put(hash, "refusal", text),
            Part::ToolCall { name, arguments, .. } => {
                put(hash, "call", name);
                let value: Option<Value> = serde_json::from_str(arguments).ok();
                put(hash, "arguments", &value.map_or_else(|| arguments.clone(), |value| value.to_string()));
            }
            Part::ToolResult { id, parts, .. } => {
                put(hash, "result", id.as_deref().unwrap_or_default());
                put_parts(hash, parts);
            }
            Part::Media(media) => {
                let of = media.sha256.as_ref().or(media.url.as_ref()).or(media.name.as_ref());
                put(hash, "media", of.map_or("", String::as_str));
            }
            Part::Other { kind, .. } if kind == "annotations" || kind == "citations" => {}
            Part::Other { kind, json } => {
                put(hash, "other", kind);
                put(hash, "json", &json.to_string());
            }
            Part::Unread { text, base64, .. } => {
                put(hash, "unread", text.as_ref().or(base64.as_ref()).map_or("", String::as_str));
            }
        }
    }
    put(hash, "text", &said);
}

/// Lengths keep what follows each other apart.
fn put(hash: &mut Sha256, label: &str, text: &str) {
    hash.update((label.len() as u64).to_le_bytes());
    hash.update(label);
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Answer;

    /// `S` is a system message, a small letter the user, a capital the assistant.
    fn turn(request: &str, answer: char) -> Transcript {
        let message = |said: char| {
            let role = match said {
                'S' | 'T' => "system",
                'a'..='z' => "user",
                _ => "assistant",
            };
            Message::new(role, vec![Part::text(said)])
        };
        let mut message_of_answer = message(answer);
        message_of_answer.parts.insert(0, Part::Reasoning { text: "not sent back".to_owned() });
        let answer = Answer { message: message_of_answer, ..Answer::default() };
        Transcript {
            request: request.chars().map(message).collect(),
            answers: vec![answer],
            ..Transcript::default()
        }
    }

    fn shown(turns: &[(&str, char)]) -> Vec<(String, Option<usize>)> {
        let mut thread = Thread::default();
        turns
            .iter()
            .map(|(request, answer)| {
                let fresh = thread.push(&turn(request, *answer));
                assert_eq!(fresh.messages.len() + fresh.repeated, request.len());
                let said: Vec<char> = request.chars().collect();
                (fresh.messages.iter().map(|at| said[*at]).collect(), fresh.continues)
            })
            .collect()
    }

    fn expected(turns: &[(&str, Option<usize>)]) -> Vec<(String, Option<usize>)> {
        turns.iter().map(|(said, continues)| ((*said).to_owned(), *continues)).collect()
    }

    #[test]
    fn a_turn_shows_what_was_not_there_before() {
        let turns = [("Sa", 'A'), ("SaAb", 'B'), ("SaAbBc", 'C'), ("SaAx", 'X'), ("TaAbBcCd", 'D')];
        let fresh = [("Sa", None), ("b", Some(0)), ("c", Some(1)), ("x", Some(0)), ("Td", Some(2))];
        assert_eq!(shown(&turns), expected(&fresh));
    }

    #[test]
    fn a_beginning_that_the_client_cut_off_is_not_shown_again() {
        let turns = [("Sa", 'A'), ("SaAb", 'B'), ("SAbBc", 'C'), ("SBcCd", 'D')];
        assert_eq!(shown(&turns), expected(&[("Sa", None), ("b", Some(0)), ("c", Some(1)), ("d", Some(2))]));
    }

    #[test]
    fn the_same_question_again_in_another_place_is_shown() {
        assert_eq!(shown(&[("a", 'A'), ("b", 'B')]), expected(&[("a", None), ("b", None)]));
        // Asked again from the start: nothing of it is new, and the answer is shown all the same.
        assert_eq!(shown(&[("a", 'A'), ("a", 'B')]), expected(&[("a", None), ("", Some(0))]));
        // Edited: what was answered before was another.
        assert_eq!(shown(&[("a", 'A'), ("aBc", 'C')]), expected(&[("a", None), ("Bc", Some(0))]));
    }
}
