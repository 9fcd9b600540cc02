//! The tree of an agent run: calls, what they called, and where the results came back.
//!
//! What caused what is taken from what was recorded, never guessed from times:
//!
//! 1. `parent_event_id`: the record stands below the one that it names;
//! 2. `span_id`, the parent span of W3C trace context: records of one span stand together;
//! 3. a tool call's id: the result stands below the call, with the record that brought it.

use crate::model::Part;
use crate::turn::Turn;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// One line of the tree, with all that stands below it behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// How deep, from 0.
    pub depth: usize,
    /// What.
    pub node: Node,
}

/// What a line of the tree is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A span whose records follow.
    Span(String),
    /// A record, by its place among the turns.
    Record(usize),
    /// A tool call of a record.
    Call(Box<Call>),
}

/// A tool call and its result.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The call's id.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// Its arguments.
    pub arguments: String,
    /// What came back, and which record brought it.
    pub result: Option<(Part, usize)>,
}

/// The tree of some records, oldest first.
pub fn tree(turns: &[Turn]) -> Vec<Step> {
    let calls = calls(turns);
    let parents = parents(turns);
    let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (at, parent) in parents.iter().enumerate() {
        children.entry(*parent).or_default().push(at);
    }
    let mut steps = Vec::new();
    let roots = children.get(&None).cloned().unwrap_or_default();
    let mut spans: Vec<(Option<&str>, Vec<usize>)> = Vec::new();
    for root in roots {
        let span = turns[root].word("span_id");
        match spans.iter_mut().find(|(known, _)| *known == span) {
            Some((_, records)) => records.push(root),
            None => spans.push((span, vec![root])),
        }
    }
    let grouped = spans.len() > 1;
    for (span, records) in spans {
        let depth = usize::from(grouped && span.is_some());
        if let (Some(span), true) = (span, grouped) {
            steps.push(Step { depth: 0, node: Node::Span(span.to_owned()) });
        }
        // A stack, not recursion: how deep runs nest is up to whoever records them.
        let mut todo: Vec<(usize, usize)> = records.into_iter().rev().map(|at| (at, depth)).collect();
        while let Some((at, depth)) = todo.pop() {
            steps.push(Step { depth, node: Node::Record(at) });
            let of_record = calls[at].iter().cloned();
            steps.extend(of_record.map(|call| Step { depth: depth + 1, node: Node::Call(Box::new(call)) }));
            let below = children.get(&Some(at)).into_iter().flatten().rev();
            todo.extend(below.map(|child| (*child, depth + 1)));
        }
    }
    steps
}

/// The record above each. A circle, which only a liar records, is cut.
fn parents(turns: &[Turn]) -> Vec<Option<usize>> {
    let places: HashMap<&str, usize> =
        turns.iter().enumerate().map(|(at, turn)| (turn.event_id(), at)).collect();
    let stated = |at: usize| {
        let parent = places.get(turns[at].word("parent_event_id")?).copied()?;
        (parent != at).then_some(parent)
    };
    let mut parents: Vec<Option<usize>> = (0..turns.len()).map(stated).collect();
    // 0: not looked at; else the walk in which it was.
    let mut walks = vec![0; turns.len()];
    for start in 0..turns.len() {
        let mut at = start;
        while walks[at] == 0 {
            walks[at] = start + 1;
            match parents[at] {
                Some(parent) if walks[parent] == start + 1 => parents[at] = None,
                Some(parent) => at = parent,
                None => break,
            }
        }
    }
    parents
}

/// The tool calls of each record, with their results.
fn calls(turns: &[Turn]) -> Vec<Vec<Call>> {
    let mut calls: Vec<Vec<Call>> = Vec::new();
    let mut open: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
    for (at, turn) in turns.iter().enumerate() {
        let results = turn.request().iter().flat_map(|message| &message.parts);
        for part in results {
            let Part::ToolResult { id, name, .. } = part else { continue };
            let key =
                id.as_ref().map(|id| format!("i{id}")).or_else(|| name.as_ref().map(|n| format!("n{n}")));
            let Some(waiting) = key.and_then(|key| open.get_mut(&key)) else { continue };
            // Histories repeat results; the first that brings one counts.
            if let Some((record, n)) = (!waiting.is_empty()).then(|| waiting.remove(0)) {
                calls[record][n].result = Some((part.clone(), at));
            }
        }
        let mut here = Vec::new();
        for part in turn.answered() {
            if let Part::ToolCall { id, name, arguments } = part {
                let key = id.as_ref().map_or_else(|| format!("n{name}"), |id| format!("i{id}"));
                open.entry(key).or_default().push((at, here.len()));
                here.push(Call {
                    id: id.clone(),
                    name: name.clone(),
                    arguments: arguments.clone(),
                    result: None,
                });
            }
        }
        calls.push(here);
    }
    calls
}

/// The tree for programs: its lines in order, each with its depth.
pub fn to_json(turns: &[Turn], steps: &[Step]) -> Vec<Value> {
    steps
        .iter()
        .map(|step| match &step.node {
            Node::Span(id) => json!({ "depth": step.depth, "span_id": id }),
            Node::Record(at) => json!({ "depth": step.depth, "record": turns[*at].to_json(None) }),
            Node::Call(call) => {
                let mut line = json!({
                    "depth": step.depth,
                    "tool_call": { "id": call.id, "name": call.name, "arguments": call.arguments },
                });
                if let Some((part, at)) = &call.result {
                    line["result"] = json!(part);
                    line["result_in"] = turns[*at].event_id().into();
                }
                line
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Transcript;
    use crate::model::{Answer, Message};

    type Named<'a> = (Option<&'a str>, &'a str);

    /// A record below another, that brings results and makes calls.
    fn turn(id: &str, parent: Option<&str>, brings: &[Named<'_>], calls: &[Named<'_>]) -> Turn {
        let result = |(id, name): &Named<'_>| Part::ToolResult {
            id: id.map(str::to_owned),
            name: id.is_none().then(|| (*name).to_owned()),
            parts: vec![Part::text("result")],
            is_error: false,
        };
        let call = |(id, name): &Named<'_>| Part::ToolCall {
            id: id.map(str::to_owned),
            name: (*name).to_owned(),
            arguments: "{}".to_owned(),
        };
        let message = Message::new("assistant", calls.iter().map(call).collect());
        let mut entry = json!({ "event_id": id });
        if let Some(parent) = parent {
            entry["parent_event_id"] = parent.into();
        }
        Turn {
            entry,
            level: String::new(),
            leaf_hash: String::new(),
            user: None,
            matches: None,
            error: None,
            said: Ok(Transcript {
                request: vec![Message::new("tool", brings.iter().map(result).collect())],
                answers: vec![Answer { message, ..Answer::default() }],
                ..Transcript::default()
            }),
        }
    }

    fn drawn(turns: &[Turn]) -> Vec<String> {
        let line = |step: &Step| {
            let what = match &step.node {
                Node::Span(id) => id.clone(),
                Node::Record(at) => turns[*at].event_id().to_owned(),
                Node::Call(call) => match &call.result {
                    Some((_, at)) => format!("{} in {}", call.name, turns[*at].event_id()),
                    None => format!("{} open", call.name),
                },
            };
            format!("{}{what}", "-".repeat(step.depth))
        };
        tree(turns).iter().map(line).collect()
    }

    #[test]
    fn records_stand_below_their_parents_and_results_below_their_calls() {
        let turns = [
            turn("a", None, &[], &[(Some("c1"), "plan"), (Some("c2"), "look")]),
            turn("b", Some("a"), &[], &[]),
            turn("c", None, &[(Some("c1"), "")], &[]),
            // The history brings c1 again, and the result of a call that nobody made.
            turn("d", None, &[(Some("c1"), ""), (Some("c9"), "")], &[]),
        ];
        assert_eq!(drawn(&turns), ["a", "-plan in c", "-look open", "-b", "c", "d"]);
    }

    #[test]
    fn calls_without_ids_are_answered_in_order() {
        let turns = [
            turn("a", None, &[], &[(None, "w"), (None, "w")]),
            turn("b", None, &[(None, "w")], &[]),
            turn("c", None, &[(None, "w")], &[]),
        ];
        assert_eq!(drawn(&turns), ["a", "-w in b", "-w in c", "b", "c"]);
    }

    #[test]
    fn a_parent_that_was_recorded_later_and_a_circle_are_no_trouble() {
        let later = [turn("a", Some("b"), &[], &[]), turn("b", None, &[], &[])];
        assert_eq!(drawn(&later), ["b", "-a"]);
        let circle =
            [turn("a", Some("b"), &[], &[]), turn("b", Some("a"), &[], &[]), turn("c", Some("c"), &[], &[])];
        let mut names: Vec<String> = drawn(&circle).iter().map(|line| line.replace('-', "")).collect();
        names.sort();
        assert_eq!(names, ["a", "b", "c"], "each once");
    }
}
