//! The page of an export, for people: one file that asks no other host for anything, runs nothing, and
//! can be read by whatever reads pages. Whatever comes from the database is escaped: to the page it is
//! text, whoever wrote it.

use crate::db::personal_rows::Described;
use crate::domain::personal::Told;
use crate::mail::Language;
use serde_json::{Map, Value};
use std::fmt::Write;

/// How the rows of a table stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Of the only row each value has a line, with what it means.
    Single,
    Many,
}

impl Layout {
    pub fn of(rows: i64) -> Self {
        if rows == 1 { Self::Single } else { Self::Many }
    }
}

/// What is said around the values.
struct Words {
    language: &'static str,
    title: &'static str,
    introduction: &'static str,
    contents: &'static str,
    field: &'static str,
    value: &'static str,
    meaning: &'static str,
    columns: &'static str,
    yes: &'static str,
    no: &'static str,
    nothing: &'static str,
    made_at: &'static str,
}

const ENGLISH: Words = Words {
    language: "en",
    title: "Your data",
    introduction: "This is all that we keep about you. The same values are in customer.json, for \
        programs; manifest.json says what each means, and what is not told here and why.",
    contents: "Contents",
    field: "Field",
    value: "Value",
    meaning: "Meaning",
    columns: "What the columns mean",
    yes: "yes",
    no: "no",
    nothing: "none",
    made_at: "As of",
};

const VIETNAMESE: Words = Words {
    language: "vi",
    title: "Dữ liệu của bạn",
    introduction: "Đây là toàn bộ những gì chúng tôi lưu giữ về bạn. Tệp customer.json chứa cùng \
        các giá trị này cho máy đọc; manifest.json cho biết ý nghĩa của từng mục, những gì không \
        được nêu ở đây và vì sao.",
    contents: "Mục lục",
    field: "Mục",
    value: "Giá trị",
    meaning: "Ý nghĩa",
    columns: "Ý nghĩa của các cột",
    yes: "có",
    no: "không",
    nothing: "không có",
    made_at: "Tại thời điểm",
};

/// Nothing is loaded from anywhere, and no script runs.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;\
    padding:1rem;color:#1f2933;background:#fff}table{border-collapse:collapse;width:100%}\
    th,td{border:1px solid #9aa5b1;padding:.4rem .6rem;text-align:left;vertical-align:top;\
    overflow-wrap:anywhere}th{background:#f0f3f6}.wide{overflow-x:auto}.none,.what{color:#52606d}\
    a{color:#1f5fbf}:focus-visible{outline:3px solid #1f5fbf}";

/// Writes the page in one language.
pub struct Page(&'static Words);

impl Page {
    pub fn new(language: Language) -> Self {
        Self(match language {
            Language::En => &ENGLISH,
            Language::Vi => &VIETNAMESE,
        })
    }

    /// Up to the first table; `contents` are the tables with the numbers of their rows.
    pub fn head(&self, made_at: &str, contents: &[(&str, i64)]) -> String {
        let Words { language, title, introduction, contents: list, made_at: as_of, .. } = self.0;
        let mut text = format!(
            "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>\n\
             <h1>{title}</h1>\n<p>{introduction}</p>\n<p>{as_of}: <time datetime=\"{made_at}\">\
             {made_at}</time></p>\n</header>\n<nav aria-labelledby=\"contents\">\n\
             <h2 id=\"contents\">{list}</h2>\n<ul>\n"
        );
        for (table, rows) in contents {
            let (id, name) = (escaped(table), heading(table));
            let _ = writeln!(text, "<li><a href=\"#t-{id}\">{name}</a> ({rows})</li>");
        }
        text.push_str("</ul>\n</nav>\n<main>\n");
        text
    }

    pub fn table_head(&self, told: &Told, described: &Described, layout: Layout) -> String {
        let Words { field, value, meaning, columns, .. } = self.0;
        let (id, name, what) = (escaped(told.name), heading(told.name), escaped(&described.what));
        let mut text = format!(
            "<section aria-labelledby=\"t-{id}\">\n<h2 id=\"t-{id}\">{name}</h2>\n\
             <p class=\"what\" lang=\"en\">{what}.</p>\n"
        );
        let opened = format!(
            "<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-labelledby=\"t-{id}\">\n\
             <table>\n<thead><tr>"
        );
        match layout {
            Layout::Single => {
                text.push_str(&opened);
                for title in [field, value, meaning] {
                    let _ = write!(text, "<th scope=\"col\">{title}</th>");
                }
            }
            Layout::Many => {
                let _ = write!(text, "<details><summary>{columns}</summary>\n<dl lang=\"en\">\n");
                for column in &told.columns {
                    let what = meaning_of(described, column);
                    let _ = writeln!(text, "<dt>{}</dt><dd>{what}</dd>", escaped(column));
                }
                text.push_str("</dl></details>\n");
                text.push_str(&opened);
                for column in &told.columns {
                    let _ = write!(text, "<th scope=\"col\">{}</th>", escaped(column));
                }
            }
        }
        text.push_str("</tr></thead>\n<tbody>\n");
        text
    }

    pub fn row(
        &self,
        told: &Told,
        described: &Described,
        layout: Layout,
        row: &Map<String, Value>,
    ) -> String {
        let mut text = String::new();
        match layout {
            Layout::Single => {
                for column in &told.columns {
                    let (value, what) =
                        (self.value(row.get(*column)), meaning_of(described, column));
                    let _ = writeln!(
                        text,
                        "<tr><th scope=\"row\">{}</th><td>{value}</td>\
                         <td class=\"what\" lang=\"en\">{what}</td></tr>",
                        escaped(column)
                    );
                }
            }
            Layout::Many => {
                text.push_str("<tr>");
                for column in &told.columns {
                    let _ = write!(text, "<td>{}</td>", self.value(row.get(*column)));
                }
                text.push_str("</tr>\n");
            }
        }
        text
    }

    pub fn table_foot(&self) -> &'static str {
        "</tbody>\n</table>\n</div>\n</section>\n"
    }

    pub fn foot(&self) -> &'static str {
        "</main>\n</body>\n</html>\n"
    }

    fn value(&self, value: Option<&Value>) -> String {
        match value {
            None | Some(Value::Null) => format!("<span class=\"none\">{}</span>", self.0.nothing),
            Some(Value::Bool(yes)) => (if *yes { self.0.yes } else { self.0.no }).to_owned(),
            Some(Value::String(text)) => escaped(text),
            Some(other) => escaped(&other.to_string()),
        }
    }
}

fn meaning_of(described: &Described, column: &str) -> String {
    escaped(described.columns.get(column).map_or("", String::as_str))
}

/// A table's name as a heading: `customer_profiles` is `Customer profiles`.
fn heading(table: &str) -> String {
    let words = table.replace(['_', '.'], " ");
    let mut signs = words.chars();
    let first: String = signs.next().into_iter().flat_map(char::to_uppercase).collect();
    escaped(&format!("{first}{}", signs.as_str()))
}

/// As text of a page, also within an attribute. What a page could hide or turn around is shown as it is
/// kept in the JSON.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' => safe.push_str("<br>"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push('\u{fffd}'),
            sign if sign.is_control() && sign != '\t' => safe.push('\u{fffd}'),
            sign => safe.push(sign),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn described() -> Described {
        let columns = [("label", "Its name; \"quoted\""), ("flag", "Whether")];
        let columns: BTreeMap<_, _> =
            columns.into_iter().map(|(name, what)| (name.to_owned(), what.to_owned())).collect();
        Described::of("What <b>it</b> is", columns)
    }

    fn told() -> Told {
        Told { name: "some_things", by: &["customer_id"], columns: vec!["label", "flag", "list"] }
    }

    fn row(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn p3_hostile_values_are_text() {
        let hostile = "<script>alert(1)</script>\"' onload=x &amp; \u{202e}evil\u{0}";
        let row = row(json!({ "label": hostile, "flag": true, "list": ["<i>"] }));
        for language in [Language::En, Language::Vi] {
            let page = Page::new(language);
            for layout in [Layout::Single, Layout::Many] {
                let text = page.table_head(&told(), &described(), layout)
                    + &page.row(&told(), &described(), layout, &row);
                for bad in ["<script", "<i>", "<b>", "onload=x &amp; ", "\u{202e}", "\u{0}"] {
                    assert!(!text.contains(bad), "{bad:?} in {text}");
                }
                assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39; onload=x"));
                assert!(text.contains("[&quot;&lt;i&gt;&quot;]"), "{text}");
            }
        }
    }

    #[test]
    fn a_page_names_no_other_host_and_is_in_the_customers_language() {
        for (language, lang, title) in
            [(Language::En, "en", "Your data"), (Language::Vi, "vi", "Dữ liệu của bạn")]
        {
            let page = Page::new(language);
            let text = page.head("2026-11-23T00:00:00Z", &[("some_things", 2)]) + page.foot();
            assert!(text.starts_with(&format!("<!doctype html>\n<html lang=\"{lang}\">")));
            assert!(text.contains(&format!("<title>{title}</title>")));
            assert!(text.contains("<a href=\"#t-some_things\">Some things</a> (2)"));
            for foreign in ["http:", "https:", "src=", "@import", "url(", "<script", "//"] {
                assert!(!text.contains(foreign), "{foreign}: {text}");
            }
        }
    }

    #[test]
    fn one_row_stands_upright_and_many_side_by_side() {
        assert_eq!([0, 1, 2].map(Layout::of), [Layout::Many, Layout::Single, Layout::Many]);
        let page = Page::new(Language::En);
        let row = row(json!({ "label": "a\nb", "flag": false, "list": null }));
        let upright = page.row(&told(), &described(), Layout::Single, &row);
        assert!(upright.contains("<th scope=\"row\">label</th><td>a<br>b</td>"), "{upright}");
        assert!(upright.contains("Its name; &quot;quoted&quot;"));
        assert!(upright.contains("<td>no</td>") && upright.contains("<span class=\"none\">none"));
        let beside = page.row(&told(), &described(), Layout::Many, &row);
        assert_eq!(beside.matches("<td>").count(), 3, "{beside}");
    }
}
