//! Which of several masters leads: both ends of the lease that the database keeps.
//!
//! The leader renews its lease, and each renewal changes the record. Whoever waits to lead watches the record: when it has not
//! changed for longer than the lease, the leader has stopped acting, and may be followed. No two clocks are compared: the leader
//! counts from when it *sent* the renewal that was acknowledged, the others from when they *saw* the record, both on clocks of their own
//! that never jump. What is seen was sent before, so that the leader's count always ends first.

use std::time::Duration;

use crate::planted::{Bug, planted};
use crate::time::Moment;

/// Counts the leaders: each begins the next term, and what belongs to an earlier one counts no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// How the present leader holds on to its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Not any more: it said itself that it has stopped acting. Or nobody has led yet.
    Released,
    /// For so long after each renewal.
    Renewed(Duration),
    /// For as long as it has the database's lock: a master that knows of no others, and renews nothing.
    Locked,
}

/// What the database says of the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its term.
    pub term: Term,
    /// How often it has renewed its lease.
    pub renewals: u64,
    /// How it holds on to it.
    pub hold: Hold,
}

/// Whether somebody else may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The leader of the record may still act.
    Held,
    /// It acts no more.
    Free,
}

/// The end of those who wait.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// The record as it was last seen, and when it was first seen so.
    seen: Option<(Record, Moment)>,
}

impl Watch {
    /// Takes in what the database said, and that the answer came at `now`. `is_locked` tells whether anybody has the database's lock.
    pub fn observe(&mut self, now: Moment, record: Record, is_locked: bool) -> Verdict {
        let since = match self.seen {
            Some((seen, since)) if seen == record => since,
            // Also a record that went back, in a database that took the place of another one: its leader may have renewed it since.
            _ => {
                self.seen = Some((record, now));
                now
            }
        };
        let is_free = match record.hold {
            Hold::Released => true,
            Hold::Renewed(lease) => now.since(since) >= patience(lease),
            Hold::Locked => !is_locked,
        };
        if is_free { Verdict::Free } else { Verdict::Held }
    }

    /// Forgets what was seen: whatever comes next counts from then on.
    pub fn forget(&mut self) {
        self.seen = None;
    }
}

/// How long a record must not have changed: clocks run differently fast, but not by a tenth.
fn patience(lease: Duration) -> Duration {
    match planted(Bug::FollowsTooEarly) {
        false => lease + lease / 10,
        true => lease,
    }
}

/// The leader's end.
#[derive(Debug, Clone)]
pub struct Lease {
    lease: Duration,
    until: Moment,
}

impl Lease {
    /// A lease that was taken by a request sent at `sent`.
    pub fn taken(lease: Duration, sent: Moment) -> Self {
        let until = sent + lease;
        Self { lease, until }
    }

    /// The database has acknowledged, at `now`, a renewal that was sent at `sent`. What has ended stays so.
    pub fn renewed(&mut self, now: Moment, sent: Moment) {
        if self.holds(now) {
            let from = if planted(Bug::LeaderCountsFromReceipt) {
                now
            } else {
                sent
            };
            self.until = self.until.max(from + self.lease);
        }
    }

    /// Until when the leader may act.
    pub const fn until(&self) -> Moment {
        self.until
    }

    /// Whether the leader may act.
    pub fn holds(&self, now: Moment) -> bool {
        now < self.until
    }

    /// How long after a renewal the next one is due: some may get lost.
    pub fn interval(&self) -> Duration {
        self.lease / 6
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASE: Duration = Duration::from_secs(3);

    fn at(milliseconds: u64) -> Moment {
        Moment(Duration::from_millis(milliseconds))
    }

    fn record(term: u64, renewals: u64, hold: Hold) -> Record {
        Record {
            term: Term(term),
            renewals,
            hold,
        }
    }

    #[test]
    fn a_leader_that_renews_is_never_followed_and_one_that_does_not_is() {
        let mut watch = Watch::default();
        let renewed = |renewals| record(1, renewals, Hold::Renewed(LEASE));
        for second in 0..60 {
            let verdict = watch.observe(at(second * 1000), renewed(second / 2), true);
            assert_eq!(verdict, Verdict::Held, "after {second} s");
        }
        // Whether anybody has the lock says nothing of a leader that may be about to connect again.
        assert_eq!(watch.observe(at(61_200), renewed(29), false), Verdict::Held);
        assert_eq!(watch.observe(at(61_300), renewed(29), true), Verdict::Free);
    }

    #[test]
    fn who_let_go_or_lost_the_lock_is_followed_at_once() {
        for (hold, is_locked, verdict) in [
            (Hold::Released, true, Verdict::Free),
            (Hold::Released, false, Verdict::Free),
            (Hold::Locked, true, Verdict::Held),
            (Hold::Locked, false, Verdict::Free),
            (Hold::Renewed(LEASE), false, Verdict::Held),
        ] {
            let verdict_now = Watch::default().observe(at(0), record(3, 0, hold), is_locked);
            assert_eq!(verdict_now, verdict, "{hold:?}, {is_locked}");
        }
    }

    #[test]
    fn a_record_that_went_back_counts_from_then_on() {
        let mut watch = Watch::default();
        let renewed = |renewals| record(1, renewals, Hold::Renewed(LEASE));
        watch.observe(at(0), renewed(7), true);
        assert_eq!(watch.observe(at(3000), renewed(5), true), Verdict::Held);
        assert_eq!(watch.observe(at(6000), renewed(5), true), Verdict::Held);
        assert_eq!(watch.observe(at(6300), renewed(5), true), Verdict::Free);
    }

    #[test]
    fn a_lease_that_has_ended_is_not_renewed() {
        let mut lease = Lease::taken(LEASE, at(0));
        lease.renewed(at(2999), at(2999));
        assert_eq!(lease.until(), at(5999));
        assert!(lease.holds(at(5998)) && !lease.holds(at(5999)));
        lease.renewed(at(6000), at(5500));
        assert!(!lease.holds(at(6000)));
        // An acknowledgement that was overtaken by a later one shortens nothing.
        let mut lease = Lease::taken(LEASE, at(0));
        lease.renewed(at(2500), at(2000));
        lease.renewed(at(2600), at(1000));
        assert_eq!(lease.until(), at(5000));
    }

    /// Of each renewal: how long after the one before it is sent, and how long it takes until it is in the record, and acknowledged.
    type Renewals = Vec<(u64, u64, u64)>;
    /// Of each look: how long after the one before, and how long its answer takes.
    type Looks = Vec<(u64, u64)>;

    /// On quick networks, where the end of a lease and the moment in which its leader is followed are near each other, and on slow ones.
    fn histories() -> impl Strategy<Value = (Renewals, Looks, u64)> {
        let there = prop_oneof![0_u64..40, 0_u64..2500];
        let renewals = prop::collection::vec((100_u64..2000, there, 0_u64..2500), 1..40);
        let quick = prop::collection::vec((20_u64..60, 0_u64..40), 1..400);
        let slow = prop::collection::vec((50_u64..800, 0_u64..1500), 1..200);
        let looks = prop_oneof![quick, slow];
        (renewals, looks, 950_u64..1000)
    }

    /// Whoever is found free to be followed holds no lease at that moment. The clock of the one that waits runs fast, by `slow` in 1000.
    fn is_followed_in_time((renewals, looks, slow): &(Renewals, Looks, u64)) -> Result<(), TestCaseError> {
        let hold = Hold::Renewed(LEASE);
        let mut lease = Lease::taken(LEASE, at(0));
        // When the record came to have how many renewals, and until when the leader acts, in true time.
        let (mut written, mut sent) = (vec![(0, 0)], 0);
        for (number, (pause, there, back)) in renewals.iter().enumerate() {
            sent += pause;
            if !lease.holds(at(sent)) {
                break;
            }
            written.push((sent + there, number as u64 + 1));
            lease.renewed(at(sent + there + back), at(sent));
            sent += there + back;
        }
        let acts_until = lease.until();
        let (mut watch, mut now) = (Watch::default(), 0);
        for (pause, back) in looks {
            now += pause;
            let latest = written.iter().rev().find(|(when, _)| *when <= now);
            let seen = latest.map_or(0, |(_, number)| *number);
            now += back;
            let theirs = at(now * 1000 / slow);
            // Who takes the lead asks for the record to be as it was seen: one that was renewed meanwhile is not followed.
            let latest = written.iter().rev().find(|(when, _)| *when <= now);
            let is_same = latest.map_or(0, |(_, number)| *number) == seen;
            if watch.observe(theirs, record(1, seen, hold), true) == Verdict::Free && is_same {
                prop_assert!(at(now) >= acts_until, "followed at {now}, acts until {acts_until:?}");
                break;
            }
        }
        Ok(())
    }

    proptest! {
        /// Requests and answers take as long as they like, clocks differ by a twentieth.
        #[test]
        fn nobody_is_followed_who_still_acts(history in histories()) {
            is_followed_in_time(&history)?;
        }
    }

    #[test]
    #[cfg(feature = "planted")]
    fn planted_mistakes_of_who_leads_are_found() {
        use proptest::strategy::ValueTree;
        use proptest::test_runner::TestRunner;

        use crate::planted::Planting;

        for bug in [Bug::LeaderCountsFromReceipt, Bug::FollowsTooEarly] {
            let _planting = Planting::of(Some(bug));
            let mut runner = TestRunner::deterministic();
            let found = (0..50_000).find_map(|number| {
                let history = histories().new_tree(&mut runner).unwrap().current();
                Some((number, is_followed_in_time(&history).err()?))
            });
            let (number, fault): (u64, _) = found.unwrap_or_else(|| panic!("nobody finds {bug:?}"));
            let fault = fault.to_string();
            let name = format!("{bug:?}");
            let line = serde_json::json!({"planted": name, "tier": "core", "checker": fault, "seed": number});
            println!("{line}");
        }
    }
}
