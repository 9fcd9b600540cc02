//! What follows sealing: the manifests are entered and signed, and the files that they replace may go.

use super::*;

/// Frames of one open request that are copied; a request with more keeps its files until it ends.
const COPIED_FRAMES_MAX: usize = 1024;

impl Sequencer {
    /// Begins a new file. The inner error is one that can be waited out.
    pub(super) fn rotate(&mut self) -> Result<Result<u64, String>, CollectorError> {
        self.sign()?;
        match self.begin_file() {
            Err(CollectorError::Log(LogError::Full(why))) => Ok(Err(why)),
            outcome => outcome.map(|()| Ok(self.wal.current().map_or(0, |(number, _, _)| number))),
        }
    }

    /// Goes on where a crash stopped: segments that are whole are entered, and what they replace may go.
    pub(super) fn finish_sealing(&mut self) -> Result<(), CollectorError> {
        let view = self.store.view();
        let segments: Vec<_> = view.all_segments().cloned().collect();
        let before = view.sealed_before();
        // What was entered when there was no room may not be signed yet.
        let all_entered = !self.unfinished.load(Ordering::Relaxed)
            && segments.iter().all(|one| self.entered.contains(&one.manifest().segment));
        if all_entered {
            // What was entered was signed just before this.
            segments.iter().for_each(|segment| segment.set_signed());
        }
        if all_entered && view.files().first().is_none_or(|oldest| oldest.number() >= before) {
            return Ok(());
        }
        match self.take_sealed(&segments, before)? {
            Ok(()) => {}
            Err(why) => tracing::warn!(why, "no room to finish sealing"),
        }
        Ok(())
    }

    /// Enters, signs, and lets go. The inner error is one that can be waited out: whoever asks again finishes what
    /// is left.
    pub(super) fn take_sealed(
        &mut self,
        segments: &[Arc<Segment>],
        before: u64,
    ) -> Result<Result<(), String>, CollectorError> {
        let outcome = match self.replace_log(segments, before) {
            Err(CollectorError::Log(LogError::Full(why))) => Ok(Err(why)),
            outcome => outcome.map(Ok),
        };
        self.unfinished.store(!matches!(outcome, Ok(Ok(()))), Ordering::Relaxed);
        outcome
    }

    /// The order is the contract. Done again, it does what is left.
    fn replace_log(&mut self, segments: &[Arc<Segment>], before: u64) -> Result<(), CollectorError> {
        // 1. The manifest's hash is an entry: from here on no other segment can pass for this one. A crash before
        //    enters it at the next run, which finds the segment without its entry.
        for segment in segments {
            if self.entered.contains(&segment.manifest().segment) {
                continue;
            }
            self.enter(segment)?;
            self.entered.insert(segment.manifest().segment.clone());
        }
        self.faults.point("after the manifests are entered")?;
        // 2. Under a signed head.
        self.checkpoint()?;
        segments.iter().for_each(|segment| segment.set_signed());
        self.faults.point("after the manifests are signed")?;
        // 3. What is still open is copied forward. A crash here leaves it twice, and the copy counts.
        let mut oldest = self.state.oldest_needed(before);
        self.copy_forward(oldest)?;
        self.commit()?;
        self.faults.point("after open requests are copied")?;
        // What could not be copied stays where it is.
        if let Some(open) = self.state.oldest_open_file() {
            oldest = oldest.min(open);
        }
        // 4. Oldest first, so that a crash leaves files without a hole. Whoever reads them now holds them open.
        self.store.drop_files_before(oldest);
        while self.wal.remove_oldest_before(oldest)? {
            self.faults.point("after a file is removed")?;
        }
        self.state.forget_files_before(oldest);
        self.faults.point("after the files are removed")
    }

    fn enter(&mut self, segment: &Segment) -> Result<(), CollectorError> {
        let manifest = segment.manifest();
        let mut detail = serde_json::Map::new();
        detail.insert("bytes".to_owned(), segment.bytes().into());
        detail.insert("count".to_owned(), manifest.count.into());
        detail.insert("first".to_owned(), manifest.first.into());
        detail.insert("ledger".to_owned(), manifest.tenant.clone().into());
        detail.insert("manifest".to_owned(), segment.hash().to_string().into());
        let mut entry = self.own_entry(OPERATIONS, event_type::SEGMENT_SEALED, detail);
        entry.resource = Some(entry::Resource { id: manifest.segment.clone(), kind: "segment".to_owned() });
        self.append_entry(Origin::default(), Uuid::now_v7(), entry, Vec::new(), &[])?;
        Ok(())
    }

    /// Writes the frames of open requests that stand in files before `file_no` again.
    fn copy_forward(&mut self, file_no: u64) -> Result<(), CollectorError> {
        for (incarnation, event_id) in self.state.open_before(file_no) {
            let Some(open) = self.state.open_request(incarnation, event_id) else { continue };
            if open.refs.len() > COPIED_FRAMES_MAX {
                continue;
            }
            let refs = open.refs.clone();
            let vault = self.vault.clone();
            let mut parts = Parts::new(self.store.view(), &vault);
            // The frames may be in this very group.
            self.wal.flush()?;
            for place in refs {
                let Some(record) = parts.record(place)? else {
                    let what = format!("a frame of the open request {event_id} cannot be read again");
                    return Err(CollectorError::Refused(what));
                };
                let record = match record {
                    Record::Kept(inner) => Record::Kept(inner),
                    record => Record::Kept(Box::new(record)),
                };
                self.append(&record)?;
            }
        }
        Ok(())
    }
}
