//! What is asked, of whom, and by how many at once.

use crate::bench::collector::prose;
use crate::bench::indelible::Mode;

/// Frames of a stream.
const STREAM_FRAMES: usize = 100;
/// Bytes of a plain answer.
const ANSWER_BYTES: usize = 2 << 10;
/// Where everything is asked.
pub(super) const PATH: &str = "/v1/chat/completions";

pub(super) const SHAPES: [Shape; 3] = [Shape::Small, Shape::Stream, Shape::Large];
/// In the order of the tables.
pub(super) const TARGETS: [Target; 9] = [
    Target::Direct,
    Target::Nginx,
    Target::Envoy,
    Target::DURABLE,
    Target::DURABLE_BESIDE,
    Target::RELAXED,
    Target::RECEIPT,
    Target::LiteLlm,
    Target::Aegis,
];

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// 4 KiB up, 2 KiB down.
    Small,
    /// 4 KiB up, 100 frames down.
    Stream,
    /// 100 KiB up, 2 KiB down.
    Large,
}

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Direct,
    Nginx,
    Envoy,
    Indelible(Mode, Collector),
    LiteLlm,
    Aegis,
}

/// Where the collector runs while a load is on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Collector {
    /// As on a machine of its own: its process is held while the load is on and let go after it.
    Elsewhere,
    /// On the cores that the gateway, the model server and the load generator share.
    Beside,
}

impl Shape {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Small => "4 KiB → 2 KiB",
            Self::Stream => "4 KiB → stream of 100 frames",
            Self::Large => "100 KiB → 2 KiB",
        }
    }

    /// What the model server is asked for: the value of its header `x-standin`.
    pub(super) fn controls(self) -> String {
        match self {
            Self::Stream => format!("fixed-stream={STREAM_FRAMES}"),
            Self::Small | Self::Large => format!("fixed={ANSWER_BYTES}"),
        }
    }

    /// LiteLLM asks the model server by model, so plain answers and streams have one each. No name that it
    /// knows: for those it looks for a tokenizer on the network.
    pub(super) fn model(self) -> &'static str {
        match self {
            Self::Stream => "bench-8b-stream",
            Self::Small | Self::Large => "bench-8b",
        }
    }

    /// Least share of nginx's requests a second that `durable` is held to.
    pub(super) fn goal(self) -> f64 {
        match self {
            Self::Small | Self::Stream => 0.6,
            Self::Large => 0.25,
        }
    }

    /// A chat of the wanted size, in words that compress as text does.
    pub(super) fn request(self) -> String {
        let bytes = match self {
            Self::Small | Self::Stream => 4 << 10,
            Self::Large => 100 << 10,
        };
        let (model, stream) = (self.model(), if self == Self::Stream { ",\"stream\":true" } else { "" });
        let frame = |text: &str| {
            format!(
                "{{\"model\":\"{model}\"{stream},\"temperature\":0.2,\"user\":\"bench-user\",\"messages\":[\
                 {{\"role\":\"system\",\"content\":\"Be brief.\"}},{{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
            )
        };
        frame(&prose(1, bytes - frame("").len()))
    }
}

impl Target {
    pub(super) const DURABLE: Self = Self::Indelible(Mode::Durable, Collector::Elsewhere);
    pub(super) const DURABLE_BESIDE: Self = Self::Indelible(Mode::Durable, Collector::Beside);
    pub(super) const RELAXED: Self = Self::Indelible(Mode::Relaxed, Collector::Elsewhere);
    /// It waits for the collector: there is no such thing as measuring it without.
    pub(super) const RECEIPT: Self = Self::Indelible(Mode::Receipt, Collector::Beside);

    pub(super) fn name(self) -> String {
        match self {
            Self::Direct => "direct, no proxy".to_owned(),
            Self::Nginx => "nginx, no capture".to_owned(),
            Self::Envoy => "Envoy, no capture".to_owned(),
            Self::Indelible(mode, Collector::Elsewhere) => {
                format!("Indelible {}, collector elsewhere", mode.as_str())
            }
            Self::Indelible(mode, Collector::Beside) => {
                format!("Indelible {}, collector on the same cores", mode.as_str())
            }
            Self::LiteLlm => "LiteLLM, no capture".to_owned(),
            Self::Aegis => "Aegis, hashes only".to_owned(),
        }
    }

    pub(super) fn is_indelible(self) -> bool {
        matches!(self, Self::Indelible(..))
    }

    /// Tens of requests a second: a short load says all there is to say.
    pub(super) fn is_slow(self) -> bool {
        matches!(self, Self::LiteLlm | Self::Aegis)
    }
}
