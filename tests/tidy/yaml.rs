//! As much of YAML as `deploy/` is written in: mappings, lists, scalars of one line, lists in brackets,
//! anchors. What is not understood is a fault, so that a file is either read or complained of.

use std::collections::BTreeMap;

struct Line<'t> {
    number: usize,
    indent: usize,
    text: &'t str,
}

/// Every scalar by its path: `spec.containers[0].name`. A key without a value has an empty one.
pub fn read(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let text = line.trim_start_matches(' ');
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let indent = line.len() - text.len();
        if indent % 2 == 1 || text.contains('\t') || text.ends_with(' ') || text.contains(" #") {
            return Err(format!("line {}: an odd indent, a tab, or a remark behind", number + 1));
        }
        lines.push(Line { number: number + 1, indent, text });
    }
    let mut found = BTreeMap::new();
    let rest = block(&mut lines[..], 0, "", &mut found)?;
    match rest.first() {
        None => Ok(found),
        Some(line) => Err(format!("line {}: it belongs to nothing", line.number)),
    }
}

/// Reads what stands at `indent`, and answers with the lines behind it.
fn block<'l, 't>(
    mut lines: &'l mut [Line<'t>],
    indent: usize,
    place: &str,
    found: &mut BTreeMap<String, String>,
) -> Result<&'l mut [Line<'t>], String> {
    let mut items = 0;
    let mut keys = Vec::new();
    while lines.first().is_some_and(|line| line.indent == indent) {
        let Line { number, text, .. } = lines[0];
        if let Some(item) = text.strip_prefix("- ") {
            let place = format!("{place}[{items}]");
            items += 1;
            if pair(item).is_some() {
                // A mapping, whose first key stands behind the dash.
                lines[0] = Line { number, indent: indent + 2, text: item };
                lines = block(lines, indent + 2, &place, found)?;
            } else {
                scalar(number, item, &place, found)?;
                lines = &mut lines[1..];
            }
            continue;
        }
        let Some((key, value)) = pair(text).filter(|_| items == 0) else {
            return Err(format!("line {number}: no key and no item: {text}"));
        };
        if keys.contains(&key) {
            return Err(format!("line {number}: {key} stands twice"));
        }
        keys.push(key);
        let place = if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
        lines = &mut lines[1..];
        let deeper = lines.first().is_some_and(|line| line.indent > indent);
        match (deeper, value.is_empty() || value.starts_with('&')) {
            (true, true) => lines = block(lines, indent + 2, &place, found)?,
            (true, false) => return Err(format!("line {number}: a value, and more below")),
            (false, _) => scalar(number, value, &place, found)?,
        }
    }
    Ok(lines)
}

fn pair(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['"', '\'', '[', '{']) {
        return None;
    }
    text.strip_suffix(':').map(|key| (key, "")).or_else(|| text.split_once(": "))
}

fn scalar(
    number: usize,
    text: &str,
    place: &str,
    found: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(format!("line {number}: no end of the list"))?;
        // No item holds a comma.
        for (item, text) in inner.split(", ").filter(|text| !text.is_empty()).enumerate() {
            scalar(number, text, &format!("{place}[{item}]"), found)?;
        }
        return Ok(());
    }
    if text == "{}" {
        return Ok(());
    }
    if text.starts_with(['|', '>', '{', '%', '@']) {
        return Err(format!("line {number}: not read here: {text}"));
    }
    let bare = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    if bare.is_none() && text.starts_with(['"', '\'']) {
        return Err(format!("line {number}: no end of the text"));
    }
    found.insert(place.to_owned(), bare.unwrap_or(text).to_owned());
    Ok(())
}

#[test]
fn it_reads_what_it_understands_and_complains_of_the_rest() {
    let text =
        "# a remark\na: &x\n  b: [c, \"d e\"]\nlist:\n  - name: n\n    value: v\n  - w\nz: {}\n";
    let read_of: Vec<_> = read(text).unwrap().into_iter().collect();
    let expected =
        [("a.b[0]", "c"), ("a.b[1]", "d e"), ("list[0].name", "n"), ("list[0].value", "v")];
    let expected = expected.into_iter().chain([("list[1]", "w")]);
    assert_eq!(
        read_of,
        expected.map(|(path, value)| (path.to_owned(), value.to_owned())).collect::<Vec<_>>()
    );
    for wrong in
        ["a: 1\na: 2", "a:\n    b: 1", "a: |\n  text", "a: \"b", "a: 1\n  b: 2", "\ta: 1", "a"]
    {
        assert!(read(wrong).is_err(), "{wrong:?} is taken");
    }
}
