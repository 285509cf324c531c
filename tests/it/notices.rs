//! What an owner is told by mail about its account: locks, devices that were not here before, and
//! used backup codes.

use std::time::Duration;

use serde_json::json;

use crate::harness::mailbox::Mail;
use crate::harness::shopper::{PASSWORD, address, sign_in};
use crate::harness::{Shop, Shopper, eventually};
use crate::second_factors::{Guarded, second_step};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notice_a3_the_owner_hears_once_of_a_lock_in_its_language() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let language = json!({ "locale": "vi-VN" });
    shopper.patch(&nodes[0], "/v1/me/preferences", language).send().await.expect(200);
    let nobody = address();
    for call in 0..8 {
        sign_in(&nodes[call % 2], &shopper.email, "wrong password 12").await;
        sign_in(&nodes[call % 2], &nobody, "wrong password 12").await;
    }
    let mail = eventually("the notice", Duration::from_secs(20), async || {
        shop.mails_to(&shopper.email).into_iter().find(|mail| mail.kind == "sign_in_locked")
    })
    .await;
    assert_eq!(mail.kind, "sign_in_locked");
    assert!(mail.text().starts_with("Xin chào"), "{}", mail.text());
    let mails = "SELECT count(*) FROM mails WHERE kind = 'sign_in_locked'";
    assert_eq!(shop.database.count(mails).await, 1);
    assert!(shop.mails_to(&nobody).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notice_a4_the_owner_hears_of_a_new_device_but_neither_of_the_first_nor_of_a_known_one() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let known = json!({ "email": shopper.email, "password": PASSWORD,
        "device_token": shopper.device });
    node.post("/v1/auth/login", known).send().await.expect(200);
    sign_in(&node, &shopper.email, PASSWORD).await.expect(200);
    eventually("the notice", Duration::from_secs(20), async || {
        shop.mails_to(&shopper.email).into_iter().find(|mail| mail.kind == "new_device")
    })
    .await;
    let mails = "SELECT count(*) FROM mails WHERE kind <> 'verify_email'";
    assert_eq!(shop.database.count(mails).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notice_a9_the_owner_is_told_of_a_used_backup_code_and_of_how_many_are_left() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let guarded = Guarded::new(&shop, &node).await;
    let locale = json!({ "locale": "vi-VN" });
    guarded.shopper.patch(&node, "/v1/me/preferences", locale).send().await.expect(200);
    let spare = "DELETE FROM backup_codes WHERE code_hash NOT IN \
                 (SELECT code_hash FROM backup_codes ORDER BY code_hash LIMIT 4)";
    shop.database.execute(spare).await;
    let mut left = 4;
    for code in &guarded.backup_codes {
        let asked = sign_in(&node, &guarded.shopper.email, PASSWORD).await.expect(200).json();
        let challenge = asked["challenge"].as_str().unwrap();
        let answer = second_step(&node, challenge, "backup_code", code).await;
        if answer.status == 401 {
            continue;
        }
        answer.expect(200);
        left -= 1;
        let told = |mail: &Mail| mail.kind == "backup_code_used";
        let mails = eventually("the mail", Duration::from_secs(20), async || {
            let mails = shop.mails_to(&guarded.shopper.email).into_iter().filter(told);
            let mails: Vec<_> = mails.collect();
            (mails.len() == 4 - left).then_some(mails)
        })
        .await;
        let text = mails.last().unwrap().text();
        assert!(!text.contains(code.as_str()), "{text}");
        let said = match left {
            0 => "không còn mã dự phòng nào".to_owned(),
            left => format!("còn {left} mã dự phòng"),
        };
        assert!(text.contains(&said) && text.contains("Hãy tạo mã mới ngay"), "{left}: {text}");
        shop.database.execute("DELETE FROM sign_in_throttles").await;
    }
    assert_eq!(left, 0);
}
