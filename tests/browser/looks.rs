//! What holds for every view of the page: it fits its screen, what is written can be read, everything has a
//! name and is reached by the keyboard.

use serde_json::Value;

use crate::driver::Browser;

/// Text that stands out too little from what is behind it (WCAG 2.2, 1.4.3: 4.5 to 1, large text 3 to 1).
const FAINT: &str = r#"
const light = (colour) => {
  const [r, g, b] = colour.map((one) => { const c = one / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
const behind = (node) => {
  for (let one = node; one; one = one.parentElement) {
    const colour = parse(getComputedStyle(one).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
  }
  return [255, 255, 255];
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
  if (!own || !node.checkVisibility() || node.disabled) continue;
  const style = getComputedStyle(node);
  const [a, b] = [light(parse(style.color).slice(0, 3)), light(behind(node))].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05), large = parseFloat(style.fontSize) >= 24;
  if (ratio < (large ? 3 : 4.5)) found.push(node.textContent.slice(0, 40) + ": " + ratio.toFixed(2));
}
return found;
"#;

/// What can be used and has no name, pictures among them.
const NAMELESS: &str = r#"
const named = (node) => {
  const by = (node.getAttribute("aria-labelledby") || "").split(" ").map((id) => document.getElementById(id));
  return by.some((one) => one && one.textContent.trim()) || (node.getAttribute("aria-label") || "").trim() ||
    (node.labels && node.labels.length) || (["A", "BUTTON"].includes(node.tagName) && node.textContent.trim());
};
return [...document.querySelectorAll("a, button, input, select, [role=img], dialog, section, nav")]
  .filter((node) => node.checkVisibility() && !named(node)).map((node) => node.outerHTML.slice(0, 120));
"#;

/// What is wider than the screen.
const WIDE: &str = r##"
const wide = Math.min(document.documentElement.clientWidth, screen.width);
const found = [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility() &&
  node.getBoundingClientRect().right > wide + 0.5).map((node) => node.tagName + "#" + node.id + " " + node.className);
return document.documentElement.scrollWidth > wide ? ["the page scrolls sideways", ...found] : found;
"##;

/// Fails with all that is wrong with how the page looks now.
pub async fn assert_sound(browser: &Browser, view: &str) {
    let mut wrong = Vec::new();
    for (what, script) in [("too faint", FAINT), ("without a name", NAMELESS), ("too wide", WIDE)] {
        let found = browser.run(script).await;
        for one in found.as_array().into_iter().flatten() {
            wrong.push(format!("{view}: {what}: {}", one.as_str().unwrap_or_default()));
        }
    }
    wrong.extend(browser.complaints().await.into_iter().map(|one| format!("{view}: {one}")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The id, or else the text, of what has the focus.
pub async fn focus(browser: &Browser) -> String {
    let script = "const one = document.activeElement; return one.id || one.textContent.trim()";
    match browser.run(script).await {
        Value::String(text) => text,
        other => other.to_string(),
    }
}
