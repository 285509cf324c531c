//! Templates to text. All templates are embedded and parsed once; a name that a template uses and
//! nobody gave is a fault, never an empty spot in a mail.

use std::sync::LazyLock;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};

use super::kind::Sources;
use super::{MailFault, MailKind, Values};

/// A mail ready for its envelope. The subject is one line without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedMail {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// The languages that mails are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    En,
    Vi,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::En, Self::Vi];

    /// `vi`, `vi-VN`, `VI_vn` are Vietnamese, all else is English.
    pub fn of(locale: &str) -> Self {
        let primary = locale.split(['-', '_']).next().unwrap_or_default();
        if primary.eq_ignore_ascii_case("vi") { Self::Vi } else { Self::En }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Vi => "vi",
        }
    }
}

static TEMPLATES: LazyLock<Environment<'static>> =
    LazyLock::new(|| load().expect("the embedded templates parse: a test renders each of them"));

fn load() -> Result<Environment<'static>, minijinja::Error> {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates.set_auto_escape_callback(|name| {
        if name.ends_with(".html") { AutoEscape::Html } else { AutoEscape::None }
    });
    templates.add_template("layout.html", include_str!("templates/layout.html"))?;
    for &kind in MailKind::ALL {
        for language in Language::ALL {
            let Sources { subject, text, html } = kind.sources(language);
            for (part, source) in [("subject", subject), ("txt", text), ("html", html)] {
                templates.add_template_owned(template_name(kind, language, part), source)?;
            }
        }
    }
    Ok(templates)
}

fn template_name(kind: MailKind, language: Language, part: &str) -> String {
    format!("{}/{}.{part}", kind.as_str(), language.as_str())
}

/// Renders a mail in the language nearest to `locale`.
///
/// # Errors
/// [`MailFault::Permanent`] when a value is missing; the text names the template, not the values.
pub fn render(kind: MailKind, locale: &str, values: &Values) -> Result<RenderedMail, MailFault> {
    let language = Language::of(locale);
    let part = |part: &str| {
        let name = template_name(kind, language, part);
        let rendered =
            TEMPLATES.get_template(&name).and_then(|template| template.render(Serde(values)));
        rendered.map_err(|error| {
            let line = error.line().unwrap_or_default();
            let cause = error.kind();
            MailFault::Permanent(format!("template {name}, line {line}: {cause}"))
        })
    };
    Ok(RenderedMail {
        subject: one_line(&part("subject")?),
        text: part("txt")?,
        html: part("html")?,
    })
}

/// Makes a header of a text: a line break would start a header of the sender's choice.
fn one_line(text: &str) -> String {
    let spaced = text.replace(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}', " ");
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> Values {
        let json = json!({
            "shop": "Chợ & Co <Sài Gòn>",
            "link": "https://shop.example/verify-email?token=abc&x=1",
            "valid_hours": 24,
            "valid_minutes": 60,
            "codes_left": 3,
            "day": "2026-12-23",
        });
        json.as_object().unwrap().clone()
    }

    #[test]
    fn every_kind_renders_in_every_language() {
        for &kind in MailKind::ALL {
            assert_eq!(MailKind::parse(kind.as_str()), Some(kind));
            let english = render(kind, "en", &values()).unwrap();
            let vietnamese = render(kind, "vi-VN", &values()).unwrap();
            assert_ne!(english.subject, vietnamese.subject);
            for mail in [english, vietnamese] {
                assert!(mail.subject.contains("Chợ & Co <Sài Gòn>"), "{}", mail.subject);
                assert!(mail.text.contains("https://shop.example/verify-email?token=abc&x=1"));
                assert!(mail.html.contains("Chợ &amp; Co &lt;Sài Gòn&gt;"), "{}", mail.html);
                assert!(mail.html.starts_with("<!doctype html>"), "{}", mail.html);
                assert!(!mail.html.contains("<Sài Gòn>"));
            }
        }
    }

    #[test]
    fn english_mails_are_ascii_so_that_their_links_stay_readable_on_the_wire() {
        let mut values = values();
        values.insert("shop".into(), json!("Shop"));
        for &kind in MailKind::ALL {
            let mail = render(kind, "en-GB", &values).unwrap();
            assert!(mail.text.is_ascii() && mail.html.is_ascii(), "{}", kind.as_str());
        }
    }

    #[test]
    fn a9_few_backup_codes_left_are_warned_of() {
        for (left, said, warned) in [
            (9, "9 backup codes are left", false),
            (4, "4 backup codes are left", false),
            (3, "3 backup codes are left", true),
            (1, "1 backup code is left", true),
            (0, "no backup code is left", true),
        ] {
            let mut values = values();
            values.insert("codes_left".into(), json!(left));
            let english = render(MailKind::BackupCodeUsed, "en", &values).unwrap();
            let vietnamese = render(MailKind::BackupCodeUsed, "vi", &values).unwrap();
            for text in [&english.text, &english.html] {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(text.contains(said), "{left}: {text}");
                assert_eq!(text.contains("Make new ones now"), warned, "{left}: {text}");
            }
            for text in [&vietnamese.text, &vietnamese.html] {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                assert_eq!(text.contains("Hãy tạo mã mới ngay"), warned, "{left}: {text}");
                assert!(left == 0 || text.contains(&format!("còn {left} mã dự phòng")), "{text}");
            }
        }
    }

    #[test]
    fn a_missing_value_is_a_fault_without_values_in_it() {
        let mut values = values();
        values.remove("link");
        let fault = render(MailKind::VerifyEmail, "en", &values).unwrap_err();
        let text = fault.to_string();
        assert!(matches!(fault, MailFault::Permanent(_)));
        assert!(text.contains("verify_email/en.txt") && !text.contains("Chợ"), "{text}");
    }

    #[test]
    fn locales_fall_back_to_english() {
        for locale in ["vi", "vi-VN", "VI_vn"] {
            assert_eq!(Language::of(locale), Language::Vi);
        }
        for locale in ["en", "fr-FR", "", "vie", "-vi"] {
            assert_eq!(Language::of(locale), Language::En);
        }
    }

    #[test]
    fn a_subject_is_one_line_whatever_comes() {
        let mut values = values();
        values.insert("shop".into(), json!("Shop\r\nBcc: all@example.com\u{2028}\u{0}x"));
        let subject = render(MailKind::VerifyEmail, "en", &values).unwrap().subject;
        assert!(!subject.chars().any(char::is_control), "{subject:?}");
        assert!(subject.contains("Shop Bcc: all@example.com x"), "{subject:?}");
    }
}
