//! What a caller of a shard reads when everything goes well, and when anything breaks.

use futures_util::future::join_all;
use tokio::time::timeout;

use super::*;

async fn back(shard: &ShardRef<Store>, generation: u64) {
    eventually("the shard is back", || {
        let now = shard.stats().snapshot();
        now.generation == generation && now.state == ActorState::Running
    })
    .await;
}

#[test]
fn callers_share_commits_and_keep_their_order() {
    real(|db| async move {
        let (runtime, _) = runtime(db, settings(1));
        let store = Store::new(millis(20));
        let shards = runtime.spawn_shards("s", shard_settings(), &store);
        let shard = shards.owner(7);
        let calls = (0..300).map(|id| shard.call(job(id), patience()));
        assert!(join_all(calls).await.into_iter().all(|answer| answer == Ok(Ok(()))));
        assert!((0..300).all(|id| store.stored(id) == 1));
        assert!(store.begun() <= 4, "300 works took {} batches", store.begun());
        let stats = settled(shard).await;
        assert_eq!((stats.handled, stats.batch_size_total, stats.queue_depth), (300, 300, 0));
        assert_eq!((stats.in_flight, stats.oldest_waiting_seconds), (0, None));
    });
}

/// Poisons the actor whenever it is back; the second of each return, then that of the end.
async fn life_of_a_doomed_actor(db: Handle) -> Vec<u64> {
    let mut settings = settings(0);
    settings.backoff =
        Backoff { first: Duration::from_secs(1), max: Duration::from_secs(8), jitter: || 0.5 };
    settings.intensity.failures = 5;
    let (runtime, escalated) = runtime(db, settings);
    let shards = runtime.spawn_shards("doomed", shard_settings(), &Store::new(millis(1)));
    let (shard, began) = (&shards.all()[0], Instant::now());
    let mut returns = Vec::new();
    while shard.stats().state() != ActorState::Failed {
        assert_eq!(*escalated.borrow(), None);
        shard.poison().await;
        let generation = shard.stats().snapshot().generation + 1;
        eventually("back or given up", || {
            let now = shard.stats().snapshot();
            now.generation == generation || now.state == ActorState::Failed
        })
        .await;
        returns.push(began.elapsed().as_secs());
    }
    assert_eq!(shard.call(job(1), patience()).await, Err(CallError::Failed));
    assert_eq!(escalated.borrow().as_ref().unwrap().actor, "doomed-0");
    assert_eq!(runtime.registry().failed(), ["doomed-0"]);
    let stats = settled(shard).await;
    assert_eq!((stats.panics, stats.restarts, stats.queue_depth), (6, 5, 0));
    returns
}

#[test]
fn restarts_back_off_and_then_the_actor_is_given_up_always_the_same_way() {
    for _ in 0..2 {
        paused(|db| async move {
            assert_eq!(life_of_a_doomed_actor(db).await, [1, 3, 7, 15, 23, 23]);
        });
    }
}

#[test]
fn a_panic_in_a_batch_leaves_its_callers_unsure_and_nobody_else() {
    real(|db| async move {
        let (runtime, _) = runtime(db, settings(1));
        let store = Store::new(millis(5));
        let shards = runtime.spawn_shards("s", shard_settings(), &store);
        let shard = &shards.all()[0];
        for (id, fault) in [(1, Fault::PanicBefore), (2, Fault::PanicAfter)] {
            let calls = [id, id + 10].map(|id| shard.call(Job { id, fault }, patience()));
            assert_eq!(join_all(calls).await, [Err(CallError::Unknown); 2]);
            assert_eq!(shard.call(job(id + 100), patience()).await, Ok(Ok(())));
        }
        assert_eq!((store.stored(1), store.stored(2)), (0, 1));
        let stats = settled(shard).await;
        // Both callers of a pair share a batch or not, as it comes.
        assert_eq!(stats.panics, store.begun() as u64 - 2, "all batches but the two good ones");
        assert_eq!((stats.restarts, stats.generation), (0, 1));
        assert_eq!(stats.queue_depth, 0);
    });
}

#[test]
fn a_killed_actor_is_back_and_its_batches_never_overlap() {
    real(|db| async move {
        let (runtime, _) = runtime(db.clone(), settings(1));
        let store = Store::new(millis(800));
        let shards = runtime.spawn_shards("s", shard_settings(), &store);
        let shard = shards.all()[0].clone();
        let call = |id| {
            let shard = shard.clone();
            db.spawn(async move { shard.call(job(id), patience()).await })
        };
        let in_flight = call(1);
        eventually("the batch runs", || store.begun() == 1).await;
        let queued = call(2);
        eventually("both are inside", || shard.stats().depth() == 2).await;

        shard.poison().await;
        assert_eq!(queued.await.unwrap(), Err(CallError::NotStarted));
        back(&shard, 2).await;
        // Its predecessor's batch still commits.
        assert_eq!(store.running.load(Ordering::SeqCst), 1);
        let next = call(3);
        assert_eq!(in_flight.await.unwrap(), Ok(Ok(())), "the batch outlives the actor");
        assert_eq!(next.await.unwrap(), Ok(Ok(())));
        assert_eq!(store.most_at_once.load(Ordering::SeqCst), 1);
        assert_eq!((store.stored(1), store.stored(2), store.stored(3)), (1, 0, 1));
        let stats = settled(&shard).await;
        assert_eq!((stats.panics, stats.restarts, stats.queue_depth), (1, 1, 0));
        assert_eq!(stats.last_error.unwrap().text, "the actor panicked: injected: a handler");
    });
}

#[test]
fn a_killed_actor_is_back_within_100_ms() {
    real(|db| async move {
        let (runtime, _) = runtime(db, settings(1));
        let mut measures = shard_settings();
        measures.actors = 5;
        let shards = runtime.spawn_shards("s", measures, &Store::new(millis(1)));
        let mut fastest = Duration::MAX;
        for shard in shards.all() {
            let killed = Instant::now();
            shard.poison().await;
            back(shard, 2).await;
            assert_eq!(shard.call(job(1), patience()).await, Ok(Ok(())));
            fastest = fastest.min(killed.elapsed());
        }
        // The fastest of some: this machine may have other things to do.
        assert!(fastest < millis(100), "back after {fastest:?}");
    });
}

#[test]
fn a_killed_arbiter_is_replaced_for_all_its_actors() {
    real(|db| async move {
        let (runtime, _) = runtime(db, settings(1));
        let store = Store::new(millis(1));
        let mut measures = shard_settings();
        measures.actors = 2;
        let shards = runtime.spawn_shards("s", measures, &store);
        runtime.kill_arbiter(0);
        for shard in shards.all() {
            back(shard, 2).await;
            assert_eq!(shard.call(job(1), patience()).await, Ok(Ok(())));
            assert_eq!(shard.stats().snapshot().panics, 0);
        }
        assert_eq!(shards.drain(patience()).await, [""; 0]);
        assert_eq!(runtime.stop(patience()).await, 0);
    });
}

#[test]
fn above_the_limit_callers_are_told_when_to_come_again() {
    real(|db| async move {
        let (runtime, _) = runtime(db, settings(1));
        let mut measures = shard_settings();
        measures.queue_max = 4;
        let shards = runtime.spawn_shards("s", measures, &Store::new(millis(100)));
        let shard = &shards.all()[0];
        let answers = join_all((0..10).map(|id| shard.call(job(id), patience()))).await;
        assert_eq!(answers.iter().filter(|answer| **answer == Ok(Ok(()))).count(), 4);
        let told = Err(CallError::Overloaded { retry_after: Duration::from_secs(1) });
        assert_eq!(answers.iter().filter(|answer| **answer == told).count(), 6);
        let stats = settled(shard).await;
        assert_eq!((stats.shed, stats.queue_depth, stats.queue_limit), (6, 0, Some(4)));
        assert_eq!(shard.call(job(11), patience()).await, Ok(Ok(())), "room again");
    });
}

#[test]
fn a_deadline_says_whether_the_work_was_begun() {
    real(|db| async move {
        let (runtime, _) = runtime(db, settings(1));
        let store = Store::new(millis(1000));
        let shards = runtime.spawn_shards("s", shard_settings(), &store);
        let shard = &shards.all()[0];
        let begun = shard.call(job(1), Instant::now() + millis(700));
        let waiting = async {
            eventually("the first batch runs", || store.begun() == 1).await;
            shard.call(job(2), Instant::now() + millis(50)).await
        };
        let withdrawn = async {
            eventually("the first batch runs", || store.begun() == 1).await;
            timeout(millis(50), shard.call(job(3), patience())).await.is_err()
        };
        let (begun, waiting, withdrawn) = tokio::join!(begun, waiting, withdrawn);
        assert_eq!(begun, Err(CallError::TimedOut));
        assert_eq!(waiting, Err(CallError::NotStarted));
        assert!(withdrawn);
        assert_eq!(shard.call(job(4), patience()).await, Ok(Ok(())));
        let stored = [1, 2, 3, 4].map(|id| store.stored(id));
        assert_eq!(stored, [1, 0, 0, 1], "what nobody waits for is not begun");
        assert_eq!(shard.stats().depth(), 0);
    });
}

#[test]
fn a_hung_batch_is_cut_off() {
    real(|db| async move {
        let (runtime, _) = runtime(db, settings(1));
        let mut measures = shard_settings();
        measures.batch_time_max = millis(100);
        let shards = runtime.spawn_shards("s", measures, &Store::new(millis(1)));
        let shard = &shards.all()[0];
        let hung = shard.call(Job { id: 1, fault: Fault::Hang }, patience()).await;
        assert_eq!(hung, Err(CallError::Unknown));
        assert_eq!(shard.call(job(2), patience()).await, Ok(Ok(())));
    });
}

#[test]
fn a_drain_answers_everything_that_was_accepted() {
    real(|db| async move {
        let (runtime, escalated) = runtime(db.clone(), settings(1));
        let store = Store::new(millis(20));
        let mut measures = shard_settings();
        measures.batch_max = 64;
        let shards = runtime.spawn_shards("s", measures, &store);
        let shard = &shards.all()[0];
        let calls: Vec<_> = (0..500)
            .map(|id| {
                let shard = shard.clone();
                db.spawn(async move { shard.call(job(id), patience()).await })
            })
            .collect();
        eventually("all are accepted", || {
            shard.stats().depth() + shard.stats().snapshot().handled as usize >= 500
        })
        .await;
        assert_eq!(shards.drain(patience()).await, [""; 0]);
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(Ok(())));
        }
        let stats = settled(shard).await;
        assert_eq!((stats.state, stats.generation), (ActorState::Stopped, 1));
        assert_eq!((stats.handled, stats.queue_depth), (500, 0));
        assert_eq!(shard.call(job(501), patience()).await, Err(CallError::Draining));
        assert_eq!(runtime.stop(patience()).await, 0);
        assert_eq!(*escalated.borrow(), None);
    });
}

#[test]
fn a_drain_bears_a_dead_actor_and_a_hung_batch() {
    real(|db| async move {
        let (runtime, _) = runtime(db.clone(), settings(1));
        let store = Store::new(millis(200));
        let shards = runtime.spawn_shards("s", shard_settings(), &store);
        let shard = shards.all()[0].clone();
        let caller = shard.clone();
        let in_flight = db.spawn(async move { caller.call(job(1), patience()).await });
        eventually("the batch runs", || store.begun() == 1).await;
        shard.poison().await;
        assert_eq!(shards.drain(patience()).await, [""; 0]);
        assert_eq!(store.stored(1), 1, "a drain waits for the batch of a dead actor");
        assert_eq!(in_flight.await.unwrap(), Ok(Ok(())));

        let shards = runtime.spawn_shards("hung", shard_settings(), &store);
        let caller = shards.all()[0].clone();
        let hung = Job { id: 2, fault: Fault::Hang };
        let hung = db.spawn(async move { caller.call(hung, patience()).await });
        eventually("the batch runs", || store.begun() == 2).await;
        assert_eq!(shards.drain(Instant::now() + millis(100)).await, ["hung-0"]);
        hung.abort();
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "blocking an actor's thread is what is tested")]
fn a_blocked_thread_is_noticed() {
    real(|db| async move {
        let mut settings = settings(1);
        settings.stall_max = Duration::from_secs(1);
        let (runtime, mut escalated) = runtime(db, settings);
        let shards = runtime.spawn_shards("s", shard_settings(), &Store::new(millis(1)));
        let arbiter = runtime.arbiters().at(0).unwrap();
        arbiter.spawn_fn(|| std::thread::sleep(Duration::from_millis(3500)));
        escalated.wait_for(Option::is_some).await.unwrap();
        assert_eq!(shards.all()[0].call(job(1), patience()).await, Err(CallError::Failed));
        let heartbeat = shards.all()[0].stats().snapshot().heartbeat_seconds;
        assert!(heartbeat >= 1.0, "{heartbeat}");
    });
}

#[test]
fn a_restart_answers_who_waits_and_lets_the_batch_under_way_end() {
    real(|db| async move {
        let (runtime, escalated) = runtime(db, settings(1));
        let store = Store::new(millis(200));
        let measures = ShardSettings { batch_max: 1, ..shard_settings() };
        let shards = runtime.spawn_shards("s", measures, &store);
        let shard = &shards.all()[0];
        let first = shard.call(job(1), patience());
        let others = async {
            eventually("the first is under way", || store.begun() == 1).await;
            let others = (2..10).map(|id| shard.call(job(id), patience()));
            let restart = async {
                eventually("they wait", || shard.stats().depth() == 9).await;
                sleep(millis(20)).await;
                shard.restart().await;
            };
            tokio::join!(join_all(others), restart).0
        };
        let (first, others) = tokio::join!(first, others);
        assert_eq!(first, Ok(Ok(())), "its batch goes on");
        assert_eq!(others, [Err(CallError::NotStarted); 8], "safe to repeat");
        back(shard, 2).await;
        for generation in 3..20 {
            assert_eq!(shard.call(job(generation), patience()).await, Ok(Ok(())));
            shard.restart().await;
            back(shard, generation).await;
        }
        let stats = settled(shard).await;
        assert_eq!((stats.panics, stats.queue_depth, stats.last_error.is_none()), (0, 0, true));
        assert_eq!(store.most_at_once.load(Ordering::SeqCst), 1, "never two batches at once");
        assert_eq!(*escalated.borrow(), None, "however often it is asked");
    });
}

#[test]
fn a_work_whose_time_is_over_in_the_queue_is_not_begun() {
    real(|db| async move {
        let (runtime, _) = runtime(db.clone(), settings(1));
        let store = Store::new(millis(300));
        let shards = runtime.spawn_shards("s", shard_settings(), &store);
        let shard = shards.all()[0].clone();
        let of_first = shard.clone();
        let first = db.spawn(async move { of_first.call(job(1), patience()).await });
        eventually("the batch runs", || store.begun() == 1).await;
        // Its caller's thread is held up: it asks, and does not look at its clock until all is over.
        let mut late = Box::pin(shard.call(job(2), Instant::now() + millis(50)));
        assert_eq!((&mut late).now_or_never(), None);
        let in_time = shard.call(job(3), patience());
        assert_eq!(in_time.await, Ok(Ok(())));
        assert_eq!(first.await.unwrap(), Ok(Ok(())));
        assert_eq!(late.await, Err(CallError::NotStarted));
        assert_eq!((store.stored(1), store.stored(2), store.stored(3)), (1, 0, 1));
    });
}

#[test]
fn a_queue_stands_only_where_batches_leave_somebody_behind() {
    real(|db| async move {
        for (batch_max, stands) in [(256, false), (1, true)] {
            let (runtime, _) = runtime(db.clone(), settings(1));
            let store = Store::new(millis(100));
            let settings = ShardSettings { batch_max, ..shard_settings() };
            let shards = runtime.spawn_shards("s", settings, &store);
            let shard = &shards.all()[0];
            let calls = (0..8).map(|id| shard.call(job(id), patience()));
            // Looked at while they are worked off, and again: it stands until a batch leaves nobody.
            let seen = async {
                let mut most = Duration::ZERO;
                for _ in 0..12 {
                    tokio::time::sleep(millis(25)).await;
                    most = most.max(runtime.registry().standing());
                }
                most
            };
            let (answers, waited) = tokio::join!(join_all(calls), seen);
            assert!(answers.into_iter().all(|answer| answer == Ok(Ok(()))));
            assert_eq!(waited >= millis(100), stands, "batches of {batch_max}: {waited:?}");
            assert!(stands || waited.is_zero());
            assert_eq!(runtime.registry().standing(), Duration::ZERO, "nobody waits any more");
        }
    });
}
