//! Which files a bundle has, and in which order.

/// The name of the signed list of all others.
pub(super) const MANIFEST: &str = "MANIFEST.note";

/// The files that every bundle has, in order; payloads and timestamps stand where `payloads/` and `timestamps/` do.
pub const ORDER: [&str; 15] = [
    "README.md",
    "index.html",
    "verify.py",
    "scope.json",
    "entries.jsonl",
    "proof.txt",
    "checkpoint",
    "keys.txt",
    "openings.jsonl",
    "payloads/",
    "timestamps/",
    "completeness.json",
    "custody.jsonl",
    "certificate.md",
    MANIFEST,
];

/// What there is besides the files that every bundle has.
pub(super) struct Members {
    /// How many files of payloads.
    pub(super) payloads: u64,
    /// How many timestamps.
    pub(super) timestamps: u64,
}

impl Members {
    /// Looks the names through. An error says which is out of place.
    pub(super) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Result<Self, String> {
        let mut names = names.peekable();
        let mut this = Self { payloads: 0, timestamps: 0 };
        for expected in ORDER {
            match expected {
                "payloads/" => {
                    let mut last = None;
                    while let Some(place) = names.peek().and_then(|name| payload_place(name)) {
                        if last.is_some_and(|last| last >= place) {
                            return Err("payloads are out of order".to_owned());
                        }
                        last = Some(place);
                        this.payloads += 1;
                        names.next();
                    }
                }
                "timestamps/" => {
                    while names.next_if_eq(&format!("timestamps/{}.tsr", this.timestamps).as_str()).is_some()
                    {
                        let chain = format!("timestamps/{}.pem", this.timestamps);
                        names.next_if_eq(&chain.as_str()).ok_or_else(|| format!("{chain} is missing"))?;
                        this.timestamps += 1;
                    }
                }
                _ if names.next_if_eq(&expected).is_some() => {}
                _ => return Err(format!("{expected} is not where it must be")),
            }
        }
        match names.next() {
            None => Ok(this),
            Some(name) => Err(format!("{name:.100} does not belong into a bundle")),
        }
    }
}

/// Entry and side of a payload's name: 0 the request, 1 the response.
fn payload_place(name: &str) -> Option<(u64, u8)> {
    let (seq, side) = name.strip_prefix("payloads/")?.split_once('.')?;
    let side = match side {
        "request" => 0,
        "response" => 1,
        _ => return None,
    };
    let number: u64 = seq.parse().ok().filter(|number| *number < 1 << 53)?;
    (number.to_string() == seq).then_some((number, side))
}
