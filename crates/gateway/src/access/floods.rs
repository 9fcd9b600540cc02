//! Many refusals by one peer: the first ten of a minute have a record each, the others are counted in one.
//!
//! Without this, who has no key could fill the ledger and the spool. A peer is a network address; of IPv6,
//! where one host has many, the /64. The peers of a minute are bounded too: beyond that many, all others
//! are one. What was counted is written when its minute is over, and when the gateway stops; a kill loses
//! at most a minute's count, as it loses gaps that were owed.

use super::denied::Reason;
use indelible_record::event::{Private, Rejections};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Refusals of one peer in one minute that have a record each.
const RECORDED_PER_MINUTE: u32 = 10;
/// Peers told apart within a minute.
const PEERS_MAX: usize = 1000;

const WINDOW: Duration = Duration::from_secs(60);

/// Whose refusals are counted together: a peer (`None`: all beyond [`PEERS_MAX`]), in one tenant's ledger.
type Who = (Option<IpAddr>, String);

struct Minute {
    since: Instant,
    recorded: u32,
    counted: Option<(Uuid, Rejections)>,
}

/// Refusals of the last minute.
#[derive(Default)]
pub(crate) struct Floods {
    minutes: Mutex<HashMap<Who, Minute>>,
    /// Counted, and not written yet.
    owed: Mutex<Vec<(Uuid, Rejections)>>,
}

/// What becomes of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It has a record of its own.
    Alone,
    /// It is counted in the record of this event.
    Counted(Uuid),
}

impl Floods {
    /// Takes note of a refusal at `now`, which the wall clock calls `time`. `alone`: whether it may have a
    /// record of its own at all.
    pub(crate) fn refused(
        &self,
        peer: IpAddr,
        tenant: &str,
        reason: Reason,
        alone: bool,
        now: Instant,
        time: i64,
    ) -> Told {
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut who = (Some(network(peer)), tenant.to_owned());
        if !minutes.contains_key(&who) && minutes.len() >= PEERS_MAX {
            who.0 = None;
        }
        let others = who.0.is_none();
        let fresh = Minute { since: now, recorded: 0, counted: None };
        let minute = minutes.entry(who).or_insert(fresh);
        if now - minute.since >= WINDOW {
            self.owe(minute.counted.take());
            (minute.since, minute.recorded) = (now, 0);
        }
        if alone && !others && minute.recorded < RECORDED_PER_MINUTE {
            minute.recorded += 1;
            return Told::Alone;
        }
        let (event_id, counted) = minute.counted.get_or_insert_with(|| {
            let peer = if others { "others".to_owned() } else { network(peer).to_string() };
            let private = Private { peer: Some(peer), ..Private::default() };
            let counted = Rejections {
                tenant: tenant.to_owned(),
                from: time,
                to: time,
                count: 0,
                reasons: BTreeMap::new(),
                private,
            };
            (Uuid::now_v7(), counted)
        });
        counted.to = time;
        counted.count += 1;
        *counted.reasons.entry(reason.as_str().to_owned()).or_default() += 1;
        Told::Counted(*event_id)
    }

    /// Hands over what was counted in minutes that are over; with `all`, in those that are not, too.
    /// `write` says whether it could be written: what could not stays owed.
    pub(crate) fn settle(&self, now: Instant, all: bool, mut write: impl FnMut(Uuid, &Rejections) -> bool) {
        {
            let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
            minutes.retain(|_, minute| {
                let over = all || now - minute.since >= WINDOW;
                if over {
                    self.owe(minute.counted.take());
                }
                !over
            });
        }
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.retain(|(event_id, counted)| !write(*event_id, counted));
    }

    /// What cannot be written for long is added up, so that it stays bounded: a line for each tenant.
    fn owe(&self, counted: Option<(Uuid, Rejections)>) {
        let Some((event_id, counted)) = counted else { return };
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let full = owed.len() >= PEERS_MAX;
        match owed.iter_mut().find(|(_, older)| full && older.tenant == counted.tenant) {
            None => owed.push((event_id, counted)),
            Some((_, older)) => {
                older.to = older.to.max(counted.to);
                older.count += counted.count;
                older.private.peer = Some("others".to_owned());
                for (reason, count) in counted.reasons {
                    *older.reasons.entry(reason).or_default() += count;
                }
            }
        }
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => IpAddr::V4(mapped),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: Reason = Reason::UnknownApiKey;

    fn v4(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn settled(floods: &Floods, now: Instant, all: bool) -> Vec<(Uuid, Rejections)> {
        let mut found = Vec::new();
        floods.settle(now, all, |event_id, counted| {
            found.push((event_id, counted.clone()));
            true
        });
        found
    }

    #[test]
    fn ten_a_minute_stand_alone_and_the_rest_is_one_count() {
        let (floods, now) = (Floods::default(), Instant::now());
        let told: Vec<Told> = (0..40)
            .map(|n| {
                floods.refused(
                    v4(1),
                    "default",
                    if n % 2 == 0 { UNKNOWN } else { Reason::NoApiKey },
                    true,
                    now,
                    n,
                )
            })
            .collect();
        assert!(told[..10].iter().all(|told| *told == Told::Alone));
        assert!(told[10..].iter().all(|one| *one == told[10] && *one != Told::Alone));
        assert_eq!(floods.refused(v4(2), "default", UNKNOWN, true, now, 0), Told::Alone, "another peer");
        assert_eq!(floods.refused(v4(1), "acme", UNKNOWN, true, now, 0), Told::Alone, "another ledger");
        assert!(settled(&floods, now, false).is_empty(), "the minute is not over");
        let [(event_id, counted)] = settled(&floods, now + WINDOW, false).try_into().unwrap();
        assert_eq!(told[10], Told::Counted(event_id));
        assert_eq!((counted.count, counted.from, counted.to), (30, 10, 39));
        assert_eq!(
            counted.reasons,
            [("no_api_key".to_owned(), 15), ("unknown_api_key".to_owned(), 15)].into()
        );
        assert_eq!(counted.private.peer.as_deref(), Some("192.0.2.1"));
        assert_eq!(
            floods.refused(v4(1), "default", UNKNOWN, true, now + WINDOW, 0),
            Told::Alone,
            "a new minute"
        );
        assert!(settled(&floods, now + WINDOW, true).is_empty());
    }

    #[test]
    fn a_minute_that_ends_with_a_refusal_is_owed_all_the_same() {
        let (floods, now) = (Floods::default(), Instant::now());
        for _ in 0..12 {
            floods.refused(v4(1), "default", UNKNOWN, true, now, 0);
        }
        assert_eq!(floods.refused(v4(1), "default", UNKNOWN, true, now + WINDOW, 0), Told::Alone);
        assert_eq!(settled(&floods, now + WINDOW, false)[0].1.count, 2);
    }

    #[test]
    fn what_cannot_be_written_stays_owed_and_bounded() {
        let (floods, mut now) = (Floods::default(), Instant::now());
        for _ in 0..3 {
            for n in 0..PEERS_MAX {
                let peer = IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8]);
                assert!(matches!(floods.refused(peer, "default", UNKNOWN, false, now, 0), Told::Counted(_)));
            }
            now += WINDOW;
            floods.settle(now, false, |_, _| false);
        }
        let owed = settled(&floods, now, true);
        assert!(owed.len() <= PEERS_MAX, "{}", owed.len());
        assert_eq!(owed.iter().map(|(_, counted)| counted.count).sum::<u64>(), 3 * PEERS_MAX as u64);
        assert!(settled(&floods, now, true).is_empty());
    }

    #[test]
    fn more_peers_than_are_told_apart_are_one() {
        let (floods, now) = (Floods::default(), Instant::now());
        for n in 0..PEERS_MAX as u32 + 5 {
            let peer = IpAddr::from(n.to_be_bytes());
            let told = floods.refused(peer, "default", UNKNOWN, true, now, 0);
            assert_eq!(told == Told::Alone, n < PEERS_MAX as u32, "{n}");
        }
        let [(_, counted)] = settled(&floods, now, true).try_into().unwrap();
        assert_eq!((counted.count, counted.private.peer.as_deref()), (5, Some("others")));
    }

    #[test]
    fn one_host_of_ipv6_is_one_peer() {
        assert_eq!(
            network("2001:db8:1:2:aaaa::1".parse().unwrap()),
            network("2001:db8:1:2:bbbb::9".parse().unwrap())
        );
        assert_ne!(network("2001:db8:1:2::1".parse().unwrap()), network("2001:db8:1:3::1".parse().unwrap()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), v4(1));
    }
}
