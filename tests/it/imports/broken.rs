//! Bad input: each an error of its row, or a refusal of the file that says what to do; the rest goes
//! in, nothing twice, and no value of a row is ever told.

use std::time::Duration;

use serde_json::json;

use super::{CSV, HEADER, NDJSON, counts, errors, import, over, rows, send, whole};
use crate::attributes::define;
use crate::harness::{Shop, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_a_bad_row_is_told_by_line_and_field_and_the_others_go_in() {
    let shop = Shop::configured(&[("IMPORTS__BLOCK_ROWS", "5")]).await;
    let node = shop.node().await;
    let before = json!({ "email": "Taken@shop.example", "first_name": "T", "last_name": "T" });
    let taken = node.post("/v1/admin/customers", before).bearer(&shop.staff_key).send().await;
    taken.expect(201);
    define(&node, &shop, "age", json!({ "type": "integer" })).await.expect(201);
    let header = format!("{HEADER},date_of_birth,custom.age,group,bio\r\n");
    let mut file = b"\xef\xbb\xbf".to_vec();
    file.extend_from_slice(header.as_bytes());
    let long = "x".repeat(10_000_000);
    for line in [
        "one@shop.example,A,A,,,,",
        "two@shop.example,B,B,2030-01-01,,,",
        "three@shop.example,C,C,-5,,,",
        "four@shop.example,D,D,,-42,,",
        "ONE@shop.example,E,E,,,,",
        "five@shop.example,F,F,,,,",
        "taken@shop.example,G,G,,,,",
        "six@shop.example,H,H,,,nobility,",
        "seven@shop.example,I,I",
        &format!("eight@shop.example,J,J,,,,{long}"),
        "nine@shop.example,\"K\nK\",K,,,,",
        "five@Shop.example,L,L,,,,",
        "ten@shop.example,M,M,1990-02-28,,individual,\"a \"\"quoted\"\" word\"",
    ] {
        file.extend_from_slice(line.as_bytes());
        file.extend_from_slice(b"\r\n");
    }
    file.extend_from_slice(b"eleven@shop.example,Stra\xdfe,M,,,,\r\n\r\n");
    file.extend_from_slice(b"twelve@shop.example,\"N,N,,,,\r\nthirteen@shop.example,O,O,,,,\r\n");
    let done = import(&shop, &node, "", CSV, &file).await;
    let expected = [
        "3 date_of_birth not_in_past",
        "4 date_of_birth invalid_date",
        "6 email duplicate_in_file",
        "8 email email_taken",
        "9 group unknown_group",
        "10 row wrong_column_count",
        "11 row row_too_long",
        "12 first_name control_character",
        "14 email duplicate_in_file",
        "16 first_name not_utf8",
        "18 row unclosed_quote",
    ];
    assert_eq!(errors(&shop, &node, &done).await, expected);
    // one, four (a negative number is one), five, ten
    assert_eq!((counts(&done), &done["state"]), ((15, 4, 11), &json!("completed")), "{done}");
    whole(&shop, 5).await;
    let path = format!("/v1/admin/imports/{}/errors", done["id"].as_str().unwrap());
    let table = node.get(&path).bearer(&shop.staff_key).send().await.expect(200);
    assert_eq!(table.header("content-type"), "text/csv; charset=utf-8; header=present");
    let table = table.text();
    assert!(table.starts_with("line,field,code,detail\n"), "{table}");
    assert!(table.contains("14,email,duplicate_in_file,is that of line 7 already\n"), "{table}");
    assert!(!table.contains("example") && !table.contains("nobility"), "{table}");
    assert!(!node.log().contains("shop.example"), "no address in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_lines_of_ndjson_are_told_and_the_others_go_in() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    define(&node, &shop, "n", json!({ "type": "integer" })).await.expect(201);
    let sound = json!({ "email": "a@shop.example", "first_name": "A", "last_name": "A" });
    let half = sound.to_string();
    let mut file = format!("{sound}\n").into_bytes();
    for line in [
        json!({ "email": "b@shop.example", "first_name": "B", "last_name": "B", "street": 1 }),
        json!({ "email": "c@shop.example", "first_name": 3, "custom": { "n": -1 } }),
        json!({ "email": "d@shop.example", "first_name": "D", "last_name": "D", "custom": { "n": -1 } }),
    ] {
        file.extend_from_slice(format!("{line}\r\n").as_bytes());
    }
    file.extend_from_slice(b"{\"email\": \"\xe9\"}\n\n");
    file.extend_from_slice(&half.as_bytes()[..half.len() / 2]);
    let done = import(&shop, &node, "", NDJSON, &file).await;
    let expected = [
        "2 street unknown_field",
        "3 first_name wrong_type",
        "3 last_name required",
        "5 row not_utf8",
        "7 row malformed_json",
    ];
    assert_eq!(errors(&shop, &node, &done).await, expected);
    assert_eq!(counts(&done), (6, 2, 4));
    whole(&shop, 2).await;
    // What is no field may be read over.
    let file =
        json!({ "email": "e@shop.example", "first_name": "E", "last_name": "E", "street": 1 });
    let file = file.to_string();
    let lenient = import(&shop, &node, "?ignore_unknown=true", NDJSON, file.as_bytes());
    assert_eq!(counts(&lenient.await), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_is_refused_at_once() {
    let shop = Shop::configured(&[("IMPORTS__UPLOAD_LIMIT_MIB", "1")]).await;
    let node = shop.node().await;
    let unknown = format!("{HEADER},street\na@shop.example,A,A,x\n");
    for (media_type, file, code) in [
        (CSV, &b""[..], "empty_file"),
        (CSV, b"\xef\xbb\xbf\r\n", "empty_file"),
        (NDJSON, b" \n", "empty_file"),
        (CSV, b"\xff\xfee\0m\0a\0", "wrong_encoding"),
        (CSV, b"email,first_name,last_name,Stra\xdfe\n", "wrong_encoding"),
        (CSV, unknown.as_bytes(), "unknown_column"),
        (CSV, b"jane@shop.example,Jane,Doe\njoe@shop.example,Joe,Doe\n", "unknown_column"),
        (CSV, b"email,last_name\n", "missing_column"),
        (CSV, b"email,first_name,last_name,E-Mail\n", "unknown_column"),
        (CSV, b"email,\"first_name,last_name\n", "header_too_long"),
    ] {
        let refused = send(&shop, &node, "", media_type, file).send().await;
        let refused = refused.problem(422, "validation_failed");
        assert_eq!(refused.faults(), [format!("# {code}")], "{}", String::from_utf8_lossy(file));
        assert!(!refused.text().contains("ane"), "{}", refused.text());
    }
    let alone = import(&shop, &node, "", CSV, format!("{HEADER}\n").as_bytes()).await;
    assert_eq!((counts(&alone), &alone["state"]), ((0, 0, 0), &json!("completed")));
    for (query, parameter) in [
        ("?map=x%3Dmail", "map malformed"),
        ("?delimiter=x", "delimiter unknown_value"),
        ("?dry_run=maybe", "dry_run malformed"),
        ("?format=csv", "format unknown_parameter"),
    ] {
        let refused = send(&shop, &node, query, CSV, rows(1)).send().await;
        assert_eq!(refused.problem(422, "validation_failed").faults(), [parameter]);
    }
    for media_type in ["application/json", "text/plain", "text/csv; charset=latin1"] {
        let refused = send(&shop, &node, "", media_type, rows(1)).send().await;
        refused.problem(415, "unsupported_media_type");
    }
    let zipped = send(&shop, &node, "", CSV, rows(1)).header("content-encoding", "gzip");
    zipped.send().await.problem(415, "unsupported_media_type");
    let secret = send(&shop, &node, "", CSV, rows(1)).header("password-hash-parameters", "md5");
    secret.send().await.problem(400, "malformed_header");
    let large = send(&shop, &node, "", CSV, rows(40_000)).send().await;
    large.problem(413, "payload_too_large");
    assert_eq!(shop.database.count("SELECT count(*) FROM customers").await, 0);
    nothing_is_left(&shop).await;
}

/// Of uploads that were refused: their rows go when their request does.
async fn nothing_is_left(shop: &Shop) {
    eventually("nothing is left", Duration::from_secs(10), async || {
        let left = "SELECT count(*) FROM imports WHERE state <> 'completed'";
        (shop.database.count(left).await == 0).then_some(())
    })
    .await;
    assert_eq!(shop.database.count("SELECT count(*) FROM import_chunks").await, 0);
}

/// Half a file: the announced length never comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_breaks_off_is_no_import() {
    use tokio::io::AsyncWriteExt;
    let shop = Shop::new().await;
    let node = shop.node().await;
    let file = rows(30_000);
    let address = node.base().trim_start_matches("http://").to_owned();
    let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST /v1/admin/imports HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\n\
         content-type: text/csv\r\ncontent-length: {}\r\n\r\n",
        shop.staff_key,
        file.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&file.as_bytes()[..file.len() - 100_000]).await.unwrap();
    eventually("a part was kept", Duration::from_secs(20), async || {
        let kept = "SELECT count(*) FROM import_chunks";
        (shop.database.count(kept).await > 0).then_some(())
    })
    .await;
    let list = node.get("/v1/admin/imports").bearer(&shop.staff_key).send().await.expect(200);
    assert_eq!(list.json()["items"], json!([]), "no import yet");
    drop(socket);
    nothing_is_left(&shop).await;
    assert_eq!(shop.database.count("SELECT count(*) FROM customers").await, 0);
    // In pieces without an announced length, and whole.
    let accepted = send(&shop, &node, "", CSV, rows(700)).send().await.expect(202);
    assert_eq!(counts(&over(&shop, &node, accepted.header("location")).await), (700, 700, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_tells_what_is_wrong_and_ends_with_its_code() {
    let shop = Shop::new().await;
    let path = |name: &str| shop.folder().join(name).display().to_string();
    let write = |name: &str, text: &str| {
        std::fs::write(path(name), text).unwrap();
        path(name)
    };
    let sound = write("sound.csv", &rows(3));
    let told = shop.run(&["import", &sound, "--dry-run"]);
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    assert!(String::from_utf8_lossy(&told.stdout).contains("3 could be imported"));
    assert_eq!(shop.database.count("SELECT count(*) FROM customers").await, 0);
    assert_eq!(shop.run(&["import", &sound]).status.code(), Some(0));
    whole(&shop, 3).await;
    let again = shop.run(&["import", &sound]);
    let text = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(again.status.success() && text.contains("by an earlier run"), "{text}");
    let once_more = shop.run(&["import", &sound, "--again", "--errors", &path("errors.csv")]);
    assert_eq!(once_more.status.code(), Some(3));
    let errors = std::fs::read_to_string(path("errors.csv")).unwrap();
    assert_eq!(errors.lines().count(), 4, "{errors}");
    assert!(errors.lines().nth(1).unwrap().starts_with("2,email,email_taken,"), "{errors}");
    whole(&shop, 3).await;
    let semicolons = write("other.txt", "Mail;Vorname;Nachname\nx@shop.example;X;Y\n");
    let mapped =
        ["--map", "Mail=email", "--map", "Vorname=first_name", "--map", "Nachname=last_name"];
    let told = shop.run(&[&["import", &semicolons, "--delimiter", ";"][..], &mapped].concat());
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    for (arguments, code) in [
        (vec!["import", &semicolons], 2),
        (vec!["import", &sound, "--map", "x=mail"], 2),
        (vec!["import", &sound, "--delimiter", "x"], 2),
        (vec!["import", "/nowhere.csv"], 1),
    ] {
        assert_eq!(shop.run(&arguments).status.code(), Some(code), "{arguments:?}");
    }
    let actor = "SELECT DISTINCT actor_kind FROM audit_entries WHERE action = 'customer.created'";
    assert_eq!(shop.database.column(actor).await, ["operator"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_is_kept_for_a_while_and_what_broke_off_is_swept() {
    let shop = Shop::new().await;
    let mut node = shop.node().await;
    let file = format!("{HEADER}\nx,A,A\n");
    let old = import(&shop, &node, "?name=old", CSV, file.as_bytes()).await;
    import(&shop, &node, "?name=new", CSV, file.as_bytes()).await;
    // The pieces go after the end of an import; of a node killed in between they have a term of their own.
    eventually("the pieces are gone", Duration::from_secs(20), async || {
        let pieces = shop.database.count("SELECT count(*) FROM import_chunks").await;
        (pieces == 0).then_some(())
    })
    .await;
    node.kill9();
    let aged = format!(
        "UPDATE imports SET finished_at = now() - interval '31 days' WHERE id = '{}'; \
         INSERT INTO imports SELECT (i).* FROM (SELECT jsonb_populate_record(i, jsonb_build_object(\
         'id', gen_random_uuid(), 'state', 'uploading', 'finished_at', null, \
         'touched_at', now() - interval '2 days')) AS i FROM imports AS i WHERE name = 'new') AS u; \
         UPDATE imports SET touched_at = now() - interval '31 days' WHERE state = 'uploading'; \
         INSERT INTO import_chunks SELECT id, 0, 'x' FROM imports WHERE state = 'uploading'",
        old["id"].as_str().unwrap()
    );
    shop.database.execute(&aged).await;
    // What the last transactions of the killed node still hold is passed by, and taken at another turn.
    eventually("what is over is gone", Duration::from_secs(20), async || {
        crate::janitor::janitor(&shop.database).clean().await.unwrap();
        (shop.database.column("SELECT name FROM imports").await == ["new"]).then_some(())
    })
    .await;
    assert_eq!(shop.database.count("SELECT count(*) FROM import_errors").await, 1);
    assert_eq!(shop.database.count("SELECT count(*) FROM import_chunks").await, 0);
}
