//! The rules as they stand in the file, and made short: what must hold for minutes holds for a second, and
//! what is looked at over minutes or hours is looked at over twenty seconds. Thresholds stay, except the
//! few that are themselves a time, of which the table tells.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::table;

pub const RULES: &str = include_str!("../../deploy/prometheus/alerts.yaml");
const RUNBOOKS: &str = include_str!("../../docs/runbooks.md");

/// In place of every range; ten looks of Prometheus.
const RANGE: &str = "[20s]";
/// In place of every `for`.
const FOR: &str = "for: 1s";

/// The text of each alert, by its name.
pub fn alerts() -> BTreeMap<&'static str, &'static str> {
    let alerts = RULES.split("- alert: ").skip(1);
    alerts.filter_map(|alert| alert.split_once('\n')).collect()
}

/// The whole file, made short.
pub fn short() -> String {
    let (range, lasts) = (Regex::new(r"\[\d+[smhd]\]").unwrap(), Regex::new(r"for: \w+").unwrap());
    let mut parts = RULES.split("- alert: ");
    let mut rules = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('\n').unwrap();
        let mut rest = rest.to_owned();
        for (from, to) in
            table::FIRED.iter().find(|row| row.alert == name).map_or(&[][..], |row| row.changed)
        {
            assert_eq!(rest.matches(from).count(), 1, "{name}: {from}");
            rest = rest.replace(from, to);
        }
        let rest = range.replace_all(&rest, RANGE);
        rules += &format!("- alert: {name}\n{}", lasts.replace_all(&rest, FOR));
    }
    rules
}

/// All series that the rules ask for, each as it is asked for.
pub fn selectors() -> BTreeSet<&'static str> {
    let selector = Regex::new(r"[a-z_]+\{[^}]*\}").unwrap();
    let alerts = alerts();
    let found = alerts.values().flat_map(|alert| {
        // The annotations have braces of their own.
        let expression = alert.split("labels:").next().unwrap_or_default();
        selector.find_iter(expression).map(|found| found.as_str())
    });
    found.collect()
}

/// Whether this is the address of a section of the runbooks.
pub fn is_section(url: &str) -> bool {
    let Some(anchor) = url.strip_prefix("docs/runbooks.md#") else { return false };
    let headings = RUNBOOKS.lines().filter_map(|line| line.strip_prefix("## "));
    headings.map(str::to_lowercase).any(|heading| heading == anchor)
}

#[test]
fn rules_are_made_short_in_time_alone() {
    let without_time = |text: &str| {
        let text = Regex::new(r"\[\d+[smhd]\]").unwrap().replace_all(text, "[]").into_owned();
        Regex::new(r"for: \w+").unwrap().replace_all(&text, "for:").into_owned()
    };
    let short = short();
    let mut parts = short.split("- alert: ").skip(1).filter_map(|part| part.split_once('\n'));
    for (name, before) in RULES.split("- alert: ").skip(1).filter_map(|part| part.split_once('\n'))
    {
        let (same, after) = parts.next().unwrap();
        let row = table::FIRED.iter().find(|row| row.alert == name);
        let changed = row.map_or(&[][..], |row| row.changed).iter();
        let expected =
            changed.fold(without_time(before), |text, (from, to)| text.replace(from, to));
        assert_eq!((same, without_time(after)), (name, expected));
    }
    assert!(selectors().contains("up{job=\"customer-service\"}"));
    assert!(selectors().len() > 40, "{}", selectors().len());
    assert!(is_section("docs/runbooks.md#servicedown") && !is_section("docs/runbooks.md#service"));
}
