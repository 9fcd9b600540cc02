//! The body of an answer: one piece, or the frames of a stream at a given pace.
//!
//! A stream can be told to break: it then ends in an error, which makes hyper drop the connection without
//! the chunk that would end the body. Before it breaks it lets go of the thread once, so that what was sent
//! is flushed and the client sees exactly the frames it was meant to see.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// Why a connection ends without a proper answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Closed before the head.
    Closed,
    /// To be answered with bytes that are not HTTP.
    NoHttp,
    /// The stream was cut.
    Cut,
    /// The request's body did not arrive whole.
    Request,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed before the head, as asked",
            Self::NoHttp => "answered with bytes that are not HTTP, as asked",
            Self::Cut => "stream cut, as asked",
            Self::Request => "the request's body did not arrive whole",
        })
    }
}

impl Error for Broken {}

/// What hyper sends.
pub(crate) enum Body {
    /// One piece with a known length.
    Whole(Bytes),
    /// Server-sent events.
    Frames(Frames),
}

/// The frames of a stream and where it stands.
pub(crate) struct Frames {
    frames: Arc<[Bytes]>,
    next: usize,
    pace: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    cut: Option<usize>,
    flushed: bool,
}

impl Frames {
    /// Frames to be sent `pace` apart and, if `cut` is given, broken off after so many.
    pub(crate) fn new(frames: Arc<[Bytes]>, pace: Duration, cut: Option<usize>) -> Self {
        Self { frames, next: 0, pace, pause: None, cut, flushed: false }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.cut.is_some_and(|cut| self.next >= cut) {
            return self.poll_cut(cx);
        }
        if self.next > 0 && self.next < self.frames.len() && !self.pace.is_zero() {
            ready!(self.poll_pause(cx));
        }
        let frame = self.frames.get(self.next).cloned();
        self.next += 1;
        Poll::Ready(frame.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let pace = self.pace;
        ready!(self.pause.get_or_insert_with(|| Box::pin(sleep(pace))).as_mut().poll(cx));
        self.pause = None;
        Poll::Ready(())
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if !self.flushed {
            self.flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(Broken::Cut)))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Frames(frames) => frames.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Frames(_) => SizeHint::default(),
        }
    }
}
