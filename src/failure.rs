//! How a command fails: what, detail, hint, and an exit code that scripts can rely on.
//!
//! | code | means |
//! |---|---|
//! | 0 | done; `verify`: holds |
//! | 1 | the answer is no: unknown id, broken ledger |
//! | 2 | wrong usage or configuration, unreadable file; `verify`: could not tell |
//! | 3 | ambiguous: several records have that id |
//! | 4 | the collector refuses to sequence: what is on disk is not what was signed |
//! | 5 | storage failed while running; a restart recovers |
//! | 6 | a query went past a limit of time, memory, rows or length, or found too many others running |

#[cfg(any(feature = "gateway", feature = "collector"))]
use indelible_net::NetError;
use serde_json::json;
use std::fmt::Display;
use std::io::Write as _;

/// What a command comes to: its exit code.
pub(crate) type Outcome = Result<u8, Failure>;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) what: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// Wrong usage, configuration or environment.
    pub(crate) fn new(what: impl Display) -> Self {
        Self { code: 2, what: what.to_string(), detail: None, hint: None }
    }

    /// An address that cannot be listened on.
    #[cfg(any(feature = "gateway", feature = "collector"))]
    pub(crate) fn listening(error: &NetError) -> Self {
        Self::new(error).hint(match error {
            NetError::Exposed(_) => {
                "listen on loopback, give it a certificate and key for TLS, or pass --insecure-listen"
            }
            _ => "another program may listen there: choose another address",
        })
    }

    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    pub(crate) fn detail(mut self, detail: impl Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    pub(crate) fn print(&self, as_json: bool) {
        let mut err = std::io::stderr().lock();
        // Nowhere to complain if stderr is gone.
        let _ = if as_json {
            let body = json!({ "error": { "message": self.what, "detail": self.detail, "hint": self.hint, "code": self.code } });
            writeln!(err, "{body}")
        } else {
            let mut text = format!("error: {}\n", self.what);
            if let Some(detail) = &self.detail {
                text.push_str(&format!("  {detail}\n"));
            }
            if let Some(hint) = &self.hint {
                text.push_str(&format!("hint: {hint}\n"));
            }
            err.write_all(text.as_bytes())
        };
    }
}
