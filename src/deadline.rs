//! Until when the caller of the work at hand waits. It goes along with the work, so that nothing is begun
//! for somebody who will not hear of it: not by a shard, not by a hashing thread, not by the database.
//!
//! It belongs to one task: who hands work to another one hands it on. Without a request (workers,
//! commands) there is none.

use std::time::Duration;
use tokio::time::Instant;

tokio::task_local! {
    static UNTIL: Instant;
}

/// Does the work of a caller who waits until then.
pub async fn within<F: Future>(until: Instant, work: F) -> F::Output {
    UNTIL.scope(until, work).await
}

/// As [`within`]; without an instant the work goes on as it is.
pub async fn carried<F: Future>(until: Option<Instant>, work: F) -> F::Output {
    match until {
        Some(until) => within(until, work).await,
        None => work.await,
    }
}

/// Until when the caller waits; `None`: for as long as it takes.
pub fn current() -> Option<Instant> {
    UNTIL.try_with(|until| *until).ok()
}

/// Whether the caller waits no more.
pub fn is_over() -> bool {
    current().is_some_and(|until| until <= Instant::now())
}

/// So long from now, or until the caller waits no more.
pub fn at_most(limit: Duration) -> Instant {
    let own = Instant::now() + limit;
    current().map_or(own, |until| own.min(until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_limits_holds_and_the_inner_is_the_caller_s() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        assert_eq!((current(), at_most(seconds(5))), (None, now + seconds(5)));
        within(now + seconds(3), async {
            assert_eq!(at_most(seconds(5)), now + seconds(3));
            assert_eq!(at_most(seconds(2)), now + seconds(2));
            assert!(!is_over());
            carried(Some(now + seconds(1)), async {
                assert_eq!(current(), Some(now + seconds(1)));
            })
            .await;
            carried(None, async { assert_eq!(current(), Some(now + seconds(3))) }).await;
            within(now, async { assert!(is_over()) }).await;
            let apart = tokio::spawn(async { current() });
            assert_eq!(apart.await.unwrap(), None, "another task is handed it, or has none");
        })
        .await;
    }
}
