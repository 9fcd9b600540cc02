//! Taking in what sources send: each frame leaves one WAL record that carries its number.
//!
//! What is a source's fault is answered to that source, and nothing of it is written; only what leaves
//! the outcome of a write unknown ends the sequencer.

use super::succession::Missing;
use super::*;

impl Sequencer {
    /// Takes in what is new of a batch. The inner error is the source's, the outer one ends the process.
    pub(super) fn take_batch(
        &mut self,
        batch: Batch,
        acknowledged: Option<&Acknowledged>,
        receipts: bool,
    ) -> Result<Result<Ack, BatchError>, CollectorError> {
        let incarnation = batch.incarnation;
        let mark = self.state.source(incarnation).map_or(0, |source| source.mark);
        let mut missing = Vec::new();
        if let Some(told) = acknowledged.filter(|told| told.seq > mark) {
            if self.tokens.is_own(incarnation, told) {
                // Only this collector can have made the token: it once had more than it has now.
                return Err(CollectorError::Refused(format!(
                    "source {} was acknowledged up to {}, but the records here end at {mark}: an old copy was restored",
                    batch.source_id, told.seq
                )));
            }
            match self.acknowledged_before(incarnation, mark + 1, told) {
                Some(gap) => missing.push(gap),
                None => return Ok(Err(BatchError::ForeignAck(told.seq))),
            }
        }
        if let Some(known) = self.state.source(incarnation)
            && known.id != batch.source_id
        {
            let what = format!("this spool belongs to source {}, not {}", known.id, batch.source_id);
            return Ok(Err(BatchError::Forbidden(what)));
        }
        let expected = missing.last().map_or(mark, Missing::last) + 1;
        if let Some(first) = batch.frames.first().filter(|first| first.seq > expected) {
            match self.not_offered(incarnation, expected, first.seq) {
                Some(gap) => missing.push(gap),
                None => return Ok(Err(BatchError::OutOfOrder { expected, got: first.seq })),
            }
        }
        let unknown = batch.frames.iter().find_map(|frame| match &frame.content {
            Content::Start(start, _) if !self.config.tenants.contains(&start.tenant) => Some(&start.tenant),
            Content::Gap(gap) if !self.config.tenants.contains(&gap.tenant) => Some(&gap.tenant),
            Content::Rejections(counted) if !self.config.tenants.contains(&counted.tenant) => {
                Some(&counted.tenant)
            }
            _ => None,
        });
        if let Some(tenant) = unknown {
            let what = format!("unknown tenant {tenant:?}: it is not in the collector's configuration");
            return Ok(Err(BatchError::Forbidden(what)));
        }
        if self.state.source(incarnation).is_none() {
            let source = Record::Source { incarnation, id: &batch.source_id };
            match self.change_files().and_then(|()| self.append(&source)) {
                Ok(_) => {}
                Err(CollectorError::Log(LogError::Full(why))) => return Ok(Err(BatchError::Full(why))),
                Err(error) => return Err(error),
            }
        }
        for gap in &missing {
            match self.state_gap(&batch.source_id, incarnation, gap) {
                Ok(()) => {}
                Err(CollectorError::Log(LogError::Full(why))) => return Ok(Err(BatchError::Full(why))),
                Err(error) => return Err(error),
            }
        }
        let mark = self.state.source(incarnation).map_or(0, |source| source.mark);
        let mut made = Vec::new();
        for frame in batch.frames.into_iter().filter(|frame| frame.seq > mark) {
            let origin = Origin { incarnation, seq: frame.seq };
            match self.take_frame(&batch.source_id, origin, frame) {
                Ok(Some(receipt)) if receipts => made.push(receipt),
                Ok(_) => {}
                Err(CollectorError::Log(LogError::Full(why))) => return Ok(Err(BatchError::Full(why))),
                // One source's fault, and nothing of it was written: the others go on.
                Err(CollectorError::Log(error @ LogError::TooLarge(_))) => {
                    return Ok(Err(BatchError::Malformed(error.to_string())));
                }
                Err(CollectorError::Unfit(what)) => return Ok(Err(BatchError::Malformed(what))),
                Err(error) => return Err(error),
            }
        }
        let seq = self.state.source(incarnation).map_or(0, |source| source.mark);
        Ok(Ok(Ack {
            seq,
            token: self.tokens.make(incarnation, seq),
            level: "logged".to_owned(),
            spool_key: self.spool_key.clone(),
            receipts: made,
        }))
    }

    /// Takes in one frame. It leaves exactly one WAL record that carries its number, the last it appends.
    fn take_frame(
        &mut self,
        source_id: &str,
        origin: Origin,
        frame: Opened,
    ) -> Result<Option<Receipt>, CollectorError> {
        self.change_files()?;
        let event_id = frame.event_id;
        match frame.content {
            Content::Start(start, piece) => self.take_start(origin, event_id, *start, &piece).map(|()| None),
            Content::Input(meta, piece) => {
                self.take_piece(origin, event_id, Stream::Input, &meta, &piece).map(|()| None)
            }
            Content::Output(meta, piece) => {
                self.take_piece(origin, event_id, Stream::Output, &meta, &piece).map(|()| None)
            }
            Content::End(end, piece) => self.take_end(source_id, origin, event_id, *end, &piece),
            Content::Heartbeat => self.append(&Record::Taken(origin)).map(|_| None),
            Content::Gap(gap) => self.take_gap(source_id, origin, event_id, &gap).map(Some),
            Content::ConfigChanged(change) => {
                self.take_config_change(source_id, origin, event_id, &change).map(Some)
            }
            Content::Rejections(counted) => {
                self.take_rejections(source_id, origin, event_id, &counted).map(Some)
            }
            Content::Started(notice) => {
                for (incarnation, event_id) in self.state.abandoned(source_id, origin.incarnation, origin.seq)
                {
                    self.interrupt(source_id, incarnation, event_id)?;
                }
                self.take_notice(event_type::SOURCE_STARTED, source_id, origin, event_id, &notice).map(Some)
            }
            Content::Stopped(notice) => {
                self.take_notice(event_type::SOURCE_STOPPED, source_id, origin, event_id, &notice).map(Some)
            }
        }
    }

    fn take_start(
        &mut self,
        origin: Origin,
        event_id: Uuid,
        start: Start,
        piece: &[u8],
    ) -> Result<(), CollectorError> {
        if self.state.open_request(origin.incarnation, event_id).is_some() {
            tracing::warn!(%event_id, seq = origin.seq, "a second start of an open request was passed over");
            return self.append(&Record::Taken(origin)).map(|_| ());
        }
        let now = clock::now();
        let mut private = start.private.clone();
        let (draft, part) = {
            let mut vault = lock(&self.vault);
            let subject = draft::subject_of(&mut vault, &start, now)?;
            let draft = draft::from_start(&mut vault, event_id, &start, subject, &mut private);
            let context = part_context(&start.tenant, event_id, origin);
            let part = seal_part(
                &mut vault,
                &start.tenant,
                subject,
                now.month(),
                &context,
                &to_json(&private)?,
                piece,
            )?;
            (draft, part)
        };
        let draft = serde_json::to_vec(&draft).map_err(|error| CollectorError::Sign(error.to_string()))?;
        self.append(&Record::Open { origin, event_id, tenant: &start.tenant, draft: &draft, part: &part })?;
        Ok(())
    }

    fn take_piece(
        &mut self,
        origin: Origin,
        event_id: Uuid,
        stream: Stream,
        meta: &PieceMeta,
        piece: &[u8],
    ) -> Result<(), CollectorError> {
        let open =
            self.state.open_request(origin.incarnation, event_id).filter(|open| open.refs.len() < REFS_MAX);
        let Some((tenant, subject)) = open.map(owner_of) else {
            // No gateway sends such a thing; a source that does must not stop the others. Its entry then
            // commits to more than its payload holds, and says so when it is shown.
            tracing::warn!(%event_id, seq = origin.seq, "a piece without a start, or beyond the limit, was passed over");
            return self.append(&Record::Taken(origin)).map(|_| ());
        };
        let context = part_context(&tenant, event_id, origin);
        let month = clock::now().month();
        let meta = if *meta == PieceMeta::default() { Vec::new() } else { to_json(meta)? };
        let part = seal_part(&mut lock(&self.vault), &tenant, subject, month, &context, &meta, piece)?;
        self.append(&Record::Part { origin, event_id, stream, part: &part }).map(|_| ())
    }

    fn take_end(
        &mut self,
        source_id: &str,
        origin: Origin,
        event_id: Uuid,
        end: End,
        piece: &[u8],
    ) -> Result<Option<Receipt>, CollectorError> {
        let Some(open) = self.state.open_request(origin.incarnation, event_id) else {
            if self.tokens.newest_predecessor().is_some() {
                return self.state_begun_before(source_id, origin, event_id, end.start_seq).map(Some);
            }
            tracing::warn!(%event_id, seq = origin.seq, "the end of a request without a start was passed over");
            return self.append(&Record::Taken(origin)).map(|_| None);
        };
        let (tenant, subject) = owner_of(open);
        let (mut entry, refs, start_seq) = (open.draft.clone(), open.refs.clone(), open.origin.seq);
        let mut private = end.private.clone();
        // One moment for all of it: the price is that of the entry's timestamp.
        let now = clock::now();
        let part = {
            let mut vault = lock(&self.vault);
            draft::apply_end(&mut vault, &mut entry, &end, &mut private);
            let context = part_context(&tenant, event_id, origin);
            seal_part(&mut vault, &tenant, subject, now.month(), &context, &to_json(&private)?, piece)?
        };
        self.pricing.fill(&mut entry, &end, now);
        entry.source =
            Some(draft::source(source_id, origin.incarnation, origin.seq, Some(start_seq), Some(end.time)));
        self.append_entry_at(now, origin, event_id, entry, refs, &part).map(Some)
    }

    /// Writes the entry of a request that its source can no longer end, from what survived of it.
    fn interrupt(
        &mut self,
        source_id: &str,
        incarnation: Uuid,
        event_id: Uuid,
    ) -> Result<(), CollectorError> {
        // Its pieces may be in this very group: they must be readable.
        self.wal.flush()?;
        let Some(open) = self.state.open_request(incarnation, event_id) else { return Ok(()) };
        let (tenant, subject) = owner_of(open);
        let (mut entry, refs, start) = (open.draft.clone(), open.refs.clone(), open.origin);
        let mut input = Committer::new(random()?);
        let mut output = Committer::new(random()?);
        let mut parts = Parts::new(self.store.view(), &self.vault);
        for place in &refs {
            let found = match parts.read(*place, &tenant, event_id) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                // What cannot be read did not survive. Its key may be gone, and that must stop nobody.
                Err(error) => {
                    tracing::warn!(%event_id, %error, "a part of an interrupted request cannot be read");
                    continue;
                }
            };
            match found.stream {
                Stream::Input => input.update(&found.bytes),
                Stream::Output => output.update(&found.bytes),
            }
        }
        let mut private = Private::default();
        if entry.input.is_none() {
            let commitment = input.finish();
            entry.input = Some(draft::side(&commitment, None, true));
            private.input = Some(commitment);
        }
        let commitment = output.finish();
        entry.output = Some(draft::side(&commitment, None, true));
        private.output = Some(commitment);
        entry.status = Some(Status::Interrupted);
        entry.source = Some(draft::source(source_id, start.incarnation, start.seq, Some(start.seq), None));
        let origin = Origin { incarnation, seq: 0 };
        let context = part_context(&tenant, event_id, origin);
        let month = clock::now().month();
        let part =
            seal_part(&mut lock(&self.vault), &tenant, subject, month, &context, &to_json(&private)?, b"")?;
        self.append_entry(origin, event_id, entry, refs, &part)?;
        Ok(())
    }

    pub(super) fn record_own(&mut self, mut entry: Entry, private: &[u8]) -> Result<Receipt, CollectorError> {
        self.change_files()?;
        let event_id = Uuid::now_v7();
        OPERATIONS.clone_into(&mut entry.tenant_id);
        let now = clock::now();
        let part = {
            let mut vault = lock(&self.vault);
            let subject = vault.subject(OPERATIONS, Basis::RouteDay, &format!("operations/{}", now.day()))?;
            entry.subject_ref = Some(subject.to_string());
            let context = part_context(OPERATIONS, event_id, Origin::default());
            seal_part(&mut vault, OPERATIONS, subject, now.month(), &context, private, b"")?
        };
        self.append_entry(Origin::default(), event_id, entry, Vec::new(), &part)
    }
}
