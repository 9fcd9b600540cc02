//! Submitting checkpoints to witnesses (C2SP tlog-witness).
//!
//! Every so often the newest signed checkpoint of each ledger goes to each witness of the policy that has an address.
//! What they cosign becomes the *witnessed* checkpoint once it satisfies the policy's quorum; until then the one before
//! stays, and the newest signed one is published beside it all the same: a witness that is away stops nothing.
//!
//! A witness may have seen more than the ledger has: then an old copy of the ledger was restored. Its word is not taken for
//! that; a checkpoint that the ledger's own key signed is, and then the collector sequences no more.

use crate::http::Caller;
use crate::shown;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::StatusCode;
use indelible_collector::Collector;
use indelible_collector::claim::Claim;
use indelible_collector::proofs::NoProof;
use indelible_ledger::policy::Witness;
use indelible_ledger::witness::{AddCheckpoint, SIZE_CONTENT_TYPE, cosignatures};
use indelible_ledger::{Checkpoint, Hash, KeyHistory, Note, NoteSignature, Policy};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Before a collector starts, witnesses are asked for this long.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Ledgers that are submitted at once.
const LEDGERS_AT_ONCE: usize = 16;

/// How witnesses are asked.
pub struct Witnesses {
    policy: Policy,
    interval: Duration,
    caller: Caller,
    /// By witness and origin: the size that it is known to have cosigned last.
    known: Mutex<HashMap<(String, String), u64>>,
}

/// What a witness answered.
enum Answered {
    Cosigned(Vec<NoteSignature>),
    /// It has cosigned this size, and not the one that was said.
    At(u64),
    /// It does not take the checkpoint for an extension of what it has cosigned.
    Forked,
    Failed(String),
}

impl Witnesses {
    /// Witnesses are those of the policy that have an address.
    pub fn new(policy: Policy, interval: Duration, caller: Caller) -> Self {
        Self { policy, interval, caller, known: Mutex::default() }
    }

    /// Who must have cosigned what counts as witnessed.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Before a collector starts: what each witness cosigned last of each ledger, by tenant, that the ledger's keys signed. All
    /// are asked at once, for [`START_TIMEOUT`]; those that do not answer are passed over.
    pub async fn claims(&self, ledgers: &[(String, KeyHistory)]) -> Vec<Claim> {
        let by = Instant::now() + START_TIMEOUT;
        let asked = self.policy.witnesses().iter().filter(|witness| witness.url.is_some());
        let asked = asked.map(|witness| async move {
            let mut claims = Vec::new();
            for (tenant, keys) in ledgers {
                match tokio::time::timeout_at(by, self.cosigned_last(witness, keys)).await {
                    Ok(shown) => claims.extend(shown.map(|shown| claim(witness, tenant, shown))),
                    Err(_) => {
                        tracing::warn!(witness = witness.name, "it was not asked about all ledgers in time");
                        break;
                    }
                }
            }
            claims
        });
        let asked: FuturesUnordered<_> = asked.collect();
        asked.collect::<Vec<_>>().await.concat()
    }

    /// Submits until the task is given up.
    pub async fn run(self, collector: Arc<Collector>) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let behind = collector.signed_sizes().into_iter().filter(|(tenant, size)| {
                collector.witnessed(tenant).is_none_or(|signed| signed.checkpoint.size() < *size)
            });
            // Several at once: a witness that hangs is waited for once, and not for each ledger again.
            let mut waiting = behind.map(|(tenant, _)| tenant).collect::<Vec<_>>().into_iter();
            let mut running = FuturesUnordered::new();
            loop {
                while running.len() < LEDGERS_AT_ONCE
                    && let Some(tenant) = waiting.next()
                {
                    running.push(self.submit(&collector, tenant));
                }
                if running.next().await.is_none() {
                    break;
                }
            }
        }
    }

    /// Has the newest checkpoint of a ledger cosigned, by whoever does. It is published as soon as there is a quorum.
    pub async fn submit(&self, collector: &Arc<Collector>, tenant: String) {
        let tenant = tenant.as_str();
        let signed = match collector.signed(tenant) {
            Ok(signed) => signed,
            Err(error) => return tracing::warn!(tenant, %error, "not submitted to witnesses"),
        };
        let signed = &signed;
        let asked = self.policy.witnesses().iter().filter(|witness| witness.url.is_some());
        let mut asked: FuturesUnordered<_> = asked
            .map(|witness| async move {
                (witness, self.ask(collector, tenant, &signed.note, &signed.checkpoint, witness).await)
            })
            .collect();
        let mut lines = signed.note.signatures().to_vec();
        let mut published = false;
        while let Some((witness, outcome)) = asked.next().await {
            match outcome {
                Ok(more) => lines.extend(more),
                Err(why) => {
                    tracing::warn!(tenant, witness = witness.name, why, "not cosigned");
                    continue;
                }
            }
            let Ok(note) = Note::new(signed.note.text().to_owned(), lines.clone()) else { continue };
            let cosigned = self.policy.cosigned(&note).unwrap_or_default();
            if !cosigned.is_empty() && self.policy.is_satisfied_by(&cosigned) {
                published = true;
                if let Err(error) = collector.publish_witnessed(tenant, &note) {
                    tracing::warn!(tenant, %error, "the witnessed checkpoint could not be kept");
                }
            }
        }
        if !published {
            tracing::warn!(tenant, "too few witnesses cosigned: the ledger goes on unwitnessed");
        }
    }

    /// Asks one witness, twice if it stands elsewhere than it was believed to.
    async fn ask(
        &self,
        collector: &Arc<Collector>,
        tenant: &str,
        note: &Note,
        checkpoint: &Checkpoint,
        witness: &Witness,
    ) -> Result<Vec<NoteSignature>, String> {
        let place = (witness.name.clone(), checkpoint.origin().to_owned());
        for _ in 0..2 {
            let old_size = self.known().get(&place).copied().unwrap_or(0);
            match self.ask_once(collector, tenant, note, checkpoint, witness, old_size).await {
                Answered::Cosigned(lines) => {
                    self.known().insert(place, checkpoint.size());
                    return Ok(lines);
                }
                Answered::At(size) if size <= checkpoint.size() => {
                    self.known().insert(place.clone(), size);
                }
                Answered::At(_) | Answered::Forked => {
                    return match self.shown_against(collector, tenant, witness).await? {
                        Some(shown) => {
                            collector.refuse(&shown).await;
                            Err(shown)
                        }
                        None => Err("it says that it saw another history, and shows none".to_owned()),
                    };
                }
                Answered::Failed(why) => return Err(why),
            }
        }
        Err("it changed its mind about what it cosigned last".to_owned())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, String), u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_once(
        &self,
        collector: &Arc<Collector>,
        tenant: &str,
        note: &Note,
        checkpoint: &Checkpoint,
        witness: &Witness,
        old_size: u64,
    ) -> Answered {
        let proof = match growth(collector, tenant, old_size, checkpoint.size()).await {
            Ok(proof) => proof,
            Err(why) => return Answered::Failed(why),
        };
        let request = AddCheckpoint { old_size, proof, checkpoint: note.clone() };
        let url = format!("{}/add-checkpoint", base(witness));
        let answer = match self.caller.post(&url, "text/plain; charset=utf-8", request.to_string()).await {
            Ok(answer) => answer,
            Err(why) => return Answered::Failed(why),
        };
        match answer.status {
            StatusCode::OK => match cosignatures(note, &answer.body, std::slice::from_ref(&witness.key)) {
                Ok(lines) => Answered::Cosigned(lines),
                Err(error) => Answered::Failed(format!("its answer is no cosignature: {error}")),
            },
            StatusCode::CONFLICT if answer.media_type.starts_with(SIZE_CONTENT_TYPE) => {
                let size =
                    std::str::from_utf8(&answer.body).ok().and_then(|text| text.trim_end().parse().ok());
                size.map_or_else(|| Answered::Failed("its answer is no size".to_owned()), Answered::At)
            }
            // Version 1.0.0 of the specification answers 409 to an equal size with another root.
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => Answered::Forked,
            status => Answered::Failed(format!("it answered {status}")),
        }
    }

    /// The checkpoint that a witness cosigned last, if the ledger's key signed it.
    async fn cosigned_last(&self, witness: &Witness, keys: &KeyHistory) -> Option<Checkpoint> {
        witness.url.as_ref()?;
        let url = format!("{}/{}/checkpoint", base(witness), origin_hash(keys.origin()));
        let answer = self.caller.get(&url).await.ok().filter(|answer| answer.status == StatusCode::OK)?;
        keys.open(&answer.body).ok()
    }

    /// What a witness can show that is not in the ledger as it runs here.
    async fn shown_against(
        &self,
        collector: &Arc<Collector>,
        tenant: &str,
        witness: &Witness,
    ) -> Result<Option<String>, String> {
        let keys = collector.ledger_keys(tenant).map_err(|error| error.to_string())?;
        let keys = keys.ok_or("the ledger has no public key")?;
        match self.cosigned_last(witness, &keys).await {
            Some(shown) => shown::against(collector, &claim(witness, tenant, shown)).await,
            None => Ok(None),
        }
    }
}

fn claim(witness: &Witness, tenant: &str, checkpoint: Checkpoint) -> Claim {
    Claim { tenant: tenant.to_owned(), who: format!("witness {}", witness.name), checkpoint }
}

/// The proof from one size to another that was signed. The ledger may have grown since: then the proof leads further, and
/// is made again for the size that is submitted.
async fn growth(collector: &Arc<Collector>, tenant: &str, from: u64, to: u64) -> Result<Vec<Hash>, String> {
    let (collector, tenant) = (collector.clone(), tenant.to_owned());
    let proof = tokio::task::spawn_blocking(move || collector.prove_growth_to(&tenant, from, to)).await;
    proof.map_err(|error| error.to_string())?.map_err(|error: NoProof| error.to_string())
}

fn base(witness: &Witness) -> &str {
    witness.url.as_deref().unwrap_or_default().trim_end_matches('/')
}

fn origin_hash(origin: &str) -> String {
    Sha256::digest(origin).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
