//! What a crash, a power cut, a full disk or rot does to a log.
//!
//! The disk is simulated: a power cut keeps what was synced and any subset of the other sectors. After
//! each one, recovery must give back every frame that a `sync` covered, as it was, followed by nothing
//! that was never written, and must not refuse to start.

#![allow(clippy::unwrap_used)]

use indelible_os::sim::SimDir;
use indelible_spool::frame::{FileHeader, Frame, Kind, Role};
use indelible_spool::reader::{End, FileReader};
use indelible_spool::seal::{SealedBy, SpoolPrivateKey};
use indelible_spool::shared::SharedLog;
use indelible_spool::tail::Tail;
use indelible_spool::writer::{Claim, LogWriter, Options, Position, Recovered, SealTo};
use indelible_spool::{LogError, reader};
use proptest::prelude::*;
use std::sync::Arc;

fn wal() -> Options {
    Options { role: Role::Wal, limit_bytes: None, file_bytes: 64 << 10, seal: None }
}

fn open(dir: &SimDir) -> Result<(LogWriter, Recovered, Vec<Vec<u8>>), LogError> {
    let mut bodies = Vec::new();
    let visit = |_: &FileHeader, at: Position, frame: Frame<'_>| {
        assert_eq!(at.seq, bodies.len() as u64 + 1, "frames come in order, each once");
        bodies.push(frame.body.to_vec());
        Ok(())
    };
    let (writer, recovered) = LogWriter::open(Arc::new(dir.clone()), wal(), visit, || 0)?;
    Ok((writer, recovered, bodies))
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Flush,
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0usize..9000).prop_map(Step::Append),
        2 => Just(Step::Flush),
        2 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 1..60)
}

fn body(n: u64, len: usize) -> Vec<u8> {
    (0..len).map(|i| (n as usize * 31 + i * 7) as u8 | 1).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_power_cut_loses_nothing_that_was_synced_and_never_stops_a_start(
        lives in prop::collection::vec((steps(), any::<u64>()), 1..4),
    ) {
        let mut dir = SimDir::new();
        let mut known: Vec<Vec<u8>> = Vec::new();
        for (steps, seed) in lives {
            let (mut writer, _, found) = open(&dir).expect("a power cut never stops a start");
            prop_assert_eq!(&found, &known, "what one recovery found, the next finds too");
            let mut written = found;
            let mut synced = written.len();
            for step in steps {
                match step {
                    Step::Append(len) => {
                        let body = body(written.len() as u64, len);
                        writer.append(Kind::Entry, &[&body], Claim::Admit).unwrap();
                        written.push(body);
                    }
                    Step::Flush => writer.flush().unwrap(),
                    Step::Sync => { writer.sync().unwrap(); synced = written.len(); }
                }
            }
            let mut state = seed;
            dir = dir.power_cut(|_, _| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state >> 63 == 1
            });
            let (_, _, after) = open(&dir).expect("a power cut never stops a start");
            prop_assert!(after.len() >= synced, "{} frames were synced, {} are left", synced, after.len());
            prop_assert_eq!(&after[..], &written[..after.len()]);
            known = after;
        }
    }

    #[test]
    fn rot_in_what_was_synced_stops_the_start_and_names_the_place(lens in prop::collection::vec(0usize..3000, 2..30), position: prop::sample::Index, bit in 0u8..8) {
        let dir = SimDir::new();
        let (mut writer, _, _) = open(&dir).unwrap();
        for (n, len) in lens.iter().enumerate() {
            writer.append(Kind::Entry, &[&body(n as u64, *len)], Claim::Admit).unwrap();
            writer.sync().unwrap();
        }
        let written = writer.current().unwrap().2;
        drop(writer);
        let names = reader::list(&dir, "wal").unwrap();
        let last = names.last().unwrap().1.clone();
        // The last mark itself is not covered by a later one; rot there costs nothing that was promised.
        let at = position.index(written as usize - 29);
        dir.tamper(&last, |bytes| bytes[at] ^= 1 << bit);
        match open(&dir) {
            Err(LogError::Damaged { file, offset, .. }) => {
                prop_assert_eq!(file, last);
                prop_assert!(offset <= at as u64);
            }
            Err(LogError::Version { .. }) => {}
            Err(other) => prop_assert!(false, "unexpected error {}", other),
            Ok((_, _, found)) => prop_assert_eq!(found.len(), lens.len(), "nothing may be lost in silence"),
        }
    }
}

/// A life that rotates files and closes the last one; says how many frames were synced when it ended.
fn rotate_and_close(dir: &SimDir) -> usize {
    let mut synced = 0;
    let mut live = || -> Result<(), LogError> {
        let (mut writer, _, found) = open(dir)?;
        synced = found.len();
        for n in 0..24 {
            writer.append(Kind::Entry, &[&body(n, 9000)], Claim::Admit)?;
            if n % 5 == 4 {
                writer.sync()?;
                synced = found.len() + n as usize + 1;
            }
        }
        writer.close()?;
        synced = found.len() + 24;
        Ok(())
    };
    // Ended by the fuse, or by itself.
    let _ = live();
    synced
}

#[test]
fn a_kill_or_a_power_cut_at_any_step_of_rotation_and_close_is_recovered_from() {
    let whole = SimDir::new();
    rotate_and_close(&whole);
    assert!(reader::list(&whole, "wal").unwrap().len() >= 3, "it rotates");
    for (fuse, seed) in (0..120u64).flat_map(|fuse| (0..6u64).map(move |seed| (fuse, seed))) {
        let dir = SimDir::new();
        dir.set_fuse(Some(fuse));
        let synced = rotate_and_close(&dir);
        dir.set_fuse(None);
        let mut state = seed ^ fuse << 8;
        let after = dir.power_cut(|_, _| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Seed 0 is a kill: everything written survives.
            seed == 0 || state >> 63 == 1
        });
        let found = match open(&after) {
            Ok((_, _, found)) => found,
            Err(error) => panic!("fuse {fuse}, seed {seed}: {error}"),
        };
        assert!(
            found.len() >= synced,
            "fuse {fuse}, seed {seed}: {synced} were synced, {} are left",
            found.len()
        );
        let (_, _, again) = open(&after).unwrap();
        assert_eq!(again, found, "fuse {fuse}, seed {seed}: what one recovery found, the next finds too");
    }
}

#[test]
fn a_file_that_is_missing_in_the_middle_stops_the_start() {
    let dir = SimDir::new();
    let (mut writer, _, _) = open(&dir).unwrap();
    for n in 0..40 {
        writer.append(Kind::Entry, &[&body(n, 8000)], Claim::Admit).unwrap();
    }
    writer.close().unwrap();
    assert!(reader::list(&dir, "wal").unwrap().len() >= 3);
    indelible_os::durable::Dir::remove(&dir, "00000002.wal").unwrap();
    assert!(matches!(open(&dir), Err(LogError::Damaged { .. })));
}

#[test]
fn a_tail_below_what_was_acknowledged_is_not_cut() {
    let dir = SimDir::new();
    let (mut writer, _, _) = open(&dir).unwrap();
    for n in 0..3 {
        writer.append(Kind::Entry, &[&body(n, 600)], Claim::Admit).unwrap();
    }
    writer.flush().unwrap();
    drop(writer);
    dir.tamper("00000001.wal", |bytes| bytes[1500] ^= 1);
    let outcome = LogWriter::open(Arc::new(dir.clone()), wal(), |_, _, _| Ok(()), || 3);
    assert!(matches!(outcome, Err(LogError::Damaged { .. })));
    let (_, recovered, found) = open(&dir).unwrap();
    assert_eq!(found.len(), 2);
    assert!(recovered.cut.is_some());
}

#[test]
fn a_full_disk_refuses_what_is_new_and_still_takes_what_settles_the_old() {
    let dir = SimDir::new();
    dir.set_space_left(Some(20 << 20));
    let options = Options { file_bytes: 128 << 20, ..wal() };
    let (mut writer, _) = LogWriter::open(Arc::new(dir.clone()), options, |_, _, _| Ok(()), || 0).unwrap();
    let big = vec![7; 1 << 20];
    let mut admitted = 0;
    while writer.append(Kind::Start, &[&big], Claim::Admit).is_ok() {
        admitted += 1;
        writer.flush().unwrap();
    }
    assert!(matches!(writer.append(Kind::Start, &[&big], Claim::Admit), Err(LogError::Full(_))));
    for _ in 0..4 {
        writer.append(Kind::End, &[&big], Claim::Settle).expect("the reserve is for this");
    }
    writer.sync().unwrap();
    drop(writer);
    dir.set_space_left(None);
    let mut count = 0;
    LogWriter::open(
        Arc::new(dir),
        wal(),
        |_, _, _| {
            count += 1;
            Ok(())
        },
        || 0,
    )
    .unwrap();
    assert_eq!(count, admitted + 4, "nothing that was accepted is lost");
}

#[test]
fn a_failed_fdatasync_poisons_the_log_and_is_never_retried() {
    let dir = SimDir::new();
    let (_, log) = sealed_log(&dir);
    let first = log.append(Kind::Start, &[1; 16], &[b"a"], Claim::Admit).unwrap();
    log.synced().wait(first.seq).blocking_recv().unwrap();
    dir.set_sync_fails(true);
    let second = log.append(Kind::Start, &[2; 16], &[b"b"], Claim::Admit).unwrap();
    assert!(log.synced().wait(second.seq).blocking_recv().is_err(), "the waiter is told");
    dir.set_sync_fails(false);
    assert!(matches!(log.append(Kind::Start, &[3; 16], &[b"c"], Claim::Admit), Err(LogError::Poisoned(_))));
    assert!(log.stop().is_err());
}

/// One call fails and the next ones work, at any place in appending, rotating and syncing. Whoever is not told that
/// the log is over relies on it to go on: one that had lost its file refused everybody, and nobody restarted it.
#[test]
fn a_log_either_says_that_it_is_over_or_goes_on() {
    let (mut over, mut gone_on) = (0, 0);
    for calls in 0.. {
        let dir = SimDir::new();
        let (mut writer, ..) = open(&dir).unwrap();
        writer.begin_file().unwrap();
        dir.set_fault(Some(calls));
        let mut written = Vec::new();
        let mut outcome = Ok(());
        while outcome.is_ok() && written.len() < 50 {
            let body = body(written.len() as u64, 3000);
            outcome = writer.append(Kind::Taken, &[&body], Claim::Admit).map(|_| written.push(body));
            outcome = outcome.and_then(|()| {
                if written.len() % 7 == 0 { writer.sync().map(|_| ()) } else { writer.flush() }
            });
        }
        if !dir.fault_is_over() {
            break;
        }
        match outcome {
            Ok(()) => {}
            Err(LogError::Poisoned(_)) => {
                over += 1;
                continue;
            }
            Err(error) => {
                gone_on += 1;
                written.push(body(99, 3000));
                let again = writer.append(Kind::Taken, &[&body(99, 3000)], Claim::Admit);
                assert!(again.is_ok(), "call {calls} failed ({error}), and then {again:?}");
            }
        }
        writer.sync().unwrap();
        drop(writer);
        assert_eq!(open(&dir.power_cut(|_, _| false)).unwrap().2, written, "call {calls}");
    }
    assert!(over > 5 && gone_on > 5, "over {over} times, gone on {gone_on} times");
}

/// A disk that stops at any of the calls of appending, rotating and syncing: whoever waits is told, and what was
/// said to be on it is there.
#[test]
fn nobody_waits_for_ever_for_a_log_whose_disk_stopped() {
    for calls in 0..60 {
        let dir = SimDir::new();
        let (_, log) = sealed_log(&dir);
        dir.set_fuse(Some(calls));
        let mut waiting = Vec::new();
        for n in 0..40u8 {
            let piece = vec![n; 3000];
            let appended = match n % 2 {
                0 => log.append(Kind::Start, &[n; 16], &[&piece], Claim::Admit),
                _ => log.append_for_sync(Kind::End, &[n; 16], &[&piece], Claim::Settle),
            };
            match appended {
                Ok(at) => waiting.push((at.seq, log.synced().wait(at.seq))),
                Err(_) => break,
            }
        }
        let mut reached = 0;
        for (seq, mut wait) in waiting {
            let asked = std::time::Instant::now();
            let outcome = loop {
                match wait.try_recv() {
                    Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {
                        assert!(asked.elapsed().as_secs() < 20, "{calls} calls: {seq} waits for ever");
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                    outcome => break outcome,
                }
            };
            if outcome.is_ok() {
                reached = seq;
            }
        }
        drop(log);
        dir.set_fuse(None);
        let (_, again) = sealed_log(&dir.power_cut(|_, _| false));
        assert!(again.appended() >= reached, "{calls} calls: {reached} was said to be on the disk");
    }
}

/// Where space cannot be reserved ahead, the disk may be full when frames that were accepted are written.
#[test]
fn a_log_goes_on_once_a_full_disk_has_room_again() {
    let dir = SimDir::new();
    let (_, log) = sealed_log(&dir);
    let mut last = 0;
    dir.set_space_left(Some(0));
    for n in 0..4u8 {
        if let Ok(at) = log.append_for_sync(Kind::End, &[n; 16], &[&[n; 100]], Claim::Settle) {
            last = at.seq;
        }
    }
    dir.set_space_left(None);
    log.synced().wait(last).blocking_recv().unwrap();
    let at = log.append(Kind::Start, &[9; 16], &[b"more"], Claim::Admit).unwrap();
    log.synced().wait(at.seq).blocking_recv().unwrap();
    log.stop().unwrap();
}

#[test]
fn only_the_collector_can_read_a_spool_and_only_synced_frames_are_shipped() {
    let dir = SimDir::new();
    let (private, log) = sealed_log(&dir);
    let secret = b"a prompt that must not be readable on this host";
    for n in 0..50u8 {
        let at = log.append(Kind::Start, &[n; 16], &[secret, &[n]], Claim::Admit).unwrap();
        log.synced().wait(at.seq).blocking_recv().unwrap();
    }
    for (_, name) in reader::list(&dir, "spool").unwrap() {
        let bytes = dir.bytes(&name).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    }
    let mut tail = Tail::new(Arc::new(dir.clone()), "spool", 0);
    let mut seen = 0;
    while let Some(batch) = tail.next_batch(log.synced_to(), 700).unwrap() {
        let (header, _) = FileHeader::parse(&batch.header).unwrap();
        let sealed = SealedBy::parse(&header.ext).unwrap();
        assert_eq!(sealed.source_id, "gateway-1");
        let cipher = private.open_file(&header, &sealed).unwrap();
        let mut rest = &batch.frames[..];
        while !rest.is_empty() {
            let (frame, len) = indelible_spool::frame::parse(rest, &header.file_id).unwrap();
            let (clear, plain) = cipher.open(frame.seq, &rest[..17], frame.body).unwrap();
            assert_eq!(clear, [seen as u8; 16]);
            assert_eq!(plain, [&secret[..], &[seen as u8]].concat());
            let mut altered = frame.body.to_vec();
            altered[20] ^= 1;
            assert!(cipher.open(frame.seq, &rest[..17], &altered).is_err());
            assert!(cipher.open(frame.seq + 1, &rest[..17], frame.body).is_err());
            seen += 1;
            rest = &rest[len..];
        }
    }
    assert_eq!(seen, 50);
    dir.set_sync_fails(true);
    log.append(Kind::Start, &[9; 16], &[b"unsynced"], Claim::Admit).unwrap();
    assert!(tail.next_batch(log.synced_to(), 700).unwrap().is_none(), "an unsynced frame is not shipped");
}

#[test]
fn an_incarnation_is_made_only_when_the_directory_is_empty() {
    let dir = SimDir::new();
    let (_, log) = sealed_log(&dir);
    let incarnation = log.log_id();
    log.stop().unwrap();
    let (_, again) = sealed_log(&dir);
    assert_eq!(again.log_id(), incarnation);
    assert_eq!(again.remove_before(u64::MAX).unwrap(), 1, "the newest file is never removed");
    drop(again);
    assert_eq!(sealed_log(&dir).1.log_id(), incarnation);
    assert_ne!(sealed_log(&SimDir::new()).1.log_id(), incarnation);
}

fn sealed_log(dir: &SimDir) -> (SpoolPrivateKey, SharedLog) {
    let private = SpoolPrivateKey::from_bytes([5; 32]).unwrap();
    let seal = SealTo { source_id: "gateway-1".to_owned(), key: private.public().clone() };
    let options = Options { role: Role::Spool, limit_bytes: None, file_bytes: 16 << 10, seal: Some(seal) };
    let (writer, _) = LogWriter::open(Arc::new(dir.clone()), options, |_, _, _| Ok(()), || 0).unwrap();
    (private, SharedLog::start(writer).unwrap())
}

#[test]
fn a_reader_beside_the_writer_does_not_take_a_frame_in_the_making_for_damage() {
    let dir = SimDir::new();
    let (mut writer, _, _) = open(&dir).unwrap();
    for n in 0..2 {
        writer.append(Kind::Taken, &[&body(n, 500)], Claim::Admit).unwrap();
    }
    writer.sync().unwrap();
    let name = reader::file_name(1, "wal");
    let whole = dir.bytes(&name).unwrap();
    let read = || {
        // Caught when half of the second frame was written.
        dir.tamper(&name, |bytes| bytes[800..900].fill(0));
        let mut file = FileReader::open(&dir, &name).unwrap().unwrap();
        let mut frames = 0;
        while file.next_frame().unwrap().is_some() {
            frames += 1;
        }
        assert_eq!(frames, 1);
        file
    };
    let mut file = read();
    dir.tamper(&name, |bytes| bytes.clone_from(&whole));
    assert_eq!(file.judge_end(false, true).unwrap(), End::Growing);
    assert!(
        matches!(read().judge_end(false, true), Err(LogError::Damaged { .. })),
        "what stays bad is damage"
    );
}
