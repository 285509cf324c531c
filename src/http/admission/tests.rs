//! Places are given to as many as there is room for, and all come back.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn admission(most: usize) -> Admission {
    Admission::new(Settings { delay: Duration::from_millis(20), least: 8, most })
}

fn fill(admission: &Admission, class: Class) -> Vec<Permit> {
    std::iter::from_fn(|| admission.enter(class).ok()).collect()
}

const ROOMS: [(Class, usize); 5] = [
    (Class::Export, 32),
    (Class::SignIn, 40),
    (Class::Writes, 48),
    (Class::Reads, 56),
    (Class::Refresh, 64),
];

#[test]
fn each_class_finds_its_own_room_whatever_is_under_way_of_those_below() {
    let admission = admission(64);
    let mut held = Vec::new();
    for (class, room) in ROOMS {
        let own = fill(&admission, class);
        assert_eq!(own.len(), room, "{class:?}");
        let wait = admission.enter(class).err().unwrap();
        assert!((1..=2).contains(&wait.as_secs()), "{wait:?}");
        held.extend(own);
        assert_eq!(admission.under_way(), held.len(), "a refusal takes no place");
    }
    for _ in 0..1_000 {
        held.push(admission.enter(Class::Health).ok().unwrap());
    }
    assert_eq!(admission.under_way(), 32 + 40 + 48 + 56 + 64, "health takes nobody's place");
    drop(held);
    assert_eq!(admission.under_way(), 0);
    assert!(admission.enter(Class::Export).is_ok());
}

#[test]
fn those_above_take_the_room_of_those_below() {
    for (filled, _) in ROOMS {
        let admission = admission(64);
        let _held = fill(&admission, filled);
        for (class, _) in ROOMS {
            assert_eq!(
                admission.enter(class).is_ok(),
                class < filled,
                "{class:?} beside {filled:?}"
            );
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enter(Class),
    /// The one that has been under way for the longest.
    Leave,
    Limit(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let class = prop::sample::select(Class::ALL.to_vec());
    prop::collection::vec(
        prop_oneof![
            4 => class.prop_map(Step::Enter),
            2 => Just(Step::Leave),
            1 => (8_usize..64).prop_map(Step::Limit),
        ],
        1..300,
    )
}

proptest! {
    #[test]
    fn as_many_are_under_way_as_hold_a_permit(steps in steps()) {
        let admission = admission(32);
        let mut held = VecDeque::new();
        for step in steps {
            match step {
                Step::Enter(class) => {
                    let above = |permit: &&Permit| {
                        permit.class != Class::Health && permit.class <= class
                    };
                    let beside = held.iter().filter(above).count();
                    let entered = admission.enter(class);
                    let limit = admission.0.limit.load(Relaxed);
                    prop_assert_eq!(entered.is_ok(), admits(class, beside, limit));
                    held.extend(entered.ok());
                }
                Step::Leave => drop(held.pop_front()),
                Step::Limit(limit) => admission.0.limit.store(limit, Relaxed),
            }
            let counted = held.iter().filter(|permit| permit.class != Class::Health).count();
            prop_assert_eq!(admission.under_way(), counted);
        }
        held.clear();
        for class in Class::ALL {
            let tally = admission.tally(class);
            prop_assert_eq!((tally.under_way.load(Relaxed), tally.beside.load(Relaxed)), (0, 0));
        }
    }
}

#[test]
fn many_threads_at_once_never_go_beyond_the_room_of_their_class() {
    let admission = admission(64);
    let (most, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    if let Ok(permit) = admission.enter(Class::Writes) {
                        let beside = admission.tally(Class::Writes).beside.load(Relaxed);
                        most.fetch_max(beside, Relaxed);
                        served.fetch_add(1, Relaxed);
                        drop(permit);
                    }
                }
            });
        }
    });
    assert!(most.into_inner() <= 48 && served.into_inner() > 0);
    assert_eq!(admission.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_spell_of_refusals_ends_with_a_pause() {
    let mut spell = Spell::default();
    assert_eq!(spell.note(Instant::now()), (Duration::ZERO, 1));
    for _ in 0..10 {
        sleep(Duration::from_secs(1)).await;
        spell.note(Instant::now());
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(spell.note(Instant::now()), (Duration::from_secs(11), 12));
    sleep(APART).await;
    assert_eq!(spell.note(Instant::now()), (Duration::ZERO, 13));
}

#[tokio::test(start_paused = true)]
async fn who_exports_rests_while_its_class_is_refused_and_for_two_seconds_at_most() {
    let admission = admission(64);
    let began = Instant::now();
    admission.rest(Class::Export).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    let held: Vec<_> = (0..32).map(|_| admission.enter(Class::Reads).ok().unwrap()).collect();
    admission.rest(Class::Export).await;
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    let rested = admission.clone();
    let rest = tokio::spawn(async move { rested.rest(Class::Export).await });
    sleep(Duration::from_millis(250)).await;
    drop(held);
    rest.await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(2_300));
}
