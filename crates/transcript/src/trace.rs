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
    Call(Call),
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
            steps.extend(of_record.map(|call| Step { depth: depth + 1, node: Node::Call(call) }));
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
