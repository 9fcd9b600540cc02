//! Picks named values out of JSON (RFC 8259) that arrives in pieces, without holding the JSON.
//!
//! The [`Picker`] follows the text only as deep as some path of its [`Plan`] may still lead; anything else is
//! skipped by counting brackets outside strings, so that memory and stack do not grow with nesting: a deep
//! tool schema in front of `model` does not hide the model.
//!
//! Where readers of JSON differ, this one follows those of model servers (Python's `json`): of doubled
//! members the last counts, a byte order mark is skipped, member names are compared after their escapes are
//! undone. Skipped values are delimited, not validated; text that cannot be JSON ends the reading, and what
//! was picked stays.

use super::plan::{Keep, Node, Plan};
use super::{BYTE_ORDER_MARK, WORD_BYTES, each, each_below, run_until};
use std::borrow::Cow;

/// Longest scalar that is kept, quotes and escapes included.
const SCALAR_MAX_BYTES: usize = 1024;
/// Longest value that is kept whole.
const WHOLE_MAX_BYTES: usize = 8 * 1024;
/// Longest member name that can match, quotes and escapes included.
const NAME_MAX_BYTES: usize = 256;
/// Most values kept for one path.
const PICKS_PER_PATH_MAX: usize = 128;

/// Positions in the arrays on the way to a value, outermost first; 0 where there is no array.
pub(super) type At = [u32; 2];

/// One value, as it stood in the text.
pub(super) struct Pick {
    /// Where it stood.
    pub(super) at: At,
    /// Its bytes: valid JSON if the text was.
    pub(super) raw: Vec<u8>,
}

impl Pick {
    /// The value, if it is a string.
    pub(super) fn string(&self) -> Option<String> {
        self.raw.starts_with(b"\"").then(|| String::from_utf8_lossy(&unquoted(&self.raw)).into_owned())
    }
}

/// The inside of a string, escapes undone. Where one stands for no character (a lone surrogate), all stay as
/// written.
fn unquoted(raw: &[u8]) -> Cow<'_, [u8]> {
    if raw.contains(&b'\\')
        && let Ok(text) = serde_json::from_slice::<String>(raw)
    {
        return Cow::Owned(text.into_bytes());
    }
    Cow::Borrowed(raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default())
}

/// Bytes being copied out of the pieces as they pass.
struct Clip {
    bytes: Vec<u8>,
    limit: usize,
    over: bool,
    /// Where in the piece at hand the part begins that is not copied yet.
    from: Option<usize>,
}

impl Clip {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, over: false, from: None }
    }

    fn start(&mut self, at: usize) {
        self.bytes.clear();
        self.over = false;
        self.from = Some(at);
    }

    fn copy(&mut self, part: &[u8]) {
        self.over |= self.bytes.len() + part.len() > self.limit;
        if !self.over {
            self.bytes.extend_from_slice(part);
        }
    }

    /// The piece at hand is over; the value may not be.
    fn carry(&mut self, piece: &[u8]) {
        if let Some(from) = self.from {
            self.copy(&piece[from..]);
            self.from = Some(0);
        }
    }

    /// The value is over: its bytes, unless none was being copied or it is too long.
    fn stop(&mut self, piece: &[u8], to: usize) -> Option<&[u8]> {
        let from = self.from.take()?;
        self.copy(&piece[from..to]);
        (!self.over).then_some(self.bytes.as_slice())
    }
}

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
struct Frame {
    object: bool,
    node: Node,
    /// The position at hand, of an array.
    index: u32,
}

/// Reads one JSON text at a time. See the module.
pub(super) struct Picker {
    plan: &'static Plan,
    state: State,
    frames: Vec<Frame>,
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
    found: Vec<Vec<Pick>>,
}

impl Picker {
    pub(super) fn new(plan: &'static Plan) -> Self {
        Self {
            plan,
            state: State::Start(0),
            frames: Vec::new(),
            node: Some(Plan::ROOT),
            skipping: 0,
            in_name: false,
            name: Clip::new(NAME_MAX_BYTES),
            scalar: Clip::new(SCALAR_MAX_BYTES),
            whole: Clip::new(WHOLE_MAX_BYTES),
            whole_node: Plan::ROOT,
            whole_depth: 0,
            found: plan.texts().map(|_| Vec::new()).collect(),
        }
    }

    /// Reads on.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let mut at = 0;
        while at < piece.len() && self.state != State::Broken {
            at = self.step(piece, at);
        }
        for clip in [&mut self.name, &mut self.scalar, &mut self.whole] {
            clip.carry(piece);
        }
    }

    /// What was picked so far: each value with its path, in the order of the text among those of one path.
    pub(super) fn picked(&self) -> impl Iterator<Item = (&'static str, &Pick)> {
        self.plan
            .texts()
            .zip(&self.found)
            .flat_map(|(path, picks)| picks.iter().map(move |pick| (path, pick)))
    }

    /// Forgets everything: the next piece begins another text.
    pub(super) fn reset(&mut self) {
        self.state = State::Start(0);
        self.frames.clear();
        self.node = Some(Plan::ROOT);
        self.skipping = 0;
        self.in_name = false;
        self.drop_clips();
        self.found.iter_mut().for_each(Vec::clear);
    }

    /// Whether the text ended, and was JSON as far as it was read.
    #[cfg(test)]
    pub(super) fn complete(&self) -> bool {
        self.state == State::Done
    }

    /// Takes at least one byte, or changes state without taking any, and says where to go on.
    fn step(&mut self, piece: &[u8], at: usize) -> usize {
        let byte = piece[at];
        match self.state {
            State::Start(seen) if byte == BYTE_ORDER_MARK[seen] => {
                self.state = BYTE_ORDER_MARK.get(seen + 1).map_or(State::Value, |_| State::Start(seen + 1));
            }
            State::Start(0) => {
                self.state = State::Value;
                return at;
            }
            State::String => return self.string(piece, at),
            State::Escape if b"\"\\/bfnrtu".contains(&byte) => self.state = State::String,
            State::Bare => return self.bare(piece, at),
            State::Skip => return self.skip(piece, at),
            State::Start(_) | State::Escape | State::Broken => self.give_up(),
            _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
            _ => self.punctuation(piece, at),
        }
        at + 1
    }

    fn punctuation(&mut self, piece: &[u8], at: usize) {
        let in_object = self.frames.last().map(|frame| frame.object);
        match (self.state, piece[at], in_object) {
            (State::FirstName | State::Name, b'"', _) => {
                self.in_name = true;
                self.name.start(at);
                self.state = State::String;
            }
            (State::Colon, b':', _) => self.state = State::Value,
            (State::AfterValue, b',', Some(true)) => self.state = State::Name,
            (State::AfterValue, b',', Some(false)) => self.next_item(),
            (State::FirstName | State::AfterValue, b'}', Some(true))
            | (State::FirstItem | State::AfterValue, b']', Some(false)) => {
                self.frames.pop();
                self.end_value(piece, at + 1);
            }
            (State::Value | State::FirstItem, byte, _) => self.begin_value(byte, at),
            _ => self.give_up(),
        }
    }

    fn begin_value(&mut self, byte: u8, at: usize) {
        let keep = self.node.and_then(|node| self.plan.keep(node));
        if let (Some(Keep::Whole), Some(node), None) = (keep, self.node, self.whole.from) {
            self.whole.start(at);
            (self.whole_node, self.whole_depth) = (node, self.frames.len());
        }
        if matches!(byte, b'{' | b'[') {
            return self.begin_container(byte == b'{');
        }
        if keep == Some(Keep::Scalar) {
            self.scalar.start(at);
        }
        // Python reads `NaN` and `Infinity` too, so a body that holds them is read on.
        match byte {
            b'"' => self.state = State::String,
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => self.state = State::Bare,
            _ => self.give_up(),
        }
    }

    fn begin_container(&mut self, object: bool) {
        let Some(node) = self.node.filter(|node| self.plan.leads_on(*node)) else {
            self.skipping = 1;
            self.state = State::Skip;
            return;
        };
        self.frames.push(Frame { object, node, index: 0 });
        self.node = self.plan.item(node);
        self.state = if object { State::FirstName } else { State::FirstItem };
    }

    fn next_item(&mut self) {
        if let Some(array) = self.frames.last_mut() {
            array.index = array.index.saturating_add(1);
            self.node = self.plan.item(array.node);
        }
        self.state = State::Value;
    }

    fn string(&mut self, piece: &[u8], at: usize) -> usize {
        let stop = |word| each(word, b'"') | each(word, b'\\') | each_below(word, b' ');
        let at = at + run_until(&piece[at..], stop);
        match piece.get(at) {
            None => return at,
            Some(b'\\') => self.state = State::Escape,
            Some(b'"') if self.skipping > 0 => self.state = State::Skip,
            Some(b'"') if self.in_name => self.end_name(piece, at + 1),
            Some(b'"') => self.end_value(piece, at + 1),
            Some(_) => self.give_up(),
        }
        at + 1
    }

    fn bare(&mut self, piece: &[u8], at: usize) -> usize {
        let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let at = at + piece[at..].iter().take_while(|byte| goes_on(byte)).count();
        if at < piece.len() {
            self.end_value(piece, at);
        }
        at
    }

    fn skip(&mut self, piece: &[u8], at: usize) -> usize {
        // Brackets and braces differ in one bit.
        let stop = |word| {
            let folded = word | u64::from_le_bytes([b'{' ^ b'['; WORD_BYTES]);
            each(word, b'"') | each(folded, b'{') | each(folded, b'}')
        };
        let at = at + run_until(&piece[at..], stop);
        match piece.get(at) {
            None => return at,
            Some(b'"') => self.state = State::String,
            Some(b'{' | b'[') => self.skipping += 1,
            Some(_) => {
                self.skipping -= 1;
                if self.skipping == 0 {
                    self.end_value(piece, at + 1);
                }
            }
        }
        at + 1
    }

    fn end_name(&mut self, piece: &[u8], end: usize) {
        self.in_name = false;
        self.state = State::Colon;
        let name = self.name.stop(piece, end).map(unquoted);
        self.node = match (self.frames.last(), name) {
            (Some(object), Some(name)) => self.plan.member(object.node, &name),
            _ => None,
        };
        self.forget_doubled();
    }

    /// An earlier member of the same name in the same object counts for nothing, nor does anything in it.
    /// What was picked in this object is the last that was picked.
    fn forget_doubled(&mut self) {
        let Some(node) = self.node else { return };
        let here = self.at();
        let arrays = self.frames.iter().filter(|frame| !frame.object).count().min(here.len());
        for picks in &mut self.found[self.plan.within(node)] {
            while picks.last().is_some_and(|pick| pick.at[..arrays] == here[..arrays]) {
                picks.pop();
            }
        }
    }

    /// The value at hand ends before `end`.
    fn end_value(&mut self, piece: &[u8], end: usize) {
        let (at, depth) = (self.at(), self.frames.len());
        if let (Some(raw), Some(node)) = (self.scalar.stop(piece, end), self.node) {
            keep(&mut self.found[node], at, raw);
        }
        if depth == self.whole_depth
            && let Some(raw) = self.whole.stop(piece, end)
        {
            keep(&mut self.found[self.whole_node], at, raw);
        }
        self.state = if depth == 0 { State::Done } else { State::AfterValue };
    }

    fn at(&self) -> At {
        let mut at = At::default();
        let arrays = self.frames.iter().filter(|frame| !frame.object);
        at.iter_mut().zip(arrays).for_each(|(at, array)| *at = array.index);
        at
    }

    fn give_up(&mut self) {
        self.state = State::Broken;
        self.drop_clips();
    }

    fn drop_clips(&mut self) {
        for clip in [&mut self.name, &mut self.scalar, &mut self.whole] {
            clip.from = None;
        }
    }
}

/// Keeps a value. `null` is nothing: APIs write it for what they leave out.
fn keep(picks: &mut Vec<Pick>, at: At, raw: &[u8]) {
    if raw != b"null" && picks.len() < PICKS_PER_PATH_MAX {
        picks.push(Pick { at, raw: raw.to_vec() });
    }
}

#[cfg(test)]
mod tests;
