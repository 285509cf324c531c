//! What staff adds to a customer: tags, one at a time, and notes; and the timeline in which all that
//! happened can be read (rules L2, L4, M6).

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::shopper::{address, home};
use crate::harness::{Answer, Api, Node, Shop};

const NOBODY: &str = "/v1/admin/customers/0190b4a0-0000-7000-8000-000000000000";

struct Desk {
    shop: Shop,
    node: Node,
    id: String,
}

impl Desk {
    async fn open(settings: &[(&str, &str)]) -> Self {
        let shop = Shop::configured(settings).await;
        let node = shop.node().await;
        let id = customer(&shop, &node).await;
        Self { shop, node, id }
    }

    fn path(&self, part: &str) -> String {
        format!("/v1/admin/customers/{}{part}", self.id)
    }

    async fn get(&self, part: &str) -> Answer {
        self.node.get(&self.path(part)).bearer(&self.shop.staff_key).send().await
    }

    async fn tag(&self, tag: &str) -> Answer {
        let call = self.node.post(&self.path("/tags"), json!({ "tag": tag }));
        call.bearer(&self.shop.staff_key).send().await
    }

    async fn untag(&self, tag: &str) -> Answer {
        let path = self.path(&format!("/tags/{tag}"));
        self.node.delete(&path).bearer(&self.shop.staff_key).send().await
    }

    async fn note(&self, text: &str) -> Answer {
        let call = self.node.post(&self.path("/notes"), json!({ "text": text }));
        call.bearer(&self.shop.staff_key).send().await
    }

    /// Every item of a list, page by page of this size.
    async fn all(&self, part: &str, limit: usize) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{part}?limit={limit}{cursor}")).await.expect(200).json();
            let more = page["items"].as_array().unwrap();
            assert!(more.len() <= limit);
            items.extend(more.iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    async fn no_gap_in_the_sequence(&self) {
        let gaps = format!(
            "SELECT count(*) FROM (SELECT customer_sequence, row_number() OVER (ORDER BY customer_sequence) \
             AS n FROM outbox_events WHERE customer_id = '{}') AS m WHERE customer_sequence <> n",
            self.id
        );
        assert_eq!(self.shop.database.count(&gaps).await, 0);
    }
}

async fn customer(shop: &Shop, node: &Api) -> String {
    let body = json!({ "email": address(), "first_name": "Ánh", "last_name": "Nguyễn" });
    let made = node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await;
    made.expect(201).json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_a_tag_comes_and_goes_alone() {
    let desk = Desk::open(&[]).await;
    let first = desk.tag(" Đại  lý ").await.expect(200);
    assert_eq!((first.json()["tags"].clone(), first.version()), (json!(["Đại lý"]), 2));
    let second = desk.tag("a/b c").await.expect(200);
    assert_eq!((second.json()["tags"].clone(), second.version()), (json!(["a/b c", "Đại lý"]), 3));
    assert_eq!(desk.tag("a/b c").await.expect(200).version(), 3, "there already");
    assert_eq!(desk.all("/tags", 1).await, [json!("a/b c"), json!("Đại lý")]);
    let found = desk.node.get("/v1/admin/customers?tag=a%2Fb%20c").bearer(&desk.shop.staff_key);
    let found = found.send().await.expect(200).json();
    assert_eq!(found["items"][0]["id"], desk.id.as_str());
    let stale = desk.node.delete(&desk.path("/tags/a%2Fb%20c")).bearer(&desk.shop.staff_key);
    stale.if_match(2).send().await.problem(412, "precondition_failed");
    for _ in 0..2 {
        desk.untag("a%2Fb%20c").await.expect(204);
    }
    assert_eq!(desk.get("/tags").await.expect(200).json()["items"], json!(["Đại lý"]));
    let messages = desk.shop.messages(&desk.id).await;
    assert_eq!(
        messages,
        ["customer.created", "customer.updated", "customer.updated", "customer.updated"]
    );
    let told = format!(
        "SELECT data->>'changed' FROM outbox_events WHERE customer_id = '{}' AND kind = 'customer.updated'",
        desk.id
    );
    assert_eq!(desk.shop.database.column(&told).await, [r#"["tags"]"#; 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_a_tag_request_is_carried_out_once_and_fifty_are_enough() {
    let desk = Desk::open(&[]).await;
    let key = &desk.shop.staff_key;
    let once = |tag: &str| {
        let call = desk.node.post(&desk.path("/tags"), json!({ "tag": tag })).bearer(key);
        call.idempotency_key("one").send()
    };
    let first = once("t0").await.expect(200);
    desk.untag("t0").await.expect(204);
    let again = once("t0").await.expect(200);
    assert_eq!((again.json(), again.header("idempotency-replayed")), (first.json(), "true"));
    assert_eq!(desk.get("/tags").await.json()["items"], json!([]), "not carried out again");
    once("t1").await.problem(422, "idempotency_key_reused");
    let many: Vec<_> = (0..50).map(|n| format!("t{n:02}")).collect();
    let all = desk.node.patch(&desk.path(""), json!({ "tags": many })).bearer(key);
    all.send().await.expect(200);
    desk.tag("one more").await.problem(409, "tag_limit_reached");
    desk.tag("t07").await.expect(200);
    for bad in [json!({ "tag": " " }), json!({ "tag": "x".repeat(81) }), json!({ "tag": null })] {
        let bad = desk.node.post(&desk.path("/tags"), bad).bearer(key).send().await;
        bad.problem(422, "validation_failed");
    }
    let bad = json!({ "tags": ["a"] });
    let bad = desk.node.post(&desk.path("/tags"), bad).bearer(key).send().await;
    let faults = bad.problem(422, "validation_failed").faults();
    assert_eq!(faults, ["#/tag required", "#/tags unknown_field"]);
    desk.untag("a%00b").await.problem(404, "not_found");
}

/// No tag is lost and no message is missing, on two nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_of_32_taggers_at_once_none_loses_anothers_tag() {
    let desk = Desk::open(&[]).await;
    let nodes = [&desk.node, &desk.shop.node().await];
    let (path, key) = (desk.path("/tags"), &desk.shop.staff_key);
    let before: Vec<_> = (0..16).map(|n| format!("old{n}")).collect();
    let start = desk.node.patch(&desk.path(""), json!({ "tags": before })).bearer(key);
    start.send().await.expect(200);
    let taggers = (0..32).map(async |number: usize| {
        let node: &Api = nodes[number % 2];
        let add = json!({ "tag": format!("new{number}") });
        node.post(&path, add.clone()).bearer(key).send().await.expect(200);
        node.post(&path, add).bearer(key).send().await.expect(200);
        if number < 16 {
            let old = format!("{path}/old{number}");
            node.delete(&old).bearer(key).send().await.expect(204);
        }
    });
    join_all(taggers).await;
    let tags: BTreeSet<_> =
        desk.all("/tags", 10).await.into_iter().map(|tag| tag.to_string()).collect();
    assert_eq!(tags, (0..32).map(|number| format!("\"new{number}\"")).collect());
    // Made, given its old tags, then one message for each tag that came or went.
    assert_eq!(desk.shop.messages(&desk.id).await.len(), 2 + 32 + 16);
    let version = desk.get("").await.version();
    assert_eq!(version, 2 + 32 + 16);
    desk.no_gap_in_the_sequence().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_are_written_read_newest_first_and_deleted() {
    let desk = Desk::open(&[]).await;
    let (author, key) = desk.shop.key("customers:write");
    let body = json!({ "text": " Gọi lại\r\nsau 18 giờ " });
    let write = || desk.node.post(&desk.path("/notes"), body.clone()).bearer(&key);
    let first = write().idempotency_key("n").send().await.expect(201);
    let again = write().idempotency_key("n").send().await.expect(201);
    assert_eq!((again.json(), again.header("idempotency-replayed")), (first.json(), "true"));
    assert_eq!(again.header("location"), first.header("location"));
    let note = first.json();
    assert_eq!((&note["text"], &note["author"]), (&json!("Gọi lại\nsau 18 giờ"), &json!(author)));
    assert!(note["created_at"].as_str().unwrap().ends_with('Z'));
    let place = first.header("location").to_owned();
    assert_eq!(place, desk.path(&format!("/notes/{}", note["id"].as_str().unwrap())));
    let shown = desk.node.get(&place).bearer(&desk.shop.staff_key).send().await.expect(200);
    assert_eq!(shown.json(), note);
    for number in 2..=5 {
        desk.note(&number.to_string()).await.expect(201);
    }
    let texts: Vec<_> =
        desk.all("/notes", 2).await.iter().map(|note| note["text"].clone()).collect();
    assert_eq!(texts, ["5", "4", "3", "2", "Gọi lại\nsau 18 giờ"]);
    desk.node.delete(&place).bearer(&key).send().await.expect(204);
    desk.node.delete(&place).bearer(&key).send().await.problem(404, "not_found");
    let shown = desk.node.get(&place).bearer(&desk.shop.staff_key).send().await;
    shown.problem(404, "not_found");
    assert_eq!(desk.all("/notes", 100).await.len(), 4);
    // Nobody outside is told, and the audit tells who and which, not what.
    assert_eq!(desk.shop.messages(&desk.id).await, ["customer.created"]);
    let of =
        format!("FROM audit_entries WHERE customer_id = '{}' AND action LIKE 'note.%'", desk.id);
    let removal = "SELECT actor_id || ' ' || (data->>'note_id')";
    let removal = format!("{removal} {of} AND action = 'note.removed'");
    let expected = format!("{author} {}", note["id"].as_str().unwrap());
    assert_eq!(desk.shop.database.one(&removal).await, expected);
    assert_eq!(desk.shop.database.count(&format!("SELECT count(*) {of}")).await, 6);
    let said = format!("SELECT count(*) {of} AND data::text LIKE '%Gọi%'");
    assert_eq!(desk.shop.database.count(&said).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_that_is_not_one_is_refused_and_so_is_one_too_many() {
    let desk = Desk::open(&[("CUSTOMERS__NOTE_LIMIT", "3")]).await;
    let key = &desk.shop.staff_key;
    for (body, fault) in [
        (json!({}), "#/text required"),
        (json!({ "text": " \n" }), "#/text required"),
        (json!({ "text": 7 }), "#/text wrong_type"),
        (json!({ "text": "x".repeat(4_001) }), "#/text too_long"),
        (json!({ "text": "a\u{7}" }), "#/text control_character"),
        (json!({ "text": "a", "author": "me" }), "#/author unknown_field"),
    ] {
        let bad = desk.node.post(&desk.path("/notes"), body).bearer(key).send().await;
        assert_eq!(bad.problem(422, "validation_failed").faults(), [fault]);
    }
    let longest = "ế".repeat(4_000);
    let kept = desk.note(&longest).await.expect(201);
    assert_eq!(kept.json()["text"], longest);
    // Of many at once exactly as many as there is room for, and room again when one is gone.
    let written = join_all((0..8).map(|_| desk.note("a"))).await;
    assert_eq!(written.iter().filter(|answer| answer.status == 201).count(), 2);
    for refused in written.into_iter().filter(|answer| answer.status != 201) {
        refused.problem(409, "note_limit_reached");
    }
    desk.node.delete(kept.header("location")).bearer(key).send().await.expect(204);
    desk.note("b").await.expect(201);
    desk.note("c").await.problem(409, "note_limit_reached");
    // Another customer's note is nobody's here.
    let note = desk.all("/notes", 1).await[0]["id"].as_str().unwrap().to_owned();
    let other = customer(&desk.shop, &desk.node).await;
    let foreign = format!("/v1/admin/customers/{other}/notes/{note}");
    desk.node.get(&foreign).bearer(key).send().await.problem(404, "not_found");
    desk.node.delete(&foreign).bearer(key).send().await.problem(404, "not_found");
    assert_eq!(desk.all("/notes", 100).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_notes_and_timeline_need_their_scope_and_their_customer() {
    let desk = Desk::open(&[]).await;
    let node = &desk.node;
    let (_, reader) = desk.shop.key("customers:read");
    let (_, writer) = desk.shop.key("customers:write");
    let (_, auditor) = desk.shop.key("audit:read");
    let note = desk.note("a").await.expect(201).header("location").to_owned();
    let (tags, notes) = (desk.path("/tags"), desk.path("/notes"));
    let (tag, text) = (json!({ "tag": "a" }), json!({ "text": "a" }));
    let tagged = format!("{tags}/a");
    let lacking = [
        node.post(&tags, tag.clone()).bearer(&reader),
        node.delete(&tagged).bearer(&reader),
        node.get(&tags).bearer(&writer),
        node.post(&notes, text.clone()).bearer(&reader),
        node.get(&notes).bearer(&auditor),
        node.get(&note).bearer(&writer),
        node.delete(&note).bearer(&reader),
        node.get(&desk.path("/timeline")).bearer(&reader),
    ];
    for call in lacking {
        call.send().await.problem(403, "insufficient_scope");
    }
    node.get(&desk.path("/timeline")).bearer(&auditor).send().await.expect(200);
    let key = &desk.shop.staff_key;
    node.delete(&desk.path("")).bearer(key).send().await.expect(204);
    // Nobody's, or a deleted customer's: all but the timeline is gone.
    for base in [NOBODY.to_owned(), desk.path("")] {
        let (tags, notes) = (format!("{base}/tags"), format!("{base}/notes"));
        let note = format!("{notes}/{}", note.rsplit('/').next().unwrap());
        let gone = [
            node.get(&tags),
            node.post(&tags, tag.clone()),
            node.delete(&format!("{tags}/a")),
            node.get(&notes),
            node.post(&notes, text.clone()),
            node.get(&note),
            node.delete(&note),
        ];
        for call in gone {
            call.bearer(key).send().await.problem(404, "not_found");
        }
    }
    let nobody = node.get(&format!("{NOBODY}/timeline")).bearer(key).send().await;
    nobody.problem(404, "not_found");
    let last = desk.get("/timeline?limit=2").await.expect(200).json();
    let items = last["items"].as_array().unwrap();
    assert!(items.iter().any(|item| item["action"] == "customer.deleted"), "{last}");
    assert!(items.iter().any(|item| item["type"] == "customer.deleted"), "{last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeline_holds_entries_and_messages_latest_first() {
    let desk = Desk::open(&[]).await;
    let (id, key) = desk.shop.key("customers:write");
    let call = desk.node.post(&desk.path("/tags"), json!({ "tag": "a" })).bearer(&key);
    call.header("x-request-id", "the-request").send().await.expect(200);
    desk.note("a secret word").await.expect(201);
    let all = desk.all("/timeline", 100).await;
    let shown: Vec<_> = all
        .iter()
        .map(|item| {
            let name = item["action"].as_str().or(item["type"].as_str()).unwrap();
            (item["kind"].as_str().unwrap(), name)
        })
        .collect();
    // Of one instant, what was made last comes first.
    let expected = [
        ("entry", "note.added"),
        ("entry", "customer.updated"),
        ("message", "customer.updated"),
        ("entry", "customer.created"),
        ("message", "customer.created"),
    ];
    assert_eq!(shown, expected);
    let (entry, message) = (&all[1], &all[2]);
    assert_eq!(entry["actor"], json!({ "kind": "staff", "id": id }));
    assert_eq!(
        (&entry["request_id"], &entry["data"]["changed"]),
        (&json!("the-request"), &json!(["tags"]))
    );
    assert_eq!(
        (&message["sequence"], &message["data"]["customer_id"]),
        (&json!(2), &json!(desk.id))
    );
    assert!(!json!(all).to_string().contains("secret word"));
    // An address makes three entries and three messages of one instant: a page may end among them.
    let book = desk.node.post(&desk.path("/addresses"), home("Huế"));
    book.bearer(&desk.shop.staff_key).send().await.expect(201);
    let all = desk.all("/timeline", 100).await;
    assert_eq!(all.len(), 5 + 6);
    for size in [1, 2, 3] {
        assert_eq!(desk.all("/timeline", size).await, all);
    }
    for bad in ["?limit=0", "?cursor=x", "?from=now"] {
        desk.get(&format!("/timeline{bad}")).await.problem(422, "validation_failed");
    }
    // Messages go with their partition; the entries stay.
    desk.shop.database.execute("DELETE FROM outbox_events").await;
    let kinds: Vec<_> =
        desk.all("/timeline", 2).await.iter().map(|item| item["kind"].clone()).collect();
    assert_eq!(kinds, ["entry"; 3 + 3]);
}

/// Whoever turns the pages while others write meets everything that was there exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeline_pages_are_stable_under_writes() {
    let desk = Desk::open(&[]).await;
    for number in 0..12 {
        desk.tag(&format!("old{number}")).await.expect(200);
    }
    let name = |item: &Value| item["id"].as_str().unwrap().to_owned();
    let time = |item: &Value| {
        item["occurred_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    };
    let before: Vec<_> = desk.all("/timeline", 100).await.iter().map(name).collect();
    assert_eq!(before.len(), 26);
    let write = async {
        for number in 0..20 {
            desk.tag(&format!("new{number}")).await.expect(200);
        }
    };
    let read = async {
        let mut turns = Vec::new();
        for _ in 0..4 {
            turns.push(desk.all("/timeline", 3).await);
        }
        turns
    };
    let ((), turns) = tokio::join!(write, read);
    for turn in turns {
        let met: Vec<_> = turn.iter().map(name).collect();
        assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), met.len(), "nothing twice");
        assert_eq!(met[met.len() - before.len()..], before, "nothing missed");
        let times: Vec<_> = turn.iter().map(time).collect();
        assert!(times.is_sorted_by(|later, earlier| later >= earlier), "latest first");
    }
    desk.no_gap_in_the_sequence().await;
}
