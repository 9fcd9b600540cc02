//! Picks named values out of JSON (RFC 8259) that arrives in pieces, without holding the JSON.
//!
//! The [`Picker`] follows the text only as deep as some path of its [`Plan`] may still lead; anything else is
//! skipped by counting brackets outside strings, so that memory and stack do not grow with nesting: a deep
//! tool schema in front of `model` does not hide the model. It runs over every frame of every stream, so what
//! lies whole in a piece is looked at where it lies, and a text that holds nothing wanted allocates nothing.
//!
//! Where readers of JSON differ, this one follows those of model servers (Python's `json`): of doubled
//! members the last counts, a byte order mark is skipped, member names are compared after their escapes are
//! undone. Skipped values are delimited, not validated; text that cannot be JSON ends the reading, and what
//! was picked stays.

use super::BYTE_ORDER_MARK;
use super::kept::{At, Clip, Pick, Picks, unescaped};
use super::plan::{Keep, Meaning, Node, Plan};
use super::repeat::{Place, Repeat};
use super::scan::{until_bracket, until_string_end};

/// Longest scalar that is kept, quotes and escapes included…
const SCALAR_MAX_BYTES: usize = 1024;
/// …and longest that is kept where there may be many.
const LISTED_MAX_BYTES: usize = 256;
/// Longest value that is kept whole.
const WHOLE_MAX_BYTES: usize = 8 * 1024;
/// Longest member name that can match, quotes and escapes included.
const NAME_MAX_BYTES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the text; so much of a byte order mark was seen.
    Start(usize),
    Value,
    FirstItem,
    FirstName,
    Name,
    Colon,
    AfterValue,
    /// In a string: a member's name, a value, or anything in a skipped container.
    String,
    Escape,
    /// In a number or a literal.
    Bare,
    /// In a container that no path leads into, outside strings.
    Skip,
    Done,
    Broken,
}

/// A container that some path leads into.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    object: bool,
    node: Node,
    /// The members that were seen, of an object.
    seen: u64,
    /// How many values had been picked when it began.
    picks: usize,
}

/// Reads one JSON text at a time. See the module.
pub(super) struct Picker<M: 'static> {
    plan: &'static Plan<M>,
    state: State,
    frames: Vec<Frame>,
    /// The positions at hand in the open arrays, and how many arrays are open.
    at: At,
    arrays: usize,
    /// Where in the plan the value at hand stands, if it is in it.
    node: Option<Node>,
    /// Open containers within the one being skipped, itself included.
    skipping: u64,
    in_name: bool,
    name: Clip,
    scalar: Clip,
    whole: Clip,
    /// What is being kept whole, and how deep it stands.
    whole_node: Node,
    whole_depth: usize,
    picks: Picks,
    repeat: Repeat,
    /// The piece at hand begins where the text does.
    from_start: bool,
}

impl<M: Meaning> Picker<M> {
    pub(super) fn new(plan: &'static Plan<M>) -> Self {
        Self {
            plan,
            state: State::Start(0),
            frames: Vec::new(),
            at: At::default(),
            arrays: 0,
            node: Some(Plan::<M>::ROOT),
            skipping: 0,
            in_name: false,
            name: Clip::default(),
            scalar: Clip::default(),
            whole: Clip::default(),
            whole_node: Plan::<M>::ROOT,
            whole_depth: 0,
            picks: Picks::default(),
            repeat: Repeat::default(),
            from_start: false,
        }
    }

    /// Reads on, up to the end of the text; says how many bytes that were. What follows a text's end is not
    /// taken, nor what follows a place where it cannot be JSON.
    pub(super) fn push(&mut self, piece: &[u8]) -> usize {
        let mut at = if self.state == State::Start(0) && !piece.is_empty() { self.begin(piece) } else { 0 };
        while at < piece.len() {
            at = match self.state {
                State::Done | State::Broken => return at,
                State::String => self.string(piece, at),
                State::Escape => self.escape(piece[at], at),
                State::Bare => self.bare(piece, at),
                State::Skip => self.skip(piece, at),
                State::Start(seen) => self.start(seen, piece[at], at),
                _ => self.punctuation(piece, at),
            };
        }
        self.from_start = false;
        for clip in [&mut self.name, &mut self.scalar, &mut self.whole] {
            clip.carry(piece);
        }
        at
    }

    /// What was picked so far.
    pub(super) fn picked(&self) -> impl Iterator<Item = Pick<'_, M>> + Clone {
        // Before a text begins, what is left of the last one is only there to be taken up.
        let count = if self.state == State::Start(0) { 0 } else { self.picks.len() };
        self.picks.iter().take(count).filter_map(|(node, at, raw)| {
            let (meaning, parent) = (self.plan.meaning(node)?, self.plan.parent(node));
            Some(Pick { meaning, parent, at, raw })
        })
    }

    /// Forgets everything: the next piece begins another text.
    pub(super) fn reset(&mut self) {
        self.state = State::Start(0);
        self.frames.clear();
        (self.at, self.arrays) = (At::default(), 0);
        self.node = Some(Plan::<M>::ROOT);
        self.skipping = 0;
        self.in_name = false;
        self.drop_clips();
        self.picks.truncate(self.repeat.picks());
    }

    /// Whether the text ended, and was JSON as far as it was read.
    pub(super) fn complete(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the text turned out to be none.
    pub(super) fn broken(&self) -> bool {
        self.state == State::Broken
    }

    /// A text begins; says how much of it is known already.
    fn begin(&mut self, piece: &[u8]) -> usize {
        let Some((known, place)) = self.repeat.resume(piece, &mut self.frames) else {
            self.picks.truncate(0);
            self.from_start = true;
            return 0;
        };
        Place { node: self.node, at: self.at, arrays: self.arrays } = place;
        self.state = State::Value;
        known
    }

    fn start(&mut self, seen: usize, byte: u8, at: usize) -> usize {
        if byte == BYTE_ORDER_MARK[seen] {
            self.state = BYTE_ORDER_MARK.get(seen + 1).map_or(State::Value, |_| State::Start(seen + 1));
            return at + 1;
        }
        if seen > 0 {
            return self.give_up(at);
        }
        self.state = State::Value;
        at
    }

    fn punctuation(&mut self, piece: &[u8], at: usize) -> usize {
        let in_object = self.frames.last().map(|frame| frame.object);
        match (self.state, piece[at], in_object) {
            (_, b' ' | b'\t' | b'\n' | b'\r', _) => at + 1,
            (State::FirstName | State::Name, b'"', _) => self.begin_name(piece, at),
            (State::Colon, b':', _) => {
                self.state = State::Value;
                at + 1
            }
            (State::AfterValue, b',', Some(true)) => {
                self.state = State::Name;
                at + 1
            }
            (State::AfterValue, b',', Some(false)) => self.next_item(at),
            (State::FirstName | State::AfterValue, b'}', Some(true)) => {
                self.frames.pop();
                self.end_value(piece, at + 1)
            }
            (State::FirstItem | State::AfterValue, b']', Some(false)) => {
                self.frames.pop();
                self.arrays -= 1;
                self.at.iter_mut().skip(self.arrays).for_each(|index| *index = 0);
                self.end_value(piece, at + 1)
            }
            (State::Value | State::FirstItem, ..) => self.begin_value(piece, at),
            _ => self.give_up(at),
        }
    }

    fn begin_name(&mut self, piece: &[u8], at: usize) -> usize {
        let inside = &piece[at + 1..];
        let len = until_string_end(inside);
        if inside.get(len) == Some(&b'"') {
            return self.end_name(&inside[..len], piece, at + len + 2);
        }
        self.in_name = true;
        self.name.start(at, NAME_MAX_BYTES);
        self.state = State::String;
        at + 1
    }

    /// The name ended before `end`.
    fn end_name(&mut self, name: &[u8], piece: &[u8], end: usize) -> usize {
        self.node = self.member(name);
        // Nearly always a colon and a value follow right away.
        match (piece.get(end), piece.get(end + 1)) {
            (Some(b':'), Some(byte)) if *byte > b' ' => self.begin_value(piece, end + 1),
            _ => {
                self.state = State::Colon;
                end
            }
        }
    }

    /// The node of the member at hand. An earlier one of the same name in the same object counts for nothing,
    /// nor does anything in it.
    fn member(&mut self, name: &[u8]) -> Option<Node> {
        let plan = self.plan;
        let frame = self.frames.last_mut()?;
        let (node, bit) = plan.member(frame.node, name)?;
        let doubled = frame.seen & bit != 0;
        frame.seen |= bit;
        if doubled {
            self.repeat.forget();
            self.picks.forget(frame.picks, |kept| plan.holds(node, kept));
        }
        Some(node)
    }

    fn begin_value(&mut self, piece: &[u8], at: usize) -> usize {
        let byte = piece[at];
        if let Some(node) = self.node {
            self.begin_clip(node, piece, at);
        }
        // Python reads `NaN` and `Infinity` too, so a body that holds them is read on.
        match byte {
            b'"' => {
                self.state = State::String;
                self.string(piece, at + 1)
            }
            b'{' | b'[' => self.begin_container(byte == b'{', at + 1),
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.state = State::Bare;
                self.bare(piece, at)
            }
            _ => self.give_up(at),
        }
    }

    fn begin_clip(&mut self, node: Node, piece: &[u8], at: usize) {
        let byte = piece[at];
        match self.plan.keep(node) {
            None => {}
            Some(Keep::Whole) if !self.whole.running() => {
                self.whole.start(at, WHOLE_MAX_BYTES);
                (self.whole_node, self.whole_depth) = (node, self.frames.len());
            }
            Some(Keep::Whole) => {}
            Some(_) if matches!(byte, b'{' | b'[') => {}
            Some(Keep::Presence) if byte != b'"' => {}
            Some(Keep::Presence) => {
                if self.from_start && !self.whole.running() {
                    let place = Place { node: Some(node), at: self.at, arrays: self.arrays };
                    self.repeat.remember(&piece[..at], &self.frames, place, self.picks.len());
                }
                self.scalar.start(at, 0);
            }
            Some(Keep::Scalar) if self.plan.listed(node) => self.scalar.start(at, LISTED_MAX_BYTES),
            Some(Keep::Scalar) => self.scalar.start(at, SCALAR_MAX_BYTES),
        }
    }

    fn begin_container(&mut self, object: bool, inside: usize) -> usize {
        let Some(node) = self.node.filter(|node| self.plan.leads_on(*node)) else {
            self.skipping = 1;
            self.state = State::Skip;
            return inside;
        };
        self.frames.push(Frame { object, node, seen: 0, picks: self.picks.len() });
        self.arrays += usize::from(!object);
        self.node = self.plan.item(node);
        self.state = if object { State::FirstName } else { State::FirstItem };
        inside
    }

    fn next_item(&mut self, at: usize) -> usize {
        if let Some(array) = self.frames.last() {
            self.node = self.plan.item(array.node);
        }
        if let Some(index) = self.at.get_mut(self.arrays - 1) {
            *index = index.saturating_add(1);
        }
        self.state = State::Value;
        at + 1
    }

    fn string(&mut self, piece: &[u8], mut at: usize) -> usize {
        loop {
            at += until_string_end(&piece[at..]);
            match (piece.get(at), piece.get(at + 1)) {
                (None, _) => return at,
                (Some(b'"'), _) => return self.end_string(piece, at + 1),
                (Some(_), None) => {
                    self.state = State::Escape;
                    return at + 1;
                }
                (Some(_), Some(escaped)) if is_escape(*escaped) => at += 2,
                (Some(_), Some(_)) => return self.give_up(at),
            }
        }
    }

    fn escape(&mut self, byte: u8, at: usize) -> usize {
        if !is_escape(byte) {
            return self.give_up(at);
        }
        self.state = State::String;
        at + 1
    }

    fn end_string(&mut self, piece: &[u8], end: usize) -> usize {
        if self.skipping > 0 {
            self.state = State::Skip;
            return end;
        }
        if !self.in_name {
            return self.end_value(piece, end);
        }
        // A name that was cut by the end of a piece, or has escapes: rare.
        self.in_name = false;
        let mut clip = std::mem::take(&mut self.name);
        let quoted = clip.stop(piece, end);
        let inside = quoted.and_then(|quoted| quoted.get(1..quoted.len() - 1)).unwrap_or_default();
        let name = quoted.map(|quoted| unescaped(quoted, inside));
        self.node = name.and_then(|name| self.member(&name));
        self.name = clip;
        self.state = State::Colon;
        end
    }

    fn bare(&mut self, piece: &[u8], at: usize) -> usize {
        let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let at = at + piece[at..].iter().take_while(|byte| goes_on(byte)).count();
        if at < piece.len() { self.end_value(piece, at) } else { at }
    }

    fn skip(&mut self, piece: &[u8], mut at: usize) -> usize {
        loop {
            at += until_bracket(&piece[at..]);
            match piece.get(at) {
                None => return at,
                Some(b'"') => {
                    self.state = State::String;
                    at = self.string(piece, at + 1);
                    if self.state != State::Skip {
                        return at;
                    }
                }
                Some(b'{' | b'[') => {
                    self.skipping += 1;
                    at += 1;
                }
                Some(_) => {
                    self.skipping -= 1;
                    at += 1;
                    if self.skipping == 0 {
                        return self.end_value(piece, at);
                    }
                }
            }
        }
    }

    /// The value at hand ends before `end`.
    fn end_value(&mut self, piece: &[u8], end: usize) -> usize {
        let depth = self.frames.len();
        if self.scalar.running() {
            self.keep_scalar(piece, end);
        }
        if self.whole.running() && depth == self.whole_depth {
            let node = self.whole_node;
            if let Some(raw) = self.whole.stop(piece, end) {
                self.picks.keep(node, self.plan.listed(node), self.at, raw);
            }
        }
        // Nearly always a comma follows right away.
        match (self.frames.last(), piece.get(end)) {
            (None, _) => self.state = State::Done,
            (Some(Frame { object: true, .. }), Some(b',')) => {
                self.state = State::Name;
                return end + 1;
            }
            _ => self.state = State::AfterValue,
        }
        end
    }

    fn keep_scalar(&mut self, piece: &[u8], end: usize) {
        let Some(node) = self.node else { return };
        let listed = self.plan.listed(node);
        if self.plan.keep(node) == Some(Keep::Presence) {
            if self.scalar.stop_counting(end) > b"\"\"".len() {
                self.picks.keep(node, listed, self.at, b"");
            }
        } else if let Some(raw) = self.scalar.stop(piece, end) {
            self.picks.keep(node, listed, self.at, raw);
        }
    }

    fn give_up(&mut self, at: usize) -> usize {
        self.state = State::Broken;
        self.drop_clips();
        at
    }

    fn drop_clips(&mut self) {
        for clip in [&mut self.name, &mut self.scalar, &mut self.whole] {
            clip.drop();
        }
    }
}

fn is_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u')
}

#[cfg(test)]
mod tests;
