//! Which values of a JSON text are wanted: paths such as `tools[*].function.name`, made into a tree once.
//!
//! A reader stands at one node of the tree or outside of it, so that following all paths at once costs one
//! comparison per name that is possible there, and a value that no path leads into is known at its first
//! byte.

use std::ops::Range;

/// A node's number. Nodes are numbered depth first, so that a subtree is a range.
pub(super) type Node = usize;

/// What is kept of a wanted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keep {
    /// A string, number or boolean.
    Scalar,
    /// A value of any kind, with all that is in it.
    Whole,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Member(&'static str),
    Item,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Path {
    steps: Vec<Step>,
    text: &'static str,
    keep: Keep,
}

#[derive(Default)]
struct Branch {
    text: &'static str,
    keep: Option<Keep>,
    members: Vec<(&'static str, Node)>,
    item: Option<Node>,
    within: Range<Node>,
}

/// The tree of wanted values.
pub(super) struct Plan {
    nodes: Vec<Branch>,
}

impl Plan {
    /// The node of the whole text.
    pub(super) const ROOT: Node = 0;

    /// Paths are member names joined by `.`, with `[*]` for every item of an array.
    pub(super) fn new(scalars: &[&'static str], wholes: &[&'static str]) -> Self {
        let path = |text: &'static str, keep| Path { steps: steps(text), text, keep };
        let scalars = scalars.iter().map(|text| path(text, Keep::Scalar));
        let mut paths: Vec<_> = scalars.chain(wholes.iter().map(|text| path(text, Keep::Whole))).collect();
        paths.sort();
        let mut nodes = Vec::new();
        grow(&mut nodes, &paths, 0);
        Self { nodes }
    }

    /// The path to each node, as it was written; empty where nothing is kept.
    pub(super) fn texts(&self) -> impl Iterator<Item = &'static str> {
        self.nodes.iter().map(|node| node.text)
    }

    pub(super) fn keep(&self, node: Node) -> Option<Keep> {
        self.nodes[node].keep
    }

    pub(super) fn member(&self, node: Node, name: &[u8]) -> Option<Node> {
        let member = self.nodes[node].members.iter().find(|(wanted, _)| wanted.as_bytes() == name);
        member.map(|(_, node)| *node)
    }

    pub(super) fn item(&self, node: Node) -> Option<Node> {
        self.nodes[node].item
    }

    /// The node and all below it.
    pub(super) fn within(&self, node: Node) -> Range<Node> {
        self.nodes[node].within.clone()
    }

    /// Whether anything is wanted below the node.
    pub(super) fn leads_on(&self, node: Node) -> bool {
        self.nodes[node].within.len() > 1
    }
}

/// Makes the node that sorted `paths` have in common after `depth` steps, and all below it.
fn grow(nodes: &mut Vec<Branch>, paths: &[Path], depth: usize) -> Node {
    let node = nodes.len();
    nodes.push(Branch::default());
    let (ending, beyond) = paths.split_at(paths.partition_point(|path| path.steps.len() == depth));
    if let Some(path) = ending.first() {
        (nodes[node].text, nodes[node].keep) = (path.text, Some(path.keep));
    }
    for same in beyond.chunk_by(|one, other| one.steps[depth] == other.steps[depth]) {
        let child = grow(nodes, same, depth + 1);
        match same[0].steps[depth] {
            Step::Member(name) => nodes[node].members.push((name, child)),
            Step::Item => nodes[node].item = Some(child),
        }
    }
    nodes[node].within = node..nodes.len();
    node
}

fn steps(text: &'static str) -> Vec<Step> {
    let step = |part: &'static str| match part.strip_suffix("[*]") {
        Some(name) => vec![Step::Member(name), Step::Item],
        None => vec![Step::Member(part)],
    };
    text.split('.').flat_map(step).collect()
}
