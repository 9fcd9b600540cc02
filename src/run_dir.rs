//! `DIR/run`: where a running collector says how to reach it, and with which token.

use crate::failure::Failure;
use indelible_os::durable::{self, MODE_SECRET, MODE_SHARED};
use indelible_record::commitment::to_hex;
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a look waits for a collector that is starting.
const ANNOUNCED_WITHIN: Duration = Duration::from_secs(5);

/// How to reach a running collector.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Address {
    /// Base URL.
    pub(crate) url: String,
    /// CA to trust, where it speaks TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
}

/// Announces a collector: writes address and a new operator token; returns the token.
pub(crate) fn announce(data: &Path, address: &Address) -> Result<String, Failure> {
    let dir = data.join("run");
    let token = to_hex(&indelible_vault::random::<32>().map_err(Failure::new)?);
    let failed = |error| Failure::new(format!("{}: {error}", dir.display()));
    durable::make_dir(&dir).map_err(failed)?;
    durable::replace(&dir.join("operator.token"), token.as_bytes(), MODE_SECRET).map_err(failed)?;
    let text = serde_json::to_string_pretty(address).map_err(Failure::new)?;
    durable::replace(&dir.join("collector.json"), text.as_bytes(), MODE_SHARED).map_err(failed)?;
    Ok(token)
}

/// Takes the announcement back.
pub(crate) fn withdraw(data: &Path) {
    for name in ["collector.json", "operator.token"] {
        // Gone already is as good.
        let _ = std::fs::remove_file(data.join("run").join(name));
    }
}

/// The collector that runs on a data directory, if one does: its address and the operator's token.
pub(crate) fn find(data: &Path) -> Result<Option<(Address, String)>, Failure> {
    let dir = data.join("run");
    for name in ["collector.json", "operator.token"] {
        check_owner(data, &dir.join(name))?;
    }
    let path = dir.join("collector.json");
    let asked = Instant::now();
    let text = loop {
        let held = indelible_os::lock::is_held(data);
        if held == Some(false) {
            return Ok(None);
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => break text,
            // It is starting, or someone looks at the directory itself: neither takes long.
            Err(_) if held == Some(true) && asked.elapsed() < ANNOUNCED_WITHIN => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(_) => return Ok(None),
        }
    };
    let address =
        serde_json::from_str(&text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    let path = dir.join("operator.token");
    let token = std::fs::read_to_string(&path).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display()))
            .hint("records are read by the user that runs the collector")
    })?;
    Ok(Some((address, token.trim().to_owned())))
}

/// Whoever can write these files could have the operator's token sent to themselves.
fn check_owner(data: &Path, path: &Path) -> Result<(), Failure> {
    let (Ok(owner), Ok(file)) = (std::fs::metadata(data), std::fs::metadata(path)) else { return Ok(()) };
    if file.uid() == owner.uid() && file.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(Failure::new(format!("{} can be written by others than the owner of the data", path.display()))
        .hint("remove DIR/run and start the collector again"))
}
