//! The answers of other services: failed, late, doubled, about nothing, of no use; and none at all.

use std::time::Duration;

use serde_json::{Value, json};

use super::ground::{deletion, state_of};
use crate::harness::services::{ALL_COMMANDS, COMMANDS, done};
use crate::harness::{OrderService, Services, Shop, Shopper, eventually};

const SHORT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_answers_end_steps_and_what_is_none_is_buried() {
    let graves = OrderService::shared();
    let names = graves.settings();
    let mut settings: Vec<(&str, &str)> = names
        .iter()
        .filter(|(key, _)| key.contains("DEAD_LETTER"))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    settings.extend([
        ("PRIVACY__COMMANDS", ALL_COMMANDS),
        ("PRIVACY__RETRY_FIRST_SECONDS", "1"),
        ("PRIVACY__RETRY_MOST_MINUTES", "1"),
    ]);
    let shop = Shop::configured(&settings).await;
    let services = Services::silent(&shop).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let ask = node.post(&deletion(&shopper.id), json!({ "at_once": true })).bearer(&shop.staff_key);
    let id = ask.send().await.expect(202).json()["id"].as_str().unwrap().to_owned();
    let commanded = |count: usize| {
        let (services, id) = (&services, id.clone());
        async move {
            eventually("commands", SHORT, async || {
                Some(services.commanded(&id)).filter(|all| all.len() >= count)
            })
            .await
        }
    };
    let commands = commanded(3).await;
    let kinds: Vec<_> = commands.iter().map(|message| message.kind.as_str()).collect();
    assert_eq!(kinds, COMMANDS);
    assert_eq!(state_of(&node, &shop, &id).await, "running");
    assert_eq!(commands[0].data["customer_id"], json!(shopper.id));

    // What nobody can use, each with its reason, and the queue goes on.
    let unknown = json!({ "erasure_id": id, "step_id": "01920000-0000-7000-8000-00000000dead",
        "result": "done" });
    let mut foreign = done(&commands[0].data);
    foreign["erasure_id"] = json!("01920000-0000-7000-8000-00000000beef");
    let odd = json!({ "erasure_id": id, "step_id": commands[0].data["step_id"], "result": "soon" });
    for body in ["{".to_owned(), odd.to_string(), unknown.to_string(), foreign.to_string()] {
        services.say(body.as_bytes()).await;
    }
    let reasons = graves.dead_letters(4).await;
    let mut reasons: Vec<_> = reasons.into_iter().map(|dead| dead.reason).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["not_json", "unknown_step", "wrong_erasure", "wrong_shape"]);

    // One fails, and is commanded again after a rest: another message, the same step.
    let mut failed = done(&commands[0].data);
    failed["result"] = json!("failed");
    failed["detail"] = json!("no orders of Anna can be found");
    services.say(failed.to_string().as_bytes()).await;
    let again = commanded(4).await.pop().unwrap();
    assert_eq!((again.kind.as_str(), &again.data), (COMMANDS[0], &commands[0].data));
    assert_ne!(again.id, commands[0].id);
    let path = format!("/v1/admin/erasures/{id}");
    let shown = node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
    let step = shown["steps"].as_array().unwrap().iter().find(|step| step["name"] == COMMANDS[0]);
    let step = step.unwrap();
    assert_eq!((&step["tries"], &step["last_error"]), (&json!(2), &json!("unspecified")));
    assert_eq!(step["message_id"], json!(again.id));

    // Done, twice, and a late word that it failed: the first counts.
    for command in &commands {
        let body: Value = done(&command.data);
        services.say(body.to_string().as_bytes()).await;
        services.say(body.to_string().as_bytes()).await;
        services.say(failed.to_string().as_bytes()).await;
    }
    eventually("it is completed", SHORT, async || {
        (state_of(&node, &shop, &id).await == "completed").then_some(())
    })
    .await;
    let waiting = format!("{}.answers", shop.exchange);
    eventually("all answers are read", SHORT, async || {
        (graves.waiting(&waiting).await == Some(0)).then_some(())
    })
    .await;
    assert_eq!(state_of(&node, &shop, &id).await, "completed");
    let told = "SELECT count(*) FROM outbox_events WHERE kind = 'privacy.erasure_completed'";
    assert_eq!(shop.database.count(told).await, 1);
    assert_eq!(graves.dead().await.len(), 0, "copies are no dead letters");
    assert!(!node.log().contains("no orders of Anna"), "M6");
    let kept = "SELECT count(*) FROM erasure_steps WHERE last_error LIKE '%nna%'";
    assert_eq!(shop.database.count(kept).await, 0);
    graves.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_who_is_silent_is_told_again_and_staff_need_not_wait() {
    let settings = [("PRIVACY__COMMANDS", "notification.forget"), ("PRIVACY__OVERDUE_HOURS", "1")];
    let shop = Shop::configured(&settings).await;
    let services = Services::silent(&shop).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let ask = node.post(&deletion(&shopper.id), json!({ "at_once": true })).bearer(&shop.staff_key);
    let id = ask.send().await.expect(202).json()["id"].as_str().unwrap().to_owned();
    let commanded = async |count: usize| {
        eventually("commands", SHORT, async || {
            (services.commanded(&id).len() == count).then_some(())
        })
        .await;
    };
    commanded(1).await;
    let retry = format!("/v1/admin/erasures/{id}/retry");
    let call = node.post(&retry, json!({})).bearer(&shop.staff_key);
    call.send().await.expect(202);
    commanded(2).await;
    let late = "UPDATE erasure_steps SET next_try_at = now() WHERE state = 'sent'; \
        UPDATE erasures SET requested_at = now() - interval '3 hours', \
        started_at = now() - interval '2 hours'";
    shop.database.execute(late).await;
    commanded(3).await;
    eventually("somebody is alarmed", SHORT, async || {
        let metrics = node.get("/metrics").send().await.text();
        let overdue = "erasures_overdue{waits_for=\"services\"} 1";
        (metrics.contains(overdue) && node.log().contains("deletions are overdue")).then_some(())
    })
    .await;
    let numbers: Vec<_> = services.commanded(&id).iter().map(|one| one.sequence).collect();
    assert_eq!(numbers, [1, 2, 3], "numbered among the commands of the erasure");
}
