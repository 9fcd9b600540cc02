//! The keys that ledgers are signed with: loaded at a start, made with a ledger, and changed.
//!
//! A key is changed in steps, and the entry that says so decides: what a crash leaves before it is durable is given up, what it
//! leaves behind it is finished at the next start. No key is destroyed before the one that follows has signed.

use super::*;
use indelible_ledger::{KeyHistory, Rotation, VerifierKey};
use indelible_vault::KeyStore;

/// A change of keys that was entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Size of the checkpoint that both keys sign.
    pub size: u64,
    /// The key that signs from there on.
    pub key: VerifierKey,
}

/// The keys that sign now.
#[derive(Default)]
pub(super) struct Signers {
    current: BTreeMap<String, Ed25519Signer>,
    /// Keys that go: until the handover is under the head, they sign beside the ones that come.
    retiring: BTreeMap<String, Ed25519Signer>,
}

impl Signers {
    pub(super) fn of(&self, tenant: &str) -> Result<&Ed25519Signer, CollectorError> {
        self.current
            .get(tenant)
            .ok_or_else(|| CollectorError::Sign(format!("no signing key for ledger {tenant}")))
    }

    pub(super) fn add(&mut self, tenant: &str, signer: Ed25519Signer) {
        self.current.insert(tenant.to_owned(), signer);
    }

    /// Signs a text with the key of a ledger, or with two in the middle of a change.
    pub(super) fn sign(&self, tenant: &str, text: String) -> Result<String, CollectorError> {
        let current = self.of(tenant)?;
        let signers: Vec<&dyn Signer> =
            self.retiring.get(tenant).into_iter().chain([current]).map(|one| one as &dyn Signer).collect();
        let note = Note::sign(text, &signers).map_err(|error| CollectorError::Sign(error.to_string()))?;
        Ok(note.to_string())
    }
}

impl Sequencer {
    /// A ledger that exists needs the key that it was signed with: a missing one is never replaced.
    pub(super) fn load_signers(
        &mut self,
        rotated: &BTreeMap<String, Rotation>,
    ) -> Result<(), CollectorError> {
        let vault = self.vault.clone();
        let vault = lock(&vault);
        let store = vault.keys();
        for (tenant, mut history) in KeyStore::key_histories(store.dir())? {
            let has_head = self.head.notes().contains_key(&tenant);
            let known = has_head || self.state.ledger(&tenant).is_some();
            if has_head {
                // A crash right behind its first head.
                store.set_used(&tenant)?;
            } else {
                check_headless(&tenant, store.is_unused(&tenant))?;
            }
            let signer = store.signer(&tenant, history.origin(), false);
            if let Some(next) = store.next_signer(&tenant, history.origin())? {
                match rotated.get(&tenant).filter(|rotation| rotation.new == *next.verifier_key()) {
                    Some(rotation) => {
                        tracing::info!(tenant, size = rotation.size, "finishing a change of keys");
                        install(store, &tenant, &mut history, rotation)?;
                        // Destroyed already, if the handover is under the head.
                        let old = signer.ok().filter(|old| *old.verifier_key() == rotation.old);
                        self.signers.retiring.extend(old.map(|old| (tenant.clone(), old)));
                        self.signers.current.insert(tenant, next);
                        continue;
                    }
                    None => store.discard_next_signer(&tenant)?,
                }
            }
            if let Some(signer) = check_signer(&tenant, signer, &history, known)? {
                self.signers.current.insert(tenant, signer);
            }
        }
        let newer = rotated.iter().find(|(tenant, rotation)| {
            self.signers.current.get(*tenant).is_none_or(|signer| *signer.verifier_key() != rotation.new)
        });
        match newer {
            Some((tenant, rotation)) => Err(CollectorError::Refused(format!(
                "ledger {tenant} is signed by key {} since entry {}, which is not in the key directory: an old copy of it was restored",
                rotation.new.key_id(),
                rotation.size - 1
            ))),
            None => Ok(()),
        }
    }

    /// Ends changes of keys whose handover is signed.
    pub(super) fn finish_rotations(&mut self) -> Result<(), CollectorError> {
        let vault = self.vault.clone();
        let tenants: Vec<String> = self.signers.current.keys().cloned().collect();
        for tenant in tenants {
            let vault = lock(&vault);
            let origin = self.signers.of(&tenant)?.name().to_owned();
            if vault.keys().next_signer(&tenant, &origin)?.is_some() {
                self.signers.retiring.remove(&tenant);
                vault.keys().promote_next_signer(&tenant)?;
            }
        }
        Ok(())
    }

    /// Gives a ledger a new key. The order is the contract; the inner error is one that can be waited out.
    pub(super) fn rotate_key(
        &mut self,
        tenant: &str,
        actor: &str,
    ) -> Result<Result<Rotated, String>, CollectorError> {
        if self.signers.of(tenant).is_err() {
            return Ok(Err(format!("there is no ledger {tenant:?}")));
        }
        // 1. Everything so far is the old key's: then the handover covers one entry more, the one that says so.
        self.checkpoint()?;
        let old = self.signers.of(tenant)?.verifier_key().clone();
        let size = self.state.ledger(tenant).map_or(0, |ledger| ledger.size()) + 1;
        let Some(mut history) = self.history(tenant)? else {
            return Ok(Err(format!("ledger {tenant:?} has no public keys")));
        };
        // 2. The new key is on the disk before anything is said of it. A crash here leaves one that nobody knows.
        let new = lock(&self.vault).keys().create_next_signer(tenant, old.name())?;
        let rotation = Rotation { size, old, new: new.verifier_key().clone() };
        // What cannot be taken on is found before it is entered.
        if let Err(why) = history.clone().hand_over(rotation.new.clone(), size) {
            lock(&self.vault).keys().discard_next_signer(tenant)?;
            return Ok(Err(why.to_string()));
        }
        self.faults.point("after the next key is made")?;
        // 3. The decision. A crash before it is durable gives up the new key, one behind it is finished at the start.
        let note = rotation
            .sign(self.signers.of(tenant)?, &new)
            .map_err(|error| CollectorError::Sign(error.to_string()))?;
        let mut entry = self.own_entry(
            tenant,
            event_type::KEY_ROTATED,
            [("note".to_owned(), note.into())].into_iter().collect(),
        );
        entry.actor = Some(entry::Actor { id: actor.to_owned(), kind: "operator".to_owned() });
        match self.append_entry(Origin::default(), Uuid::now_v7(), entry, Vec::new(), &[]) {
            Ok(_) => {}
            Err(CollectorError::Log(LogError::Full(why))) => {
                lock(&self.vault).keys().discard_next_signer(tenant)?;
                return Ok(Err(why));
            }
            Err(error) => return Err(error),
        }
        self.commit()?;
        self.faults.point("after the change of keys is entered")?;
        // 4. Whoever reads the public keys can check what is signed next.
        install(lock(&self.vault).keys(), tenant, &mut history, &rotation)?;
        self.faults.point("after the public key is written")?;
        // 5. The handover: both sign, and so does the digest of the file, if the ledger is that of operations.
        let key = new.verifier_key().clone();
        if let Some(old) = self.signers.current.insert(tenant.to_owned(), new) {
            self.signers.retiring.insert(tenant.to_owned(), old);
        }
        self.checkpoint()?;
        self.faults.point("after the handover is signed")?;
        // 6. Nothing needs the old key any more.
        self.finish_rotations()?;
        self.faults.point("after the old key is destroyed")?;
        Ok(Ok(Rotated { size, key }))
    }

    fn history(&self, tenant: &str) -> Result<Option<KeyHistory>, CollectorError> {
        let histories = KeyStore::key_histories(lock(&self.vault).keys().dir())?;
        Ok(histories.into_iter().find(|(name, _)| name == tenant).map(|(_, history)| history))
    }
}

/// A ledger without a head has a key that has signed nothing.
pub(crate) fn check_headless(tenant: &str, unused: bool) -> Result<(), CollectorError> {
    if unused {
        return Ok(());
    }
    Err(CollectorError::Refused(format!(
        "ledger {tenant} has a key that has signed, but no head: records and head were lost or taken away"
    )))
}

/// The signing key of a ledger is there and belongs to its public key. `known`: something was recorded under it.
pub(crate) fn check_signer(
    tenant: &str,
    signer: Result<Ed25519Signer, VaultError>,
    history: &KeyHistory,
    known: bool,
) -> Result<Option<Ed25519Signer>, CollectorError> {
    match signer {
        Ok(signer) if signer.verifier_key() == history.newest() => Ok(Some(signer)),
        Ok(_) => {
            let what = format!("the signing key of ledger {tenant} does not belong to its public key");
            Err(CollectorError::Refused(what))
        }
        Err(error) if known => {
            let what = format!("the signing key of ledger {tenant} cannot be read: {error}");
            Err(CollectorError::Refused(what))
        }
        // A crash between its two halves, before anything was signed with it.
        Err(_) => Ok(None),
    }
}

/// Writes the key that a rotation names to the public keys, unless it is there.
fn install(
    store: &KeyStore,
    tenant: &str,
    history: &mut KeyHistory,
    rotation: &Rotation,
) -> Result<(), CollectorError> {
    if history.handover_at(rotation.size) == Some(&rotation.new) {
        return Ok(());
    }
    history
        .hand_over(rotation.new.clone(), rotation.size)
        .map_err(|error| CollectorError::Refused(format!("the public keys of ledger {tenant}: {error}")))?;
    Ok(store.write_keys(tenant, history)?)
}
