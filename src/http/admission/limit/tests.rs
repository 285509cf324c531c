//! Who is refused, told in tables; and a node of a known pace, to which more is brought than it can do.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

const SETTINGS: Settings = Settings { delay: Duration::from_millis(20), least: 64, most: 8_192 };

#[test]
fn lower_classes_are_refused_at_a_lower_fill() {
    use Class::{Export, Health, Reads, Refresh, SignIn, Writes};
    for (limit, class, last_admitted_beside) in [
        (64, Refresh, 63),
        (64, Reads, 55),
        (64, Writes, 47),
        (64, SignIn, 39),
        (64, Export, 31),
        (8_192, Export, 4_095),
        // as few as there may be: each still has one of its own
        (8, Refresh, 7),
        (8, Reads, 6),
        (8, Export, 3),
    ] {
        assert!(admits(class, last_admitted_beside, limit), "{class:?} of {limit}");
        assert!(!admits(class, last_admitted_beside + 1, limit), "{class:?} of {limit}");
    }
    assert!(admits(Health, usize::MAX, 0), "never refused");
}

fn classes() -> impl Strategy<Value = Class> {
    prop::sample::select(Class::ALL.to_vec())
}

proptest! {
    #[test]
    fn no_class_is_refused_while_a_lower_one_is_admitted(
        higher in classes(), lower in classes(),
        under_way in prop::array::uniform6(0_usize..2_000), limit in 0_usize..10_000,
    ) {
        prop_assume!(higher <= lower);
        let beside = |class: Class| under_way[1..=(class as usize).max(1)].iter().sum::<usize>();
        prop_assert!(!admits(lower, beside(lower), limit) || admits(higher, beside(higher), limit));
    }

    #[test]
    fn nobody_is_refused_beside_fewer_than_half_of_the_least(class in classes(), under_way in 0_usize..32) {
        prop_assert!(admits(class, under_way, SETTINGS.least));
    }

    #[test]
    fn the_limit_stays_between_its_bounds_and_falls_only_when_work_waits(
        windows in prop::collection::vec((0_u64..2_000, 0_usize..20_000, 0_u64..3), 1..200),
    ) {
        let mut limit = Limit::new(SETTINGS);
        for (millis, peak, refused) in windows {
            let before = limit.now();
            let delay = Duration::from_millis(millis);
            let now = limit.observe(Window { delay, peak, refused });
            prop_assert!((SETTINGS.least..=SETTINGS.most).contains(&now));
            prop_assert!(now >= before || (delay > SETTINGS.delay && peak > SETTINGS.least));
        }
    }

    #[test]
    fn whoever_is_refused_is_told_whole_seconds_from_one_to_sixty(
        excess in 0_usize..100_000, per_second in 0.0_f64..100_000.0, seconds in 0_u64..100_000, number: u64,
    ) {
        let lasted = Duration::from_secs(seconds);
        let wait = retry_after(Refusal { excess, per_second, lasted, number });
        prop_assert!(wait.subsec_nanos() == 0 && (1..=60).contains(&wait.as_secs()), "{wait:?}");
    }
}

fn observe(limit: &mut Limit, millis: u64, peak: usize, refused: u64) -> usize {
    limit.observe(Window { delay: Duration::from_millis(millis), peak, refused })
}

#[test]
fn a_burst_that_is_over_in_half_a_second_refuses_nobody() {
    let mut limit = Limit::new(SETTINGS);
    for _ in 0..4 {
        assert_eq!(observe(&mut limit, 300, 1_000, 0), 8_192);
    }
    assert_eq!(observe(&mut limit, 10, 200, 0), 8_192);
    for _ in 0..4 {
        assert_eq!(observe(&mut limit, 300, 1_000, 0), 8_192, "counted anew");
    }
    assert_eq!(observe(&mut limit, 300, 1_000, 0), 1_400, "and then from what is under way");
}

#[test]
fn a_node_with_little_to_do_refuses_nobody_however_busy_its_machine_is() {
    let mut limit = Limit::new(SETTINGS);
    for _ in 0..1_000 {
        assert_eq!(observe(&mut limit, 5_000, 64, 0), 8_192);
    }
}

#[test]
fn the_limit_comes_back_slowly_while_it_refuses_and_within_seconds_after() {
    let mut limit = Limit::new(SETTINGS);
    for _ in 0..30 {
        observe(&mut limit, 200, 1_000, 5);
    }
    assert_eq!(limit.now(), 64);
    for _ in 0..10 {
        observe(&mut limit, 5, 64, 5);
    }
    assert!(limit.refuses() && (70..130).contains(&limit.now()), "{}", limit.now());
    let windows = (1..).find(|_| observe(&mut limit, 5, 64, 0) == 8_192).unwrap();
    assert!((10..40).contains(&windows), "{windows} windows");
    assert!(!limit.refuses());
}

#[test]
fn waiting_times_follow_the_queue_and_the_time_it_has_lasted() {
    let told = |excess, per_second, seconds| {
        let lasted = Duration::from_secs(seconds);
        let all = (0..100)
            .map(|number| retry_after(Refusal { excess, per_second, lasted, number }).as_secs());
        let all: Vec<_> = all.collect();
        (*all.iter().min().unwrap(), *all.iter().max().unwrap())
    };
    for (excess, per_second, lasted, expected) in [
        (1, 1_000.0, 0, (1, 2)),
        (1, 0.0, 0, (1, 2)),
        (500, 100.0, 0, (5, 10)),
        (1, 1_000.0, 20, (10, 20)),
        (1, 1_000.0, 86_400, (30, 60)),
        (100_000, 1.0, 0, (30, 60)),
    ] {
        assert_eq!(
            told(excess, per_second, lasted),
            expected,
            "{excess} at {per_second}/s, {lasted} s"
        );
    }
}

#[test]
fn those_who_are_refused_together_come_back_apart() {
    let lasted = Duration::from_secs(20);
    let mut at = [0_u32; 61];
    for number in 0..1_000 {
        let refusal = Refusal { excess: 1, per_second: 1_000.0, lasted, number };
        at[usize::try_from(retry_after(refusal).as_secs()).unwrap()] += 1;
    }
    assert!(at[11..20].iter().all(|count| (95..=105).contains(count)), "{at:?}");
}

// ---- a node of a known pace

/// What became of one class.
#[derive(Default, Clone)]
struct Fate {
    served: f64,
    refused: f64,
    waits: Vec<f64>,
}

impl Fate {
    fn p99_ms(&self) -> f64 {
        let mut sorted = self.waits.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() * 99 / 100).copied().unwrap_or_default()
    }
}

/// A node that finishes `pace` requests a second in the order of their arrival, to which `offered` of
/// each class a second are brought: what became of them, a second, after five seconds.
fn brought(pace: f64, offered: &[(Class, f64)]) -> [Fate; 6] {
    const SECONDS: u64 = 15;
    let mut fates: [Fate; 6] = Default::default();
    let mut limit = Limit::new(SETTINGS);
    let mut queue: VecDeque<(u64, Class)> = VecDeque::new();
    let mut due = [0.0; 6];
    let (mut credit, mut peak, mut refused) = (0.0_f64, 0, 0);
    for now in 0..SECONDS * 1_000 {
        let counts = now >= 5_000;
        for (class, rate) in offered {
            due[*class as usize] += rate / 1_000.0;
            while due[*class as usize] >= 1.0 {
                due[*class as usize] -= 1.0;
                let beside = queue.iter().filter(|(_, other)| other <= class).count();
                if admits(*class, beside, limit.now()) {
                    queue.push_back((now, *class));
                } else {
                    refused += 1;
                    fates[*class as usize].refused += f64::from(u8::from(counts));
                }
            }
        }
        peak = peak.max(queue.len());
        credit = (credit + pace / 1_000.0).min(pace / 1_000.0 + queue.len() as f64);
        while credit >= 1.0
            && let Some((since, class)) = queue.pop_front()
        {
            credit -= 1.0;
            if counts {
                let fate = &mut fates[class as usize];
                fate.served += 1.0;
                fate.waits.push((now - since) as f64);
            }
        }
        if now % 100 == 99 {
            let oldest = queue.front().map_or(0, |(since, _)| now - since);
            let delay = Duration::from_millis(oldest);
            limit.observe(Window { delay, peak, refused });
            (peak, refused) = (queue.len(), 0);
        }
    }
    for fate in &mut fates {
        fate.served /= (SECONDS - 5) as f64;
        fate.refused /= (SECONDS - 5) as f64;
    }
    fates
}

#[test]
fn however_much_is_brought_as_much_is_done_and_nobody_waits_longer() {
    let pace = 10_000.0;
    let mix = |times: f64| {
        [
            (Class::Refresh, 0.05),
            (Class::Reads, 0.60),
            (Class::Writes, 0.25),
            (Class::SignIn, 0.08),
            (Class::Export, 0.02),
        ]
        .map(|(class, share)| (class, share * times * pace))
    };
    for times in [1.5, 2.0, 3.0, 5.0, 10.0] {
        let fates = brought(pace, &mix(times));
        let served: f64 = fates.iter().map(|fate| fate.served).sum();
        assert!(served >= 0.97 * pace, "{times} times: {served} served a second");
        for class in Class::ALL {
            let p99 = fates[class as usize].p99_ms();
            assert!(p99 <= 60.0, "{times} times: {class:?} waited {p99} ms");
        }
        let refresh = &fates[Class::Refresh as usize];
        assert!(refresh.refused == 0.0, "{times} times: {} refreshes refused", refresh.refused);
    }
    // At 1.4 times reads, refreshes and some writes fit: reads do not notice.
    let fates = brought(pace, &mix(1.4));
    assert!(fates[Class::Reads as usize].refused == 0.0);
    assert!(fates[Class::Export as usize].refused > 0.0);
    // And below what it can do nobody is refused at all.
    let fates = brought(pace, &mix(0.95));
    assert!(fates.iter().all(|fate| fate.refused == 0.0));
}

#[test]
fn a_storm_of_sign_ins_leaves_all_above_them_served() {
    let storm = [(Class::Reads, 500.0), (Class::Writes, 200.0), (Class::SignIn, 50_000.0)];
    let fates = brought(2_000.0, &storm);
    for class in [Class::Reads, Class::Writes] {
        assert!(fates[class as usize].refused == 0.0, "{class:?}");
    }
    assert!(fates[Class::SignIn as usize].served >= 1_200.0);
}
