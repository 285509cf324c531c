//! The pool under a gate: one thread is held inside a job, so that the test decides what waits.

use std::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn pool(queue_max: usize, deadline: Duration) -> Arc<HashingPool> {
    let settings =
        HashingSettings { threads: 1, queue_max, deadline, memory_kib: 16, passes: 1, lanes: 1 };
    Arc::new(HashingPool::start(settings).unwrap())
}

/// Occupies the pool's only thread until the returned sender is dropped or used.
async fn hold(pool: &Arc<HashingPool>) -> mpsc::Sender<()> {
    let (release, gate) = mpsc::channel::<()>();
    let (entered, inside) = oneshot::channel();
    let holder = Arc::clone(pool);
    tokio::spawn(async move {
        holder
            .submit("test", None, move |_| {
                let _ = entered.send(());
                let _ = gate.recv();
                Ok(())
            })
            .await
    });
    inside.await.unwrap();
    release
}

/// Puts a job into the queue that notes its number when it runs.
fn note(
    pool: &Arc<HashingPool>,
    number: usize,
    ran: &Arc<Mutex<Vec<usize>>>,
) -> tokio::task::JoinHandle<Result<(), HashError>> {
    let (pool, ran) = (Arc::clone(pool), Arc::clone(ran));
    tokio::spawn(async move {
        pool.submit("test", None, move |_| {
            locked(&ran).push(number);
            Ok(())
        })
        .await
    })
}

/// Lets spawned callers run until `count` jobs wait.
async fn until_waiting(pool: &HashingPool, count: usize) {
    while locked(&pool.shared.queue).jobs.len() != count {
        tokio::task::yield_now().await;
    }
}

fn typed(text: &str) -> Password {
    Password::presented(text)
}

#[tokio::test]
async fn hashes_and_verifies() {
    let pool = pool(8, LONG);
    let hash = pool.hash(typed("correct horse")).await.unwrap();
    let verify = |text, reference| pool.verify(typed(text), reference);
    let stored = Reference::Stored(hash);
    assert!(verify("correct horse", stored.clone()).await.unwrap().matches);
    assert!(!verify("wrong", stored).await.unwrap().matches);
    assert!(!verify("correct horse", Reference::Dummy).await.unwrap().matches);
    let damaged = Reference::Stored(PasswordHash::stored("damaged".into()));
    assert_eq!(verify("correct horse", damaged).await, Err(HashError::Unreadable));
    assert_eq!(pool.verifications(), 4);
}

#[tokio::test]
async fn a2_a_full_queue_refuses_at_once() {
    let pool = pool(2, Duration::from_millis(1500));
    let release = hold(&pool).await;
    let ran = Arc::default();
    let waiting = [note(&pool, 1, &ran), note(&pool, 2, &ran)];
    until_waiting(&pool, 2).await;
    let refused = pool.hash(typed("one too many")).await;
    assert_eq!(refused, Err(HashError::Overloaded { retry_after: Duration::from_secs(2) }));
    drop(release);
    for caller in waiting {
        assert_eq!(caller.await.unwrap(), Ok(()));
    }
    assert!(pool.hash(typed("room again")).await.is_ok());
}

#[tokio::test]
async fn a2_a_call_that_waited_too_long_is_refused_not_hashed() {
    let pool = pool(8, Duration::from_millis(20));
    let release = hold(&pool).await;
    let ran = Arc::default();
    let late = note(&pool, 1, &ran);
    until_waiting(&pool, 1).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    drop(release);
    let expected = HashError::Overloaded { retry_after: Duration::from_secs(1) };
    assert_eq!(late.await.unwrap(), Err(expected));
    assert!(locked(&ran).is_empty());
}

#[tokio::test]
async fn a2_a_call_whose_caller_waits_no_more_is_not_hashed() {
    let pool = pool(8, LONG);
    let release = hold(&pool).await;
    let ran: Arc<Mutex<Vec<usize>>> = Arc::default();
    let soon = tokio::time::Instant::now() + Duration::from_millis(20);
    let (asked, noted) = (Arc::clone(&pool), Arc::clone(&ran));
    let late = tokio::spawn(deadline::within(soon, async move {
        let work = move |_: &Engine| {
            locked(&noted).push(1);
            Ok(())
        };
        asked.submit("test", None, work).await
    }));
    until_waiting(&pool, 1).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let in_time = note(&pool, 2, &ran);
    until_waiting(&pool, 2).await;
    drop(release);
    assert!(matches!(late.await.unwrap(), Err(HashError::Overloaded { .. })));
    assert_eq!(in_time.await.unwrap(), Ok(()));
    assert_eq!(*locked(&ran), [2]);
}

#[tokio::test]
async fn overdue_calls_make_room_for_fresh_ones() {
    let pool = pool(2, Duration::from_millis(20));
    let release = hold(&pool).await;
    let ran = Arc::default();
    let late = [note(&pool, 1, &ran), note(&pool, 2, &ran)];
    until_waiting(&pool, 2).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    let fresh = note(&pool, 3, &ran);
    for caller in late {
        assert!(matches!(caller.await.unwrap(), Err(HashError::Overloaded { .. })));
    }
    drop(release);
    let _ = fresh.await.unwrap();
    assert!(!locked(&ran).contains(&1) && !locked(&ran).contains(&2));
}

/// A job without work, known by its operation, that waits since so many milliseconds after `start`.
fn job(name: &'static str, start: Instant, after: u64) -> (Job, oneshot::Receiver<Answer>) {
    let (reply, answer) = oneshot::channel();
    let task = Box::new(Pending { work: |_: &Engine| Ok(()), reply });
    let since = start + Duration::from_millis(after);
    (Job { task, operation: name, since, until: None }, answer)
}

type Answer = Result<(), HashError>;

#[test]
fn oldest_first_unless_they_will_be_late_anyway() {
    let (start, mut queue) = (Instant::now(), Queue::new(8, Duration::from_millis(600), 1));
    let mut callers = Vec::new();
    for (name, after) in [("a", 0), ("b", 10), ("c", 400), ("d", 410), ("e", 420)] {
        let (job, caller) = job(name, start, after);
        queue.push(job, false).unwrap();
        callers.push(caller);
    }
    let mut taken = |after| {
        let job = queue.take(start + Duration::from_millis(after));
        job.map_or("none", |job| job.operation)
    };
    assert_eq!(taken(499), "a");
    assert_eq!(taken(511), "e", "b has little time left and c has a lot");
    assert_eq!(taken(609), "d", "b still waits");
    assert_eq!(taken(610), "c", "b is overdue");
    assert_eq!(taken(611), "none");
}

#[test]
fn a2_only_so_many_are_let_in_as_will_be_served_in_time() {
    let start = Instant::now();
    let admitted = |threads, pace: u64| {
        let mut queue = Queue::new(1_000, Duration::from_millis(1_500), threads);
        queue.learn(Duration::from_millis(pace));
        let mut callers = Vec::new();
        loop {
            let (job, caller) = job("a", start, 0);
            if queue.push(job, false).is_err() {
                return callers.len();
            }
            callers.push(caller);
        }
    };
    // The last of them waits for 750 ms at most: as long as 37 hashes of 20 ms take.
    assert_eq!(admitted(1, 20), 38);
    assert_eq!(admitted(2, 20), 76);
    // However slow hashing is, as many as there are threads.
    assert_eq!(admitted(2, 5_000), 2);
    let mut queue = Queue::new(8, LONG, 1);
    for took in [100, 20, 20, 20] {
        queue.learn(Duration::from_millis(took));
    }
    assert!(queue.pace < Duration::from_millis(75), "{:?}", queue.pace);
}

#[tokio::test]
async fn a2_a_place_that_was_kept_is_room_for_nobody_else() {
    let pool = pool(2, LONG);
    let release = hold(&pool).await;
    let (place, given_up) = (pool.keep_place().unwrap(), pool.keep_place().unwrap());
    assert!(matches!(pool.check_room(), Err(HashError::Overloaded { .. })));
    assert!(matches!(pool.hash(typed("too many")).await, Err(HashError::Overloaded { .. })));
    drop(given_up);
    let waiting = note(&pool, 1, &Arc::default());
    until_waiting(&pool, 1).await;
    assert!(pool.check_room().is_err());
    // Whoever kept a place gets in, however full it is.
    let verifier = Arc::clone(&pool);
    let verified = tokio::spawn(async move {
        verifier.verify_in(place, typed("anything"), Reference::Dummy).await
    });
    until_waiting(&pool, 2).await;
    assert_eq!(locked(&pool.shared.queue).kept, 0);
    drop(release);
    waiting.await.unwrap().unwrap();
    assert!(!verified.await.unwrap().unwrap().matches);
    assert_eq!(pool.check_room(), Ok(()));
}

#[tokio::test]
async fn a_caller_that_went_away_is_skipped() {
    let pool = pool(2, LONG);
    let release = hold(&pool).await;
    let ran = Arc::default();
    let gone = [note(&pool, 1, &ran), note(&pool, 2, &ran)];
    until_waiting(&pool, 2).await;
    for caller in &gone {
        caller.abort();
    }
    for caller in gone {
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    // The queue was full of calls nobody waits for: they give way.
    let stays = note(&pool, 3, &ran);
    until_waiting(&pool, 1).await;
    drop(release);
    assert_eq!(stays.await.unwrap(), Ok(()));
    assert_eq!(*locked(&ran), [3]);
}

#[tokio::test]
async fn a_panic_answers_its_caller_and_the_thread_goes_on() {
    let pool = pool(8, LONG);
    for _ in 0..3 {
        let answer = pool.submit::<(), _>("test", None, |_| panic!("on purpose")).await;
        assert_eq!(answer, Err(HashError::Failed));
    }
    assert!(pool.hash(typed("still here")).await.is_ok());
}

#[tokio::test]
async fn shutdown_finishes_what_waits_and_refuses_the_rest() {
    let pool = pool(8, LONG);
    let release = hold(&pool).await;
    let ran = Arc::default();
    let waiting = note(&pool, 1, &ran);
    until_waiting(&pool, 1).await;
    let closing = Arc::clone(&pool);
    let shutdown = tokio::task::spawn_blocking(move || closing.shutdown());
    while !locked(&pool.shared.queue).closing {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.hash(typed("too late")).await, Err(HashError::Closed));
    drop(release);
    shutdown.await.unwrap();
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert!(locked(&pool.threads).is_empty());
    pool.shutdown();
}

#[tokio::test]
async fn a_crowd_is_answered_to_the_last() {
    let settings = HashingSettings {
        threads: 3,
        queue_max: 16,
        deadline: LONG,
        memory_kib: 16,
        passes: 1,
        lanes: 1,
    };
    let pool = Arc::new(HashingPool::start(settings).unwrap());
    let callers: Vec<_> = (0..300)
        .map(|_| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.verify(typed("anything"), Reference::Dummy).await })
        })
        .collect();
    let mut done = 0;
    for caller in callers {
        match caller.await.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert!(matches!(error, HashError::Overloaded { .. })),
        }
    }
    assert!(done >= 16);
    assert_eq!(pool.verifications(), done);
}

#[test]
fn an_impossible_cost_does_not_start() {
    let settings = HashingSettings {
        threads: 1,
        queue_max: 1,
        deadline: LONG,
        memory_kib: 1,
        passes: 1,
        lanes: 1,
    };
    assert!(matches!(HashingPool::start(settings), Err(StartError::Cost(_))));
}

#[tokio::test]
async fn a2_room_is_told_before_a_call_is_made() {
    let pool = pool(1, LONG);
    let release = hold(&pool).await;
    assert_eq!(pool.check_room(), Ok(()));
    let waiting = note(&pool, 1, &Arc::default());
    until_waiting(&pool, 1).await;
    assert!(matches!(pool.check_room(), Err(HashError::Overloaded { .. })));
    drop(release);
    waiting.await.unwrap().unwrap();
    assert_eq!(pool.check_room(), Ok(()));
}
