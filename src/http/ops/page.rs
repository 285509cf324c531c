//! The page, put together once from its three files, and the policy by which a browser runs only them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPTS: [&str; 3] =
    [include_str!("figures.js"), include_str!("sections.js"), include_str!("page.js")];

/// The page as it is served.
pub struct Page {
    pub html: String,
    /// Only the page's own script and style run, by their hashes; it talks to nobody but us.
    pub policy: String,
}

pub static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let script = format!("\"use strict\";\n{}", SCRIPTS.concat());
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(&script),
        hash(STYLE),
    );
    let html = HTML.replacen("<style></style>", &format!("<style>{STYLE}</style>"), 1).replacen(
        "<script></script>",
        &format!("<script>{script}</script>"),
        1,
    );
    Page { html, policy }
});

#[cfg(test)]
mod tests {
    use super::*;

    fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
        let inner = text.split_once(start).and_then(|(_, rest)| rest.split_once(end));
        inner.map_or("", |(inner, _)| inner)
    }

    #[test]
    fn the_page_is_whole_and_runs_what_its_policy_names() {
        for tag in ["script", "style"] {
            assert_eq!(PAGE.html.matches(&format!("<{tag}>")).count(), 1, "{tag}");
            let text = between(&PAGE.html, &format!("<{tag}>"), &format!("</{tag}>"));
            assert!(text.len() > 1000, "{tag}");
            let hash = STANDARD.encode(Sha256::digest(text.as_bytes()));
            assert!(PAGE.policy.contains(&format!("{tag}-src 'sha256-{hash}'")), "{tag}");
        }
    }

    #[test]
    fn the_page_asks_nobody_else_and_makes_no_markup_of_what_it_is_told() {
        let html = PAGE.html.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http://", "https://", "//cdn", " src=", "@import", "style=", "onclick="] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        assert!(html.contains("prefers-color-scheme") && html.contains("width=device-width"));
        for banned in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!html.contains(banned), "what comes from the service is text: {banned}");
        }
        // The key stays in the tab.
        assert!(!html.contains("localStorage") && !html.contains("document.cookie"));
    }
}
