//! Bodies: content coding undone, and taken apart into documents.

use crate::dialect::Side;
use crate::model::Part;
use crate::sse::{self, Texts};

/// A body taken apart, whatever it is coded in.
pub(crate) fn texts(side: &Side<'_>) -> Texts {
    if side.body.is_empty() {
        return Texts::default();
    }
    let coding = side.content_encoding.unwrap_or_default();
    let Some((plain, unread)) = indelible_coding::decode(coding, side.body) else {
        return sse::texts(side.body, side.content_type);
    };
    // A body whose header lies, or that a client has coded itself, may be plain all the same.
    let Some(why) = unread else { return sse::texts(&plain, side.content_type) };
    let why = format!("content coding {coding:?}: {}", why.as_str().replace('_', " "));
    if plain.is_empty() {
        let read = sse::texts(side.body, side.content_type);
        if !read.documents.is_empty() {
            return read;
        }
        return Texts { unread: vec![Part::unread(why, side.content_type, side.body)], ..Texts::default() };
    }
    let mut read = sse::texts(&plain, side.content_type);
    read.unread.push(Part::unread(format!("{why}; the whole body"), side.content_type, side.body));
    read
}
