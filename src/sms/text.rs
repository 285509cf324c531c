//! What text messages say. The code comes first, where every preview shows it; a domain-bound last
//! line (`@shop.example #123456`, "origin-bound one-time codes") lets phones fill the code in on
//! that site and on no other.
//!
//! A segment holds 160 characters of the GSM alphabet, but 70 as soon as one character is outside of
//! it, and each segment is paid for. A Vietnamese text that would need two is written without its
//! accents, as Vietnamese people do in text messages themselves.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::mail::Language;

/// Characters of a shop's name that fit into one segment with the rest.
const SHOP_CHARS_MAX: usize = 30;

/// One message with a code.
#[derive(Clone, Copy)]
pub struct CodeText<'a> {
    pub code: &'a str,
    pub shop: &'a str,
    /// How long the code is still good; at least one.
    pub minutes: i64,
    /// The site that phones may fill it in on; none: the last line is left out.
    pub domain: Option<&'a str>,
}

impl CodeText<'_> {
    /// The text in this language, in one segment where that can be.
    #[must_use]
    pub fn write(&self, language: Language) -> String {
        let accented = self.wording(language);
        if segments(&accented) == 1 {
            return accented;
        }
        let plain = unaccented(&accented);
        if segments(&plain) < segments(&accented) { plain } else { accented }
    }

    fn wording(&self, language: Language) -> String {
        let Self { code, minutes, domain, .. } = self;
        let shop: String =
            self.shop.chars().filter(|c| !c.is_control()).take(SHOP_CHARS_MAX).collect();
        let plural = if *minutes == 1 { "" } else { "s" };
        let mut text = match language {
            Language::En => format!(
                "{code} is your code for {shop}. It is valid for {minutes} minute{plural}. \
                 Do not give it to anyone."
            ),
            Language::Vi => format!(
                "{code} là mã xác nhận tại {shop}, có hiệu lực {minutes} phút. Đừng đưa cho ai."
            ),
        };
        if let Some(domain) = domain {
            text.push_str(&format!("\n\n@{domain} #{code}"));
        }
        text
    }
}

/// Without the marks on its letters; what has no such letter stays as it is.
fn unaccented(text: &str) -> String {
    let bare = text.nfd().filter(|c| !is_combining_mark(*c));
    bare.map(|c| match c {
        'đ' => 'd',
        'Đ' => 'D',
        other => other,
    })
    .collect()
}

/// How many segments a text costs.
#[must_use]
pub fn segments(text: &str) -> usize {
    let septets: Option<usize> = text.chars().map(septets).sum();
    let (units, alone, joined) = match septets {
        Some(septets) => (septets, 160, 153),
        None => (text.encode_utf16().count(), 70, 67),
    };
    if units <= alone { 1 } else { units.div_ceil(joined) }
}

/// What a character takes of the GSM alphabet (3GPP 23.038); `None`: it is not of it.
fn septets(c: char) -> Option<usize> {
    const OTHERS: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà";
    const EXTENSION: &str = "^{}\\[~]|€\u{c}";
    if c.is_ascii_alphanumeric() || OTHERS.contains(c) {
        Some(1)
    } else {
        EXTENSION.contains(c).then_some(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shop: &str, minutes: i64, domain: Option<&str>, language: Language) -> String {
        CodeText { code: "012345", shop, minutes, domain }.write(language)
    }

    #[test]
    fn the_code_comes_first_and_the_domain_last() {
        assert_eq!(
            text("Shop", 5, Some("shop.example"), Language::En),
            "012345 is your code for Shop. It is valid for 5 minutes. Do not give it to anyone.\n\n\
             @shop.example #012345"
        );
        assert_eq!(
            text("Shop", 1, None, Language::En),
            "012345 is your code for Shop. It is valid for 1 minute. Do not give it to anyone."
        );
        assert_eq!(
            text("Shop", 5, None, Language::Vi),
            "012345 là mã xác nhận tại Shop, có hiệu lực 5 phút. Đừng đưa cho ai."
        );
    }

    #[test]
    fn vietnamese_goes_without_accents_rather_than_in_two_segments() {
        assert_eq!(
            text("Chợ Lớn", 5, Some("cho.example"), Language::Vi),
            "012345 la ma xac nhan tai Cho Lon, co hieu luc 5 phut. Dung dua cho ai.\n\n\
             @cho.example #012345"
        );
    }

    #[test]
    fn every_text_is_one_segment_for_every_name_that_can_be() {
        let (latin, accents, domain) =
            ("M".repeat(90), "ố".repeat(90), "a-rather-long-name.example");
        for shop in ["Shop", &latin, &accents] {
            for language in Language::ALL {
                for domain in [None, Some(domain)] {
                    let text = text(shop, 5, domain, language);
                    assert_eq!(segments(&text), 1, "{text}");
                    assert!(text.starts_with("012345 "), "{text}");
                }
            }
        }
        let chinese = text("商店", 5, Some("shop.example"), Language::En);
        assert!(chinese.contains("商店"), "what has no plain form stays: {chinese}");
    }

    #[test]
    fn a_name_cannot_bring_lines_of_its_own() {
        let text = text("Shop\n\n@evil.example #999999", 5, Some("shop.example"), Language::En);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(text.lines().last(), Some("@shop.example #012345"));
    }

    #[test]
    fn segments_are_counted_as_networks_count_them() {
        for (text, count) in [
            (String::new(), 1),
            ("a".repeat(160), 1),
            ("a".repeat(161), 2),
            ("a".repeat(307), 3),
            ("€".repeat(80), 1),
            ("€".repeat(81), 2),
            ("ắ".repeat(70), 1),
            ("ắ".repeat(71), 2),
            ("😀".repeat(35), 1),
            ("😀".repeat(36), 2),
        ] {
            assert_eq!(segments(&text), count, "{}", text.chars().count());
        }
    }
}
