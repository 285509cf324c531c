//! Files as they come: in pieces, with every fault that files have.

use super::*;
use crate::actors::imports::settings::begin;
use crate::clock::SystemClock;
use crate::domain::address::AddressLimits;
use crate::domain::consent::{MarketingTerms, TextVersion};
use crate::domain::customer::GroupCode;
use crate::domain::place::{Currency, Locale, TimeZone};
use uuid::Uuid;

fn rules() -> Rules {
    Rules {
        group_individual: GroupCode::from_stored("individual".into()),
        group_business: GroupCode::from_stored("business".into()),
        locale: Locale::from_stored("en".into()),
        timezone: TimeZone::from_stored("UTC".into()),
        currency: Currency::from_stored("USD".into()),
        marketing: MarketingTerms {
            text_version: TextVersion::from_stored("1".into()),
            channels: Vec::new(),
        },
        address_limits: AddressLimits { individual: 50, business: 50 },
        hash_parameters: None,
        readable: |_| true,
        now: "2026-11-22T00:00:00Z".parse().unwrap(),
    }
}

/// Line and codes of each row; sound ones have none.
fn rows(format: Format, file: &[u8], piece: usize) -> Vec<(u64, Vec<String>)> {
    let mut settings = Settings::new(Mapping::default(), ',', None);
    let start = begin(format, &mut settings, file, true).unwrap();
    let import = ImportId(Uuid::from_u128(1));
    let mut reader = Reader::new(import, Actor::Operator, format, &settings, 400, start);
    let mut rest = Bytes::copy_from_slice(&file[usize::try_from(start.offset).unwrap()..]);
    let (mut rows, mut ids) = (Vec::new(), Ids::new(&SystemClock, 5));
    loop {
        match reader.fill(&mut rows, usize::MAX, &rules(), &mut ids) {
            Need::Input => reader.feed(rest.split_to(piece.min(rest.len()))),
            Need::TheEnd => break,
            Need::Nothing => unreachable!("no limit"),
        }
    }
    let told = |row: &Row| {
        assert_eq!(row.submission.is_none(), !row.faults.is_empty());
        let told =
            |it: &RowFault| format!("{} {}", it.field.as_deref().unwrap_or("row"), it.fault.code);
        (row.line, row.faults.iter().map(told).collect())
    };
    rows.iter().map(told).collect()
}

#[test]
fn what_is_wrong_with_a_row_is_told_and_the_next_one_is_read() {
    let long = "x".repeat(10_000);
    let mut csv = b"\xef\xbb\xbfemail,first_name,last_name\r\n".to_vec();
    for line in [
        "a@example.org,A,A",
        "b@example.org,B",
        "c@example.org,C,C,C",
        &format!("d@example.org,{long},D"),
        "e@example.org,\"E\nE\",E",
        "f@example.org,F,F",
    ] {
        csv.extend_from_slice(line.as_bytes());
        csv.extend_from_slice(b"\r\n");
    }
    csv.extend_from_slice(b"g@example.org,Stra\xdfe,G\r\nh@example.org,H,\"H");
    let expected = [
        (2, vec![]),
        (3, vec!["row wrong_column_count"]),
        (4, vec!["row wrong_column_count"]),
        (5, vec!["row row_too_long"]),
        (6, vec!["first_name control_character"]),
        (8, vec![]),
        (9, vec!["first_name not_utf8"]),
        (10, vec!["row unclosed_quote"]),
    ];
    for piece in [1, 64, 1 << 20] {
        assert_eq!(rows(Format::Csv, &csv, piece), owned(&expected), "pieces of {piece}");
    }
}

#[test]
fn lines_of_ndjson_are_rows() {
    let sound = r#""email":"a@example.org","first_name":"A","last_name":"A""#;
    let mut file = Vec::new();
    for line in [
        format!("{{{sound}}}"),
        "  ".to_owned(),
        format!("{{{sound},\"E Mail\":1,\"email\":\"x\"}}"),
        format!("{{{sound},\"street\":1,\"jane@example.org\":1}}"),
        format!("{{{sound},\"Email\":\"a@example.org\"}}"),
        format!("{{{sound}"),
        format!("{{{sound},\"bio\":\"{}\"}}", "x".repeat(1_000)),
        "[1]".to_owned(),
    ] {
        file.extend_from_slice(line.as_bytes());
        file.push(b'\n');
    }
    file.extend_from_slice(b"{\"email\":\"\xe9\"}");
    let expected = [
        (1, vec![]),
        (3, vec!["row duplicate_key"]),
        (4, vec!["(unnamed) unknown_field", "street unknown_field"]),
        (5, vec!["email same_column"]),
        (6, vec!["row malformed_json"]),
        (7, vec!["row row_too_long"]),
        (8, vec!["row malformed_json"]),
        (9, vec!["row not_utf8"]),
    ];
    for piece in [1, 64, 1 << 20] {
        assert_eq!(rows(Format::Ndjson, &file, piece), owned(&expected), "pieces of {piece}");
    }
}

fn owned(expected: &[(u64, Vec<&str>)]) -> Vec<(u64, Vec<String>)> {
    let own = |codes: &Vec<&str>| codes.iter().map(|&code| code.to_owned()).collect();
    expected.iter().map(|(line, codes)| (*line, own(codes))).collect()
}

#[test]
fn a_header_alone_is_an_import_of_nothing() {
    assert!(rows(Format::Csv, b"email,first_name,last_name\n", 10).is_empty());
    assert!(rows(Format::Csv, b"email,first_name,last_name", 10).is_empty());
}
