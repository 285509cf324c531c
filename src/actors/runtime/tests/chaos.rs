//! Everything at once: actors poisoned, arbiters killed, batches broken, while callers compare
//! what they were told with what the store holds.

use std::collections::BTreeMap;

use super::*;

const CALLERS: u64 = 48;
const LASTS: Duration = Duration::from_secs(4);

/// Enough randomness for a test, and the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn fault(&mut self) -> Fault {
        match self.roll(1000) {
            0..3 => Fault::PanicBefore,
            3..6 => Fault::PanicAfter,
            6..12 => Fault::Error,
            _ => Fault::None,
        }
    }
}

/// Calls until `end`; what it was told, per id.
async fn caller(
    shards: Shards<Store>,
    number: u64,
    end: Instant,
) -> Vec<(u64, Result<Result<(), RolledBack>, CallError>)> {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (number + 1));
    let mut told = Vec::new();
    while Instant::now() < end {
        let id = number << 32 | told.len() as u64;
        let work = Job { id, fault: dice.fault() };
        let deadline = Instant::now() + millis(1 + dice.roll(500));
        let call = shards.owner(dice.roll(64)).call(work, deadline);
        let answer = tokio::time::timeout(Duration::from_secs(5), call).await;
        let answer = answer.expect("a call hangs beyond its deadline");
        if answer.is_err() {
            sleep(millis(2)).await;
        }
        told.push((id, answer));
    }
    told
}

/// What the store may hold after each answer.
fn check(store: &Store, id: u64, answer: Result<Result<(), RolledBack>, CallError>) {
    let stored = store.stored(id);
    match answer {
        Ok(Ok(())) => assert_eq!(stored, 1, "told that {id:x} is stored"),
        Err(CallError::Unknown | CallError::TimedOut) => {
            assert!(stored <= 1, "{id:x} is stored {stored} times");
        }
        Ok(Err(RolledBack)) | Err(_) => assert_eq!(stored, 0, "{id:x} after {answer:?}"),
    }
}

#[test]
fn under_chaos_every_caller_is_told_the_truth() {
    real(|db| async move {
        let mut settings = settings(2);
        settings.backoff.first = millis(10);
        settings.backoff.max = millis(50);
        settings.intensity.failures = usize::MAX;
        let (runtime, escalated) = runtime(db.clone(), settings);
        let store = Store::new(millis(1));
        let mut measures = shard_settings();
        (measures.actors, measures.queue_max) = (4, 12);
        let shards = runtime.spawn_shards("s", measures, &store);
        let end = Instant::now() + LASTS;
        let callers: Vec<_> =
            (0..CALLERS).map(|number| db.spawn(caller(shards.clone(), number, end))).collect();
        let mut dice = Dice(42);
        while Instant::now() < end {
            sleep(millis(20 + dice.roll(80))).await;
            let victim = usize::try_from(dice.roll(4)).unwrap();
            if dice.roll(4) == 0 {
                runtime.kill_arbiter(victim);
            } else {
                shards.all()[victim].poison().await;
            }
        }
        let mut tally = BTreeMap::new();
        for caller in callers {
            for (id, answer) in caller.await.unwrap() {
                check(&store, id, answer);
                let label = format!("{answer:?}");
                *tally.entry(label.split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
            }
        }
        let restarts: u64 = runtime.registry().snapshots().iter().map(|s| s.restarts).sum();
        eprintln!("chaos: {restarts} restarts, {tally:?}");
        assert!(restarts > 10 && tally["Ok(Ok(()))"] > 1000, "{restarts} {tally:?}");
        assert_eq!(shards.drain(patience()).await, [""; 0]);
        for shard in shards.all() {
            assert_eq!(shard.stats().depth(), 0);
            assert_eq!(shard.stats().state(), ActorState::Stopped);
        }
        assert!(store.most_at_once.load(Ordering::SeqCst) <= 4, "a fence was passed");
        assert_eq!(*escalated.borrow(), None);
        assert_eq!(runtime.stop(patience()).await, 0);
    });
}
