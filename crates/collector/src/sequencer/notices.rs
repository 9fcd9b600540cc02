//! What a source says of itself: that it came up or went down, what it could not record, what it counted,
//! and which configuration it took up. Each becomes an entry at once.

use super::*;
use indelible_record::canonical::INTEGER_MAX;
use indelible_record::commitment::from_hex;
use serde_json::{Map, Value};

/// Most names of changed keys in one entry, and most reasons.
const NAMES_MAX: usize = 64;

impl Sequencer {
    pub(super) fn take_gap(
        &mut self,
        source_id: &str,
        origin: Origin,
        event_id: Uuid,
        gap: &Gap,
    ) -> Result<Receipt, CollectorError> {
        let mut detail = serde_json::Map::new();
        let cause = draft::clear_or_hashed(&mut lock(&self.vault), &gap.tenant, &gap.cause);
        detail.insert("cause".to_owned(), cause.into());
        detail.insert("count".to_owned(), gap.count.min(INTEGER_MAX).into());
        detail.insert("from".to_owned(), clock::Utc(gap.from).to_string().into());
        detail.insert("to".to_owned(), clock::Utc(gap.to).to_string().into());
        let mut entry = self.own_entry(&gap.tenant, event_type::GAP, detail);
        entry.source = Some(draft::source(source_id, origin.incarnation, origin.seq, None, None));
        self.append_entry(origin, event_id, entry, Vec::new(), &[])
    }

    pub(super) fn take_notice(
        &mut self,
        event: &str,
        source_id: &str,
        origin: Origin,
        event_id: Uuid,
        notice: &SourceNotice,
    ) -> Result<Receipt, CollectorError> {
        let version = draft::clear_or_hashed(&mut lock(&self.vault), OPERATIONS, &notice.version);
        let mut detail = serde_json::Map::new();
        put_hash(&mut detail, "configuration", notice.configuration.as_deref());
        put_hash(&mut detail, "api_keys", notice.api_keys.as_deref());
        let mut entry = self.own_entry(OPERATIONS, event, detail);
        entry.app_version = Some(version);
        entry.source =
            Some(draft::source(source_id, origin.incarnation, origin.seq, None, Some(notice.time)));
        self.append_entry(origin, event_id, entry, Vec::new(), &[])
    }

    pub(super) fn take_config_change(
        &mut self,
        source_id: &str,
        origin: Origin,
        event_id: Uuid,
        change: &ConfigChange,
    ) -> Result<Receipt, CollectorError> {
        let mut detail = Map::new();
        {
            let mut vault = lock(&self.vault);
            let mut clear = |text: &String| draft::clear_or_hashed(&mut vault, OPERATIONS, text);
            detail.insert("file".to_owned(), clear(&change.file).into());
            for (name, names) in [("changed", &change.changed), ("pending", &change.pending)] {
                if !names.is_empty() {
                    let shown: Vec<String> = names.iter().take(NAMES_MAX).map(&mut clear).collect();
                    detail.insert(name.to_owned(), shown.into());
                }
                if names.len() > NAMES_MAX {
                    detail.insert(format!("{name}_count"), names.len().into());
                }
            }
        }
        put_hash(&mut detail, "before", change.before.as_deref());
        put_hash(&mut detail, "after", change.after.as_deref());
        let mut entry = self.own_entry(OPERATIONS, event_type::CONFIG_CHANGED, detail);
        entry.source =
            Some(draft::source(source_id, origin.incarnation, origin.seq, None, Some(change.time)));
        self.append_entry(origin, event_id, entry, Vec::new(), &[])
    }

    pub(super) fn take_rejections(
        &mut self,
        source_id: &str,
        origin: Origin,
        event_id: Uuid,
        counted: &Rejections,
    ) -> Result<Receipt, CollectorError> {
        let tenant = &counted.tenant;
        let now = clock::now();
        let (detail, subject, part) = {
            let mut vault = lock(&self.vault);
            let reasons: Map<String, Value> = counted
                .reasons
                .iter()
                .take(NAMES_MAX)
                .map(|(reason, count)| {
                    (draft::clear_or_hashed(&mut vault, tenant, reason), (*count).min(INTEGER_MAX).into())
                })
                .collect();
            let mut detail = Map::new();
            detail.insert("count".to_owned(), counted.count.min(INTEGER_MAX).into());
            detail.insert("from".to_owned(), clock::Utc(counted.from).to_string().into());
            detail.insert("reasons".to_owned(), reasons.into());
            detail.insert("to".to_owned(), clock::Utc(counted.to).to_string().into());
            // Who was refused is nobody that a subject could be found for: one of a day, as for a route.
            let subject = vault.subject(tenant, Basis::RouteDay, &format!("rejections/{}", now.day()))?;
            let context = part_context(tenant, event_id, origin);
            let private = to_json(&counted.private)?;
            let part = seal_part(&mut vault, tenant, subject, now.month(), &context, &private, b"")?;
            (detail, subject, part)
        };
        let mut entry = self.own_entry(tenant, event_type::REJECTIONS, detail);
        entry.subject_ref = Some(subject.to_string());
        entry.source = Some(draft::source(source_id, origin.incarnation, origin.seq, None, Some(counted.to)));
        self.append_entry(origin, event_id, entry, Vec::new(), &part)
    }
}

/// Enters a hash that a source names; what is no hash is nobody's business here.
fn put_hash(detail: &mut Map<String, Value>, name: &str, hash: Option<&str>) {
    if let Some(hash) = hash.filter(|hash| hash.strip_prefix("sha256:").is_some_and(is_digest)) {
        detail.insert(name.to_owned(), hash.into());
    }
}

fn is_digest(hex: &str) -> bool {
    from_hex::<32>(hex).is_some()
}
