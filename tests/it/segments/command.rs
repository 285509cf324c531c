//! `customer-service segment check` as whoever types it sees it.

use std::io::Write;
use std::process::{Output, Stdio};

use crate::harness::Shop;

/// Checks what is given on standard input.
fn check(shop: &Shop, definition: &[u8], more: &[&str]) -> Output {
    let mut command = shop.command(&[("ANALYTICS__TIME_ZONE", "Asia/Ho_Chi_Minh")]);
    command.args(["segment", "check", "-"]).args(more);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A definition that is refused by its length is not read to its end.
    let _ = child.stdin.take().unwrap().write_all(definition);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn s1_a_definition_is_checked_on_the_command_line() {
    let shop = Shop::new().await;
    shop.database
        .execute(
            "INSERT INTO attribute_definitions (key, id, part, kind, limits, writer, reader, title, searchable, \
             created_at, updated_at, version) VALUES ('shoe_size', gen_random_uuid(), 'profile', 'decimal', '{}', \
             'staff', 'staff', 'Shoe size', false, now(), now(), 1)",
        )
        .await;
    let good = b"custom.shoe_size>42 and\n consent.marketing.email = TRUE and group != 'vip'\n";
    let told = check(&shop, good, &[]);
    assert!(told.status.success(), "{}", text(&told.stderr));
    assert_eq!(
        text(&told.stdout),
        "custom.shoe_size > 42 AND consent.marketing.email = true AND group != 'vip'\n\n\
         cost       5 of 400\ntime zone  Asia/Ho_Chi_Minh\n\
         reads      consent.marketing.email, custom.shoe_size, group\n"
    );

    let warned = check(&shop, b"custom.shoe_size != 42", &["--time-zone", "UTC"]);
    assert!(warned.status.success());
    let out = text(&warned.stdout);
    assert!(out.contains("time zone  UTC\n"), "{out}");
    assert!(out.contains("warning: line 1, column 1: customers without custom.shoe_size"), "{out}");

    let wrong = check(&shop, "custom.shoe_sise > 42\n  OR number_of_order > 'Đà'".as_bytes(), &[]);
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(text(&wrong.stdout), "");
    assert_eq!(
        text(&wrong.stderr),
        "line 1, column 1: there is no attribute custom.shoe_sise; did you mean custom.shoe_size?\n\
         \x20 | custom.shoe_sise > 42\n  | ^^^^^^^^^^^^^^^^\n\n\
         line 2, column 6: there is no attribute number_of_order; did you mean number_of_orders?\n\
         \x20 |   OR number_of_order > 'Đà'\n  |      ^^^^^^^^^^^^^^^\n\n2 mistakes\n"
    );

    let long = check(&shop, "(".repeat(1_000_000).as_bytes(), &[]);
    assert_eq!(long.status.code(), Some(1));
    assert!(text(&long.stderr).contains("a definition has at most 16384 bytes"));
    let missing = shop.run(&["segment", "check", "no-such-file"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("cannot read no-such-file"));
    let binary = check(&shop, b"group = '\xff\xfe'", &[]);
    assert_eq!(binary.status.code(), Some(1));
}

/// Who writes definitions need not know where the customers are kept.
#[test]
fn s1_a_definition_is_checked_without_a_database() {
    let check = |definition: &str, environment: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_customer-service"));
        command.args(["segment", "check", "-"]).env_clear().envs(environment.iter().copied());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(definition.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let good = check("number_of_orders >= 2", &[]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    assert!(text(&good.stdout).starts_with("number_of_orders >= 2\n"));
    let wrong = check("number_of_order >= 2", &[]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("did you mean number_of_orders?"));
    // Only the database knows custom attributes; what is given must be in order all the same.
    let custom = check("custom.shoe_size > 42", &[]);
    assert_eq!(custom.status.code(), Some(2));
    let told = text(&custom.stderr);
    assert!(told.contains("database.url is not set") && !told.contains("root_key"), "{told}");
    let odd = check("number_of_orders >= 2", &[("DATABASE_URL", "shop"), ("HOME", "/")]);
    assert_eq!(odd.status.code(), Some(2), "{}", text(&odd.stdout));
    let odd = check("number_of_orders >= 2", &[("CUSTOMER_SERVICE__SEGMENTS__COST_MAX", "1")]);
    assert_eq!(odd.status.code(), Some(2), "{}", text(&odd.stdout));
}
