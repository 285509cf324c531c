//! The brake on credential stuffing (rule A5): somebody tries long lists of identifiers, each with
//! the one password that leaked with it, from so many addresses that none of them meets its limit.
//! What gives it away is the ratio: over all identifiers together most attempts fail.
//!
//! While the brake is engaged, an attempt from an unknown device costs more: its address has a
//! smaller budget, and its network (an IPv4 /24, an IPv6 /48) may try only so many different
//! identifiers. Nobody is locked out by it, and it lets go by itself.
//!
//! It is decided in the same step as the call's own limits. What became of an attempt is known only
//! later; it rides along with this node's next call, so that nothing is asked twice. This file is the
//! arithmetic; `limits` knows where the numbers lie.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use tokio::time::Instant;

/// Networks that are remembered in process at most.
const LOCAL_NETWORKS_MAX: usize = 20_000;

/// When the brake engages, and what an attempt then costs.
#[derive(Clone, Debug)]
pub struct BrakePolicy {
    /// Where the nodes of one deployment count together; a keyed hash.
    pub key: Vec<u8>,
    /// Attempts are weighed over the last so long.
    pub window: Duration,
    /// Fewer failures than this never engage it.
    pub min_failures: u32,
    /// The share of failures that engages it, per cent.
    pub failure_percent: u32,
    /// It stays for as long as those failures count, and for this long at least.
    pub hold: Duration,
    /// Attempts of one address while it is engaged.
    pub quota: u32,
    pub quota_window: Duration,
    /// Different identifiers that one network may try within `window` while it is engaged.
    pub identifiers: u32,
}

/// One attempt at a credential, as far as the brake cares. Keys are keyed hashes.
#[derive(Clone, Debug)]
pub struct Guess {
    pub address: Vec<u8>,
    pub network: Vec<u8>,
    pub identifier: u64,
    /// Whether it says that it comes from a known device: until that is looked at, the brake does
    /// not hold it back.
    pub claims_device: bool,
}

/// What the brake says to one attempt, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// For how long it is engaged at least; zero when it is not.
    pub engaged: i64,
    /// Use of the address's budget after this attempt, relative to now.
    pub used: i64,
    /// Until the budget of the address has room.
    pub address_wait: i64,
    /// Until the network may try other identifiers.
    pub network_wait: i64,
}

impl Verdict {
    pub fn refuses(self) -> bool {
        self.address_wait > 0 || self.network_wait > 0
    }
}

/// What became of attempts: those of this node that nobody was told yet, or a window's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcomes {
    pub failed: i64,
    pub succeeded: i64,
}

impl Outcomes {
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn add(&mut self, more: Self) {
        self.failed += more.failed;
        self.succeeded += more.succeeded;
    }
}

/// The outcomes of the last `window`, weighed: those of this period, and of the one before as much
/// as still lies within the window. Times are microseconds since whenever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    period: i64,
    current: Outcomes,
    before: Outcomes,
    engaged_until: i64,
}

impl Tally {
    /// Counts `more`, and tells for how long the brake is engaged at least. The script in `limits`
    /// is this function in Lua.
    pub(super) fn weigh(&mut self, more: Outcomes, now: i64, policy: &BrakePolicy) -> i64 {
        let window = as_micros(policy.window);
        let period = now / window;
        if period != self.period {
            let is_next = period == self.period + 1;
            self.before = if is_next { self.current } else { Outcomes::default() };
            self.current = Outcomes::default();
            self.period = period;
        }
        self.current.add(more);
        let left = i128::from(window - now % window);
        let weighed = |current: i64, before: i64| {
            i128::from(current) * i128::from(window) + i128::from(before) * left
        };
        let failed = weighed(self.current.failed, self.before.failed);
        let all = failed + weighed(self.current.succeeded, self.before.succeeded);
        let least = i64::from(policy.min_failures);
        let enough = failed >= i128::from(least) * i128::from(window);
        if enough && failed * 100 >= all * i128::from(policy.failure_percent) {
            let stays = self.lasting(least, window - now % window, window);
            self.engaged_until = self.engaged_until.max(now + stays.max(as_micros(policy.hold)));
        }
        (self.engaged_until - now).max(0)
    }

    /// For how long at least `least` of the counted failures lie within the window, with `left` of
    /// the period to come. They are at least so many now.
    fn lasting(&self, least: i64, left: i64, window: i64) -> i64 {
        let Outcomes { failed: current, .. } = self.current;
        if current >= least {
            // Into the next period, where they weigh less and less.
            left + window - share(window, least, current)
        } else {
            left - share(window, least - current, self.before.failed)
        }
    }

    /// An attempt that the brake held back counts as one that failed: while the list goes on being
    /// tried, the brake stays. Each address still adds at most what its ordinary limit allows.
    pub(super) fn note_held_back(&mut self) {
        self.current.failed += 1;
    }
}

/// Which identifiers each network tried, in process.
#[derive(Default)]
pub(super) struct Networks {
    tried: HashMap<Vec<u8>, Tried>,
}

struct Tried {
    identifiers: HashSet<u64>,
    ends: i64,
}

impl Networks {
    /// Until `guess` may be tried from its network; zero when it may be now.
    pub(super) fn wait(&self, guess: &Guess, now: i64, policy: &BrakePolicy) -> i64 {
        match self.tried.get(&guess.network) {
            Some(tried)
                if tried.ends > now && tried.identifiers.len() >= policy.identifiers as usize =>
            {
                tried.ends - now
            }
            _ => 0,
        }
    }

    pub(super) fn note(&mut self, guess: &Guess, now: i64, policy: &BrakePolicy) {
        if self.tried.len() >= LOCAL_NETWORKS_MAX {
            self.tried.retain(|_, tried| tried.ends > now);
        }
        if self.tried.len() >= LOCAL_NETWORKS_MAX {
            // So many networks at once: the budgets of the addresses have to do.
            self.tried.clear();
        }
        let fresh = || Tried { identifiers: HashSet::new(), ends: now + as_micros(policy.window) };
        let tried = self.tried.entry(guess.network.clone()).or_insert_with(fresh);
        if tried.ends <= now {
            *tried = fresh();
        }
        tried.identifiers.insert(guess.identifier);
    }
}

/// The brake as this node sees it: what it has to report, and whether it is engaged.
pub(super) struct Brake {
    pub policy: BrakePolicy,
    view: Mutex<View>,
}

#[derive(Default)]
struct View {
    unreported: Outcomes,
    /// When the oldest of them happened.
    since: Option<Instant>,
    engaged_until: Option<Instant>,
}

impl Brake {
    pub(super) fn new(policy: BrakePolicy) -> Self {
        gauge!("stuffing_brake_engaged").set(0);
        Self { policy, view: Mutex::default() }
    }

    /// An attempt came to its end.
    pub(super) fn note(&self, failed: bool) {
        let mut view = self.view();
        view.since.get_or_insert_with(Instant::now);
        view.unreported.add(Outcomes { failed: failed.into(), succeeded: (!failed).into() });
    }

    /// What there is to report. What happened longer ago than the window tells nothing any more.
    pub(super) fn take_unreported(&self) -> Outcomes {
        let mut view = self.view();
        let outcomes = std::mem::take(&mut view.unreported);
        match view.since.take() {
            Some(since) if since.elapsed() <= self.policy.window => outcomes,
            _ => Outcomes::default(),
        }
    }

    /// They could not be reported: the next call takes them along.
    pub(super) fn give_back(&self, outcomes: Outcomes) {
        if !outcomes.is_empty() {
            let mut view = self.view();
            view.since.get_or_insert_with(Instant::now);
            view.unreported.add(outcomes);
        }
    }

    /// Learns from the answer to one attempt.
    pub(super) fn learn(&self, verdict: Verdict, now: Instant) {
        let mut view = self.view();
        if verdict.engaged > 0 {
            if view.engaged_until.is_none() {
                gauge!("stuffing_brake_engaged").set(1);
                counter!("stuffing_brake_engagements_total").increment(1);
                tracing::warn!(
                    "most sign-ins fail, over all identifiers: sign-ins from unknown devices are \
                     held back (stuffing brake)"
                );
            }
            view.engaged_until = Some(now + duration(verdict.engaged));
        } else {
            view.engaged_until = view.engaged_until.map(|_| now);
        }
        let reason = match verdict {
            Verdict { network_wait: 1.., .. } => "network",
            Verdict { address_wait: 1.., .. } => "address",
            _ => "",
        };
        if !reason.is_empty() {
            counter!("stuffing_brake_refusals_total", "reason" => reason).increment(1);
        }
        view.settle(now);
    }

    /// Whether it is engaged, as far as this node knows.
    pub(super) fn is_engaged(&self, now: Instant) -> bool {
        let mut view = self.view();
        view.settle(now);
        view.engaged_until.is_some()
    }

    /// A panic never happens under this lock, and were it to, the content stays valid.
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// Notices when the brake has let go.
    fn settle(&mut self, now: Instant) {
        if self.engaged_until.take_if(|until| *until <= now).is_some() {
            gauge!("stuffing_brake_engaged").set(0);
            tracing::warn!("sign-ins look ordinary again: the stuffing brake has let go");
        }
    }
}

/// `part` of `whole` of the window, rounded down.
fn share(window: i64, part: i64, whole: i64) -> i64 {
    let share = i128::from(window) * i128::from(part) / i128::from(whole.max(1));
    i64::try_from(share).unwrap_or(window)
}

pub(super) fn as_micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4).max(1)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000;

    fn policy() -> BrakePolicy {
        BrakePolicy {
            key: b"shop".to_vec(),
            window: Duration::from_secs(60),
            min_failures: 20,
            failure_percent: 70,
            hold: Duration::from_secs(30),
            quota: 3,
            quota_window: Duration::from_secs(60),
            identifiers: 5,
        }
    }

    fn outcomes(failed: i64, succeeded: i64) -> Outcomes {
        Outcomes { failed, succeeded }
    }

    fn guess(network: &[u8], identifier: u64) -> Guess {
        let (address, network) = (b"address".to_vec(), network.to_vec());
        Guess { address, network, identifier, claims_device: false }
    }

    #[test]
    fn a5_the_brake_needs_many_failures_and_a_large_share_of_them() {
        let engaged = |failed, succeeded| {
            Tally::default().weigh(outcomes(failed, succeeded), 90 * SECOND, &policy()) > 0
        };
        assert!(!engaged(19, 0), "too few to tell");
        assert!(engaged(20, 0));
        assert!(engaged(70, 30));
        assert!(!engaged(69, 31), "an ordinary bad day");
        assert!(!engaged(20, 1_000));
    }

    #[test]
    fn a5_the_brake_lets_go_by_itself() {
        let (policy, mut tally) = (policy(), Tally::default());
        // 100 failures weigh less than 20 once four fifths of the next period have passed: at 168 s.
        assert_eq!(tally.weigh(outcomes(100, 0), 60 * SECOND, &policy), 108 * SECOND);
        assert_eq!(tally.weigh(outcomes(0, 0), 100 * SECOND, &policy), 68 * SECOND);
        assert_eq!(tally.weigh(outcomes(0, 0), 130 * SECOND, &policy), 38 * SECOND);
        // Looked at within its last moments, it holds.
        assert_eq!(tally.weigh(outcomes(0, 0), 167 * SECOND, &policy), 30 * SECOND);
        assert_eq!(tally.weigh(outcomes(0, 0), 169 * SECOND, &policy), 28 * SECOND);
        assert_eq!(tally.weigh(outcomes(0, 0), 197 * SECOND, &policy), 0);
    }

    #[test]
    fn a5_who_goes_on_against_the_brake_keeps_it_engaged() {
        let (policy, mut tally) = (policy(), Tally::default());
        tally.weigh(outcomes(40, 0), 60 * SECOND, &policy);
        for second in (61..600).step_by(2) {
            assert!(tally.weigh(outcomes(0, 0), second * SECOND, &policy) > 0, "{second}");
            tally.note_held_back();
        }
        assert_eq!(tally.weigh(outcomes(0, 0), 800 * SECOND, &policy), 0);
    }

    #[test]
    fn a5_a_network_tries_so_many_identifiers_and_no_more_until_its_time_is_up() {
        let (policy, mut networks) = (policy(), Networks::default());
        for identifier in 0..5 {
            assert_eq!(networks.wait(&guess(b"a", identifier), 0, &policy), 0);
            for _ in 0..3 {
                networks.note(&guess(b"a", identifier), 0, &policy);
            }
        }
        let late = 20 * SECOND;
        assert_eq!(networks.wait(&guess(b"a", 9), late, &policy), 40 * SECOND);
        assert_eq!(networks.wait(&guess(b"b", 9), late, &policy), 0, "another network");
        assert_eq!(networks.wait(&guess(b"a", 9), 60 * SECOND, &policy), 0);
        networks.note(&guess(b"a", 9), 60 * SECOND, &policy);
        assert_eq!(networks.wait(&guess(b"a", 10), 61 * SECOND, &policy), 0, "counted anew");
    }

    #[test]
    fn memory_of_networks_is_bounded() {
        let (policy, mut networks) = (policy(), Networks::default());
        for number in 0..=LOCAL_NETWORKS_MAX {
            networks.note(&guess(&number.to_be_bytes(), 1), 0, &policy);
        }
        assert!(networks.tried.len() <= LOCAL_NETWORKS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn outcomes_are_reported_once_and_not_when_they_are_old() {
        let brake = Brake::new(policy());
        brake.note(true);
        brake.note(true);
        brake.note(false);
        let taken = brake.take_unreported();
        assert_eq!(taken, outcomes(2, 1));
        assert!(brake.take_unreported().is_empty());
        brake.give_back(taken);
        assert_eq!(brake.take_unreported(), taken);
        brake.note(true);
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(brake.take_unreported().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_sees_the_brake_engage_and_let_go() {
        let brake = Brake::new(policy());
        let engaged = Verdict { engaged: 2 * SECOND, ..Verdict::default() };
        assert!(!brake.is_engaged(Instant::now()));
        brake.learn(engaged, Instant::now());
        assert!(brake.is_engaged(Instant::now()));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!brake.is_engaged(Instant::now()), "by time alone");
        brake.learn(engaged, Instant::now());
        brake.learn(Verdict::default(), Instant::now());
        assert!(!brake.is_engaged(Instant::now()), "told by another node's successes");
    }

    proptest! {
        /// The weighed count never exceeds what happened within two windows, never falls below
        /// what happened in this period, and without attempts the brake is off in the end.
        #[test]
        fn a5_the_tally_slides(steps in prop::collection::vec((0..40_i64, 0..9_i64, 0..9_i64), 1..80)) {
            let (policy, mut tally) = (policy(), Tally::default());
            let mut now = 1_000 * SECOND;
            let mut seen = Vec::new();
            for (seconds, failed, succeeded) in steps {
                now += seconds * SECOND;
                seen.push((now, failed, succeeded));
                let engaged = tally.weigh(outcomes(failed, succeeded), now, &policy);
                prop_assert!((0..=120 * SECOND).contains(&engaged));
                let recent = seen.iter().filter(|(at, ..)| *at > now - 240 * SECOND);
                let failures: i64 = recent.map(|(_, failed, _)| failed).sum();
                prop_assert!(engaged == 0 || failures >= 20, "{failures} failures engaged it");
                let period = now / (60 * SECOND) * 60 * SECOND;
                let (f, s) = seen.iter().filter(|(at, ..)| *at >= period)
                    .fold((0, 0), |(f, s), (_, failed, succeeded)| (f + failed, s + succeeded));
                prop_assert_eq!(tally.current, outcomes(f, s));
            }
            prop_assert_eq!(tally.weigh(outcomes(0, 0), now + 151 * SECOND, &policy), 0);
        }
    }
}
