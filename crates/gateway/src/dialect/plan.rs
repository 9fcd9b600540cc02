//! Which values of a JSON text are wanted: paths such as `tools[*].function.name`, each with what it means,
//! made into a tree once.
//!
//! A reader stands at one node of the tree or outside of it, so that following all paths at once costs one
//! look-up per name, and a value that no path leads into is known at its first byte.

/// A node's number. Nodes are numbered depth first, so that a subtree is a range.
pub(super) type Node = u16;

/// Most names that may follow one another at one place: each is a bit of [`Plan::member`]'s answer.
const MEMBERS_MAX: usize = 64;
/// Names that are this long are all in their [`digest`].
const DIGEST_BYTES: usize = 8;

/// What is kept of a wanted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// A string, number or boolean.
    Scalar,
    /// A value of any kind, with all that is in it.
    Whole,
    /// That there is a string, and that it is not empty; not what it says.
    Presence,
}

/// What a value means to whoever reads it, which also says what is kept of it.
pub(super) trait Meaning: Copy + 'static {
    /// What is kept of a value that means this.
    fn keep(self) -> Keep;
}

/// Paths and what stands there: member names joined by `.`, with `[*]` for every item of an array.
pub(super) type Rows<M> = &'static [(&'static str, M)];

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Member(&'static str),
    Item,
}

struct Path<M> {
    steps: Vec<Step>,
    meaning: M,
}

struct Branch<M> {
    meaning: Option<M>,
    keep: Option<Keep>,
    parent: Node,
    /// Whether an array stands on the way here.
    listed: bool,
    /// Sorted by digest.
    members: Vec<Member>,
    item: Option<Node>,
    /// One behind the last node of the subtree.
    end: Node,
}

struct Member {
    digest: u64,
    name: &'static [u8],
    node: Node,
}

/// The tree of wanted values.
pub(super) struct Plan<M> {
    nodes: Vec<Branch<M>>,
}

impl<M: Meaning> Plan<M> {
    /// The node of the whole text.
    pub(super) const ROOT: Node = 0;

    /// Makes the tree. No path may stand in two rows.
    pub(super) fn new(tables: &[Rows<M>]) -> Self {
        let rows = tables.iter().flat_map(|rows| rows.iter());
        let mut paths: Vec<_> =
            rows.map(|(text, meaning)| Path { steps: steps(text), meaning: *meaning }).collect();
        paths.sort_by(|one, other| one.steps.cmp(&other.steps));
        let mut nodes = Vec::new();
        grow(&mut nodes, &paths, 0, Self::ROOT, false);
        Self { nodes }
    }

    pub(super) fn keep(&self, node: Node) -> Option<Keep> {
        self.nodes[usize::from(node)].keep
    }

    /// What a value at a node means, where something is kept.
    pub(super) fn meaning(&self, node: Node) -> Option<M> {
        self.nodes[usize::from(node)].meaning
    }

    /// Whether an array stands on the way to the node, so that it may have many values.
    pub(super) fn listed(&self, node: Node) -> bool {
        self.nodes[usize::from(node)].listed
    }

    /// The node that the node is a member or an item of.
    pub(super) fn parent(&self, node: Node) -> Node {
        self.nodes[usize::from(node)].parent
    }

    /// The node of a member, and the bit that stands for it among the members of its object.
    pub(super) fn member(&self, node: Node, name: &[u8]) -> Option<(Node, u64)> {
        let members = &self.nodes[usize::from(node)].members;
        let digest = digest(name);
        let first = members.partition_point(|member| member.digest < digest);
        let same = members[first..].iter().take_while(|member| member.digest == digest);
        let (at, member) = (first..).zip(same).find(|(_, member)| member.is(name))?;
        Some((member.node, 1 << at))
    }

    pub(super) fn item(&self, node: Node) -> Option<Node> {
        self.nodes[usize::from(node)].item
    }

    /// Whether `inner` is the node or one below it.
    pub(super) fn holds(&self, node: Node, inner: Node) -> bool {
        (node..self.nodes[usize::from(node)].end).contains(&inner)
    }

    /// Whether anything is wanted below the node.
    pub(super) fn leads_on(&self, node: Node) -> bool {
        self.nodes[usize::from(node)].end > node + 1
    }
}

impl Member {
    /// Whether it is called `name`, whose digest is the same.
    fn is(&self, name: &[u8]) -> bool {
        self.name.len() == name.len() && (name.len() <= DIGEST_BYTES || self.name == name)
    }
}

/// Makes the node that sorted `paths` have in common after `depth` steps, and all below it.
fn grow<M: Meaning>(
    nodes: &mut Vec<Branch<M>>,
    paths: &[Path<M>],
    depth: usize,
    parent: Node,
    listed: bool,
) -> Node {
    let node = nodes.len() as Node;
    let (ending, beyond) = paths.split_at(paths.partition_point(|path| path.steps.len() == depth));
    assert!(ending.len() <= 1, "no path stands in two rows");
    let meaning = ending.first().map(|path| path.meaning);
    let keep = meaning.map(M::keep);
    nodes.push(Branch { meaning, keep, parent, listed, members: Vec::new(), item: None, end: 0 });
    for same in beyond.chunk_by(|one, other| one.steps[depth] == other.steps[depth]) {
        let step = &same[0].steps[depth];
        let child = grow(nodes, same, depth + 1, node, listed || *step == Step::Item);
        let branch = &mut nodes[usize::from(node)];
        match step {
            Step::Member(name) => {
                let name = name.as_bytes();
                branch.members.push(Member { digest: digest(name), name, node: child });
            }
            Step::Item => branch.item = Some(child),
        }
    }
    let end = nodes.len() as Node;
    let branch = &mut nodes[usize::from(node)];
    assert!(branch.members.len() <= MEMBERS_MAX, "an object has a bit for each wanted member");
    branch.members.sort_by_key(|member| member.digest);
    branch.end = end;
    node
}

/// Up to eight bytes of a name, first and last: with the length, all of a name that is no longer.
fn digest(name: &[u8]) -> u64 {
    let pair = |head: u32, tail: u32| u64::from(head) | u64::from(tail) << u32::BITS;
    match name {
        [] => 0,
        [byte] => u64::from(*byte),
        [a, b] => pair(u32::from(*a), u32::from(*b)),
        [a, b, c] => pair(u32::from_le_bytes([*a, 0, *b, 0]), u32::from(*c)),
        _ => match (name.first_chunk(), name.last_chunk()) {
            (Some(head), Some(tail)) => pair(u32::from_le_bytes(*head), u32::from_le_bytes(*tail)),
            _ => 0,
        },
    }
}

fn steps(text: &'static str) -> Vec<Step> {
    let step = |part: &'static str| match part.strip_suffix("[*]") {
        Some(name) => vec![Step::Member(name), Step::Item],
        None => vec![Step::Member(part)],
    };
    text.split('.').flat_map(step).collect()
}
