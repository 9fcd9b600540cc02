//! What somebody shows that a ledger's own key signed, held against what is here.
//!
//! Two trees of one ledger that its key signed are two histories, and of a larger one something is missing here. Either way
//! nothing more is signed: a signature cannot be taken back.

use crate::CollectorError;
use crate::proofs::root_at;
use crate::state::State;
use crate::store::View;
use crate::tiles::{Tiles, Tree};
use indelible_ledger::{Checkpoint, Hash};

/// A checkpoint that a ledger's key signed, and who shows it. Whoever makes one has checked the signature.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose ledger.
    pub tenant: String,
    /// Who shows it, as people call them.
    pub who: String,
    /// What was signed.
    pub checkpoint: Checkpoint,
}

impl Claim {
    /// How it differs from a ledger of `here` entries.
    pub fn words(&self, here: u64) -> String {
        let (size, origin) = (self.checkpoint.size(), self.checkpoint.origin());
        let what = if size > here { "more" } else { "another history" };
        format!(
            "{} has {what} of ledger {origin}: {size} entries that this ledger's key signed, and {here} are here",
            self.who
        )
    }

    /// Whether the ledger as it was read back begins with the tree that is shown.
    fn hold(&self, state: &State, tiles: &Tiles, view: &View) -> Result<(), CollectorError> {
        let ledger = state.ledger(&self.tenant);
        let (here, size) = (ledger.map_or(0, |ledger| ledger.size()), self.checkpoint.size());
        let refused = || CollectorError::Refused(self.words(here));
        if size > here {
            return Err(refused());
        }
        if ledger.is_some_and(|ledger| ledger.size() == size && ledger.root() == self.checkpoint.root()) {
            return Ok(());
        }
        match root_of(&self.tenant, size, self.checkpoint.root(), tiles, view)? {
            true => Ok(()),
            false => Err(refused()),
        }
    }
}

/// Holds what is shown, and what was signed before the entries that the log begins with, against the ledgers as they were read
/// back.
///
/// # Errors
/// [`CollectorError::Refused`] with what is missing here, or was signed twice.
pub(crate) fn hold_all(
    claims: &[Claim],
    state: &State,
    tiles: &Tiles,
    view: &View,
) -> Result<(), CollectorError> {
    claims.iter().try_for_each(|claim| claim.hold(state, tiles, view))?;
    for (tenant, ledger) in state.ledgers() {
        for (size, root) in ledger.signed_before() {
            if !root_of(tenant, size, root, tiles, view)? {
                let what =
                    format!("ledger {tenant}: the first {size} entries are not the ones that were signed");
                return Err(CollectorError::Refused(what));
            }
        }
    }
    Ok(())
}

/// Whether this is the root over the first `size` entries. Tiles that do not lead to it are made again once.
fn root_of(tenant: &str, size: u64, root: Hash, tiles: &Tiles, view: &View) -> Result<bool, CollectorError> {
    for _ in 0..2 {
        let tree = Tree::new(tiles, view, tenant, size);
        if root_at(size, |level, index| tree.node(level, index))? == root {
            return Ok(true);
        }
        tiles.forget(tenant);
    }
    Ok(false)
}
