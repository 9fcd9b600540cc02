//! The header `x-standin`: what a test or a bench asks of one answer.
//!
//! Controls are separated by commas, such as `bytes=4096,chunks=20,pace=5`. One that is unknown or out of
//! range is refused by name, so that a misspelt control cannot pass for a test that holds.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::HeaderName;

/// The header that carries the controls.
pub(crate) const CONTROLS: HeaderName = HeaderName::from_static("x-standin");
/// The short form of `x-standin: fixed=N`.
pub(crate) const FIXED: HeaderName = HeaderName::from_static("x-standin-fixed");

const TEXT_MAX_BYTES: usize = 64 << 20;
const CHUNKS_MAX: usize = 100_000;
const PAUSE_MAX_MS: usize = 600_000;
const CHUNKS_DEFAULT: usize = 12;

/// How the connection or the body goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A good head, a body that is not JSON.
    Garbage,
    /// Bytes that are not HTTP.
    NoHttp,
    /// No answer, ever.
    Hang,
    /// The connection closes before the head.
    Close,
}

/// An answer that was made beforehand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixed {
    /// A chat completion of so many bytes.
    Body(usize),
    /// A stream of so many frames.
    Stream(usize),
}

/// What one request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Controls {
    /// Size of the answer's text.
    pub(crate) bytes: Option<usize>,
    /// Number of pieces that a stream cuts the text into.
    pub(crate) chunks: usize,
    /// Pause before the head.
    pub(crate) delay: Duration,
    /// Pause between the frames of a stream.
    pub(crate) pace: Duration,
    /// Cut a stream after so many frames.
    pub(crate) stop: Option<usize>,
    pub(crate) fault: Option<Fault>,
    pub(crate) fixed: Option<Fixed>,
}

impl Default for Controls {
    fn default() -> Self {
        Self {
            bytes: None,
            chunks: CHUNKS_DEFAULT,
            delay: Duration::ZERO,
            pace: Duration::ZERO,
            stop: None,
            fault: None,
            fixed: None,
        }
    }
}

impl Controls {
    /// Reads both headers; an error names the control that was not understood.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let mut controls = Self::default();
        for value in headers.get_all(CONTROLS) {
            let text = value.to_str().map_err(|_| format!("{CONTROLS} is not ASCII"))?;
            for control in text.split(',').map(str::trim).filter(|control| !control.is_empty()) {
                controls.apply(control).ok_or_else(|| refusal(control))?;
            }
        }
        if let Some(value) = headers.get(FIXED) {
            let size = value.to_str().ok().and_then(|text| number(text, TEXT_MAX_BYTES));
            controls.fixed = Some(Fixed::Body(size.ok_or_else(|| refusal(FIXED.as_str()))?));
        }
        Ok(controls)
    }

    fn apply(&mut self, control: &str) -> Option<()> {
        let (name, value) = control.split_once('=').unwrap_or((control, ""));
        match name {
            "bytes" => self.bytes = Some(number(value, TEXT_MAX_BYTES)?),
            "chunks" => self.chunks = number(value, CHUNKS_MAX)?.max(1),
            "delay" => self.delay = pause(value)?,
            "pace" => self.pace = pause(value)?,
            "stop" => self.stop = Some(number(value, CHUNKS_MAX)?),
            "fixed" => self.fixed = Some(Fixed::Body(number(value, TEXT_MAX_BYTES)?)),
            "fixed-stream" => self.fixed = Some(Fixed::Stream(number(value, CHUNKS_MAX)?)),
            _ => self.fault = Some(fault(control)?),
        }
        Some(())
    }
}

fn fault(control: &str) -> Option<Fault> {
    match control {
        "garbage" => Some(Fault::Garbage),
        "nohttp" => Some(Fault::NoHttp),
        "hang" => Some(Fault::Hang),
        "close" => Some(Fault::Close),
        _ => None,
    }
}

fn number(text: &str, max: usize) -> Option<usize> {
    text.parse().ok().filter(|number| *number <= max)
}

fn pause(text: &str) -> Option<Duration> {
    number(text, PAUSE_MAX_MS).and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis)
}

fn refusal(control: &str) -> String {
    format!("control not understood or out of range: {control}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn parse(text: &'static str) -> Result<Controls, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTROLS, HeaderValue::from_static(text));
        Controls::of(&headers)
    }

    #[test]
    fn controls_combine() {
        let controls = parse("bytes=10, chunks=3,pace=7,stop=2,garbage").unwrap();
        assert_eq!(controls.bytes, Some(10));
        assert_eq!(controls.chunks, 3);
        assert_eq!(controls.pace, Duration::from_millis(7));
        assert_eq!(controls.stop, Some(2));
        assert_eq!(controls.fault, Some(Fault::Garbage));
    }

    #[test]
    fn both_spellings_of_fixed_mean_the_same() {
        let mut headers = HeaderMap::new();
        headers.insert(FIXED, HeaderValue::from_static("2048"));
        assert_eq!(Controls::of(&headers), parse("fixed=2048"));
        assert_eq!(parse("fixed-stream=100").unwrap().fixed, Some(Fixed::Stream(100)));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for bad in ["byte=10", "bytes=ten", "bytes=99999999999", "delay", "hang=1"] {
            assert!(parse(bad).unwrap_err().ends_with(bad), "{bad}");
        }
        assert_eq!(parse(""), Ok(Controls::default()));
    }
}
