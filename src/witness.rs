//! `indelible witness`: cosigns the checkpoints of other people's ledgers.

use crate::cli::Witness as Arguments;
use crate::collector::runtime;
use crate::failure::{Failure, Outcome};
use crate::shutdown::Signals;
use indelible_ledger::Policy;
use indelible_net::tls::{self, Identity};
use indelible_net::{NetError, server};
use indelible_witness::{Witness, WitnessError};
use std::sync::Arc;

/// Serves until asked to stop.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let path = arguments.policy.display();
    let policy =
        std::fs::read(&arguments.policy).map_err(|error| Failure::new(format!("{path}: {error}")))?;
    let policy = Policy::parse(&policy).map_err(|error| {
        Failure::new(format!("{path}: {error}"))
            .hint("indelible key policy prints one; c2sp.org/tlog-policy has the form")
    })?;
    if policy.logs().next().is_none() {
        return Err(Failure::new(format!("{path} names no log")).hint("a line such as: log <vkey>"));
    }
    let identity = arguments.tls_cert.clone().zip(arguments.tls_key.clone());
    let tls = identity
        .map(|(cert, key)| tls::server(&Identity { cert, key }, None))
        .transpose()
        .map_err(Failure::new)?;
    let witness = Witness::open(&arguments.state, &arguments.name, policy).map_err(|error| {
        let hint = match &error {
            WitnessError::Name(_) => "a URL without scheme, such as witness.example/1",
            WitnessError::Held(_) => "stop that one, or name another directory with --state",
            WitnessError::Io { .. } | WitnessError::Damaged { .. } => {
                "a witness that lost its memory must be retired: begin with another name and directory"
            }
        };
        Failure::new(error).hint(hint)
    })?;
    let witness = Arc::new(witness);
    runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let listener = server::bind(arguments.listen, tls.is_some(), arguments.insecure_listen)
            .await
            .map_err(|error| match error {
                NetError::Exposed(_) => Failure::new(error)
                    .hint("listen on loopback, give --tls-cert and --tls-key, or pass --insecure-listen"),
                _ => Failure::listening(&error),
            })?;
        let address = listener.local_addr().map_err(Failure::new)?;
        eprintln!("witness {} on {address}", witness.verifier_key());
        for (origin, size) in witness.logs() {
            eprintln!("  {origin}: {size} entries cosigned");
        }
        indelible_witness::server::serve(listener, tls, witness, async { signals.asked().await }).await;
        Ok(0)
    })
}
