//! The part of a country that an address is in: the person's own spelling (rule L8) and, beside it,
//! the code of ISO 3166-2, by which programs compare (rule D2).
//!
//! What people write is looked up among what the country's post lists and what ISO 3166-2 names,
//! accents, case and words like "province" aside. Only where the post requires a region from a list
//! is an unknown one refused: elsewhere it is a line of the address like any other, and a list that
//! is older than a country's latest reform must not keep a parcel from arriving.

use super::address_format::{AddressFormat, ListedRegion};
use super::fault::Fault;
use super::place::Country;
use super::text::Line;
use rust_iso3166::iso3166_2::{SUBDIVISION_COUNTRY_MAP, Subdivision};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, OnceLock};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A code of ISO 3166-2, e.g. `US-CA`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegionCode(String);

impl RegionCode {
    /// A value that this service itself stored after looking it up.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A region of a country, for whoever draws a form.
pub struct Region {
    /// `None` where the post lists a part that ISO 3166-2 has not.
    pub code: Option<&'static str>,
    /// As it stands on a letter.
    pub spelling: &'static str,
    pub name: &'static str,
}

/// The region as it is kept, and its code where it is a known one.
///
/// A code, `US-CA` or `CA` in any case, is kept as the post writes it; a name as the person wrote it.
///
/// # Errors
/// `unknown_region` where the country's post requires one of a list, and this is none.
pub fn resolve(written: Line, country: &Country) -> Result<(Line, Option<RegionCode>), Fault> {
    let Some(directory) = Directory::of(country) else { return Ok((written, None)) };
    let text = written.as_str();
    if let Some(entry) = directory.by_code(text, country) {
        let code = entry.code.map(|code| RegionCode(code.to_owned()));
        let spelled = entry.listed.map_or(entry.name, |listed| listed.spelling);
        // a bare code where the post lists none may be how people there write it: Berlin, BE
        let kept = if entry.listed.is_some() || text.contains('-') {
            Line::from_stored(spelled.to_owned())
        } else {
            written
        };
        return Ok((kept, code));
    }
    match directory.by_name(text) {
        Some(entry) => Ok((written, entry.code.map(|code| RegionCode(code.to_owned())))),
        None if directory.closed => Err(directory.unknown(text, country)),
        None => Ok((written, None)),
    }
}

/// The regions that stand on letters of a country: those that its post lists, else, where its
/// addresses have a region, those of ISO 3166-2.
pub fn all(country: &Country) -> Vec<Region> {
    let Some(directory) = Directory::of(country) else { return Vec::new() };
    let format = AddressFormat::of(country);
    if format.is_none_or(|format| format.region_kind.is_none()) {
        return Vec::new();
    }
    let listed = directory.entries.iter().any(|entry| entry.listed.is_some());
    let entries = directory.entries.iter().filter(|entry| !listed || entry.listed.is_some());
    let region = |entry: &Entry| Region {
        code: entry.code,
        spelling: entry.listed.map_or(entry.name, |listed| listed.spelling),
        name: entry.name,
    };
    entries.map(region).collect()
}

/// Whether an address of the country may have no other region than a known one.
pub fn is_listed(country: &Country) -> bool {
    Directory::of(country).is_some_and(|directory| directory.closed)
}

/// What a country's regions are found by.
struct Directory {
    entries: Vec<Entry>,
    /// By the second half of the code.
    codes: HashMap<&'static str, usize>,
    /// By name, the closest likeness first; `None`: several are called so.
    names: Vec<HashMap<String, Option<usize>>>,
    /// Whether there are no others.
    closed: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    code: Option<&'static str>,
    /// In the language of most readers of this API.
    name: &'static str,
    listed: Option<&'static ListedRegion>,
}

/// How alike two names are taken for one.
type Likeness = fn(&str) -> String;
const LIKENESSES: [Likeness; 3] = [exactly, folded, core];

impl Directory {
    /// `None` where a country has no parts.
    fn of(country: &Country) -> Option<&'static Directory> {
        /// Made when first asked for: most shops deliver to few countries.
        static ALL: LazyLock<BTreeMap<String, OnceLock<Directory>>> = LazyLock::new(|| {
            Country::all().map(|country| (country.as_str().to_owned(), OnceLock::new())).collect()
        });
        let directory = ALL.get(country.as_str())?.get_or_init(|| Directory::new(country));
        (!directory.entries.is_empty()).then_some(directory)
    }

    fn new(country: &Country) -> Directory {
        let format = AddressFormat::of(country);
        let listed = format.map_or(&[][..], |format| &format.regions);
        let standard = subdivisions(country);
        let entries = listed.iter().map(|listed| Entry {
            code: code_of(listed, &standard),
            name: listed
                .names
                .iter()
                .find(|name| name.is_ascii())
                .copied()
                .unwrap_or_else(|| listed.names.first().copied().unwrap_or(listed.spelling)),
            listed: Some(listed),
        });
        let mut entries: Vec<Entry> = entries.collect();
        let known: Vec<_> = entries.iter().filter_map(|entry| entry.code).collect();
        let others = standard.iter().filter(|division| !known.contains(&division.code));
        entries.extend(others.map(|division| Entry {
            code: Some(division.code),
            name: division.name,
            listed: None,
        }));
        let closed = format.is_some_and(AddressFormat::lists_regions) && !known.is_empty();
        let codes = entries.iter().enumerate().rev();
        let codes = codes.filter_map(|(at, entry)| Some((entry.code?.split_once('-')?.1, at)));
        let mut directory =
            Directory { codes: codes.collect(), names: Vec::new(), closed, entries };
        directory.name_all(&standard);
        directory
    }

    /// The post's own names win over those of the standard, of equal likeness.
    fn name_all(&mut self, standard: &[Subdivision]) {
        for likeness in LIKENESSES {
            let (mut posts, mut others) = (HashMap::new(), HashMap::new());
            for (at, entry) in self.entries.iter().enumerate() {
                let listed = entry.listed.into_iter();
                let listed = listed.flat_map(|of| of.names.iter().copied().chain([of.spelling]));
                listed.for_each(|name| note(&mut posts, likeness(name), at));
                let standard = standard.iter().filter(|other| Some(other.code) == entry.code);
                let aliases = ALIASES.iter().filter(|(code, _)| Some(*code) == entry.code);
                let aliases = aliases.flat_map(|(_, names)| names.split('|'));
                let named = standard.map(|other| other.name).chain(aliases);
                named.for_each(|name| note(&mut others, likeness(name), at));
            }
            self.names.extend([posts, others]);
        }
    }

    fn by_code(&self, text: &str, country: &Country) -> Option<&Entry> {
        let upper = text.to_ascii_uppercase();
        let bare = match upper.strip_prefix(country.as_str()).and_then(|r| r.strip_prefix('-')) {
            Some(bare) => bare,
            None => upper.as_str(),
        };
        self.codes.get(bare).map(|at| &self.entries[*at])
    }

    fn by_name(&self, text: &str) -> Option<&Entry> {
        self.names.chunks(2).zip(LIKENESSES).find_map(|(names, likeness)| {
            let form = likeness(text);
            let found = names.iter().find_map(|names| names.get(&form).copied().flatten());
            found.map(|at| &self.entries[at])
        })
    }

    /// Says what was expected, and what may have been meant; not what was written.
    fn unknown(&self, text: &str, country: &Country) -> Fault {
        let format = AddressFormat::of(country);
        let kind = format.and_then(|format| format.region_kind).unwrap_or("region");
        let kind = if kind == "do_si" { "province" } else { kind };
        let wanted = folded(text);
        let candidates = self.entries.iter().filter(|entry| entry.listed.is_some());
        let nearest = candidates
            .map(|entry| (strsim::jaro_winkler(&wanted, &folded(entry.name)), entry))
            .filter(|(likeness, _)| *likeness > 0.85)
            .max_by(|(one, _), (other, _)| one.total_cmp(other));
        let hint = match nearest {
            Some((_, entry)) => format!("; did you mean {}?", entry.name),
            None => String::new(),
        };
        let code = country.as_str();
        let detail = format!("must be a {kind} of {code}, see /v1/countries/{code}{hint}");
        Fault::new("unknown_region", detail)
    }
}

fn note(names: &mut HashMap<String, Option<usize>>, form: String, at: usize) {
    let found = names.entry(form).or_insert(Some(at));
    if *found != Some(at) {
        *found = None;
    }
}

/// The parts of a country that ISO 3166-2 names, in the order of their codes.
fn subdivisions(country: &Country) -> Vec<Subdivision> {
    let known = SUBDIVISION_COUNTRY_MAP.get(country.as_str());
    let mut all = known.map_or_else(Vec::new, |known| known.to_vec());
    all.sort_by_key(|division| division.code);
    all
}

/// The code that the post's list tells, where ISO 3166-2 still has it, or the one by that name: codes
/// change, and the list follows late.
fn code_of(listed: &ListedRegion, standard: &[Subdivision]) -> Option<&'static str> {
    let by_code = standard.iter().find(|division| {
        division.code.split_once('-').is_some_and(|(_, half)| half == listed.code)
    });
    let by_alias = || {
        let own = ALIASES.iter().find(|(code, names)| {
            standard.iter().any(|division| division.code == *code)
                && names.split('|').any(|name| name == listed.spelling)
        });
        own.and_then(|(code, _)| standard.iter().find(|division| division.code == *code))
    };
    let by_name = || {
        let names = listed.names.iter().chain([&listed.spelling]);
        let names: Vec<String> = names.map(|name| core(name)).collect();
        let mut found = standard.iter().filter(|division| names.contains(&core(division.name)));
        match (found.next(), found.next()) {
            (Some(one), None) => Some(one),
            _ => None,
        }
    };
    by_code.or_else(by_alias).or_else(by_name).map(|division| division.code)
}

// ---- likeness of names, strictest first

/// In lower case.
fn exactly(name: &str) -> String {
    name.nfc().collect::<String>().to_lowercase()
}

/// Without accents, case, spaces and signs.
fn folded(name: &str) -> String {
    words(name).concat()
}

/// Also without words that say what kind of region it is, and without what stands in brackets; with
/// the parts of an inverted name ("Madrid, Comunidad de") in their order.
fn core(name: &str) -> String {
    let outside = name.split(['(', '[']).next().unwrap_or(name);
    let turned = match outside.split_once(',') {
        Some((name, kind)) => format!("{kind} {name}"),
        None => outside.to_owned(),
    };
    let mut words = words(&turned);
    while words.len() > 1 && words.last().is_some_and(|word| KINDS.contains(&word.as_str())) {
        words.pop();
    }
    let kinds = words.iter().take(words.len().saturating_sub(1));
    let kinds = kinds.take_while(|word| KINDS.contains(&word.as_str())).count();
    let mut core = words[kinds..].concat();
    // 北京市 is 北京; of what is left at least two signs name it
    if core.chars().count() > 2 && core.ends_with(['省', '市', '縣', '县', '県', '府', '都'])
    {
        core.pop();
    }
    core
}

fn words(name: &str) -> Vec<String> {
    let plain: String = name
        .replace('&', " and ")
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            'đ' => 'd',
            'ı' => 'i',
            'ł' => 'l',
            'ø' => 'o',
            '臺' => '台',
            other => other,
        })
        // composed again, so that a sign of Hangul is one letter
        .nfc()
        .filter(|c| !matches!(c, '\'' | '’' | 'ʻ' | '.'))
        .collect();
    let words = plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// What regions are called, folded, and what stands between that and the name.
const KINDS: &[&str] = &[
    "autonoma",
    "co",
    "comunidad",
    "county",
    "de",
    "del",
    "department",
    "departamento",
    "district",
    "do",
    "emirate",
    "estado",
    "fu",
    "governorate",
    "ken",
    "krai",
    "kray",
    "oblast",
    "obl",
    "of",
    "parish",
    "pho",
    "prefecture",
    "province",
    "provincia",
    "provinsi",
    "region",
    "republic",
    "respublika",
    "sheng",
    "shi",
    "si",
    "state",
    "territory",
    "thanh",
    "the",
    "tinh",
    "to",
    "tp",
    "zizhiqu",
    "край",
    "место",
    "місто",
    "обл",
    "область",
    "республика",
    "республіка",
    "استان",
    "امارة",
];

/// Names in use that neither list has; the old ones of regions that were renamed among them.
const ALIASES: &[(&str, &str)] = &[
    ("AR-C", "CABA|Capital Federal|Ciudad de Buenos Aires"),
    ("AE-AZ", "Abu Zaby"),
    ("AE-FU", "Al Fujairah"),
    ("AE-RK", "RAK|Ras Al Khaima"),
    ("AE-UQ", "UAQ|Umm Al Quwein"),
    ("CA-NL", "Newfoundland"),
    ("CA-QC", "PQ"),
    ("CN-GX", "广西壮族自治区|Guangxi"),
    ("CN-HK", "香港|Hong Kong"),
    ("CN-MO", "澳门|Macau|Macao"),
    ("CN-NM", "内蒙古自治区|Inner Mongolia"),
    ("CN-NX", "宁夏回族自治区|Ningxia"),
    ("CN-TW", "台湾|Taiwan"),
    ("CN-XJ", "新疆维吾尔自治区|Xinjiang"),
    ("CN-XZ", "西藏自治区|Tibet"),
    ("CO-DC", "Bogotá D.C.|Bogota DC|Bogotá, D.C."),
    ("ES-C", "A Coruña"),
    ("ES-PM", "Baleares|Illes Balears|Balearic Islands"),
    ("ID-JB", "West Java"),
    ("ID-JI", "East Java"),
    ("ID-JK", "Jakarta|Jakarta Raya|DKI"),
    ("ID-JT", "Central Java"),
    ("ID-YO", "Yogyakarta|DIY|DI Yogyakarta"),
    ("IN-DL", "New Delhi|NCT of Delhi|Delhi NCT"),
    ("IN-OD", "Orissa"),
    ("IN-PY", "Pondicherry"),
    ("IN-UK", "Uttaranchal"),
    ("IT-23", "AO|Aosta|Aoste|Valle d'Aosta"),
    ("KR-42", "강원특별자치도|Gangwon State"),
    ("KR-45", "전북특별자치도|Jeonbuk State"),
    ("MX-CMX", "Distrito Federal|D.F.|Mexico City"),
    ("MX-MEX", "Estado de México|Edomex"),
    ("RU-MOS", "Moscow Oblast|Московская обл."),
    ("RU-MOW", "Moscow|г. Москва"),
    ("RU-SPE", "Saint Petersburg|St. Petersburg|г. Санкт-Петербург"),
    ("TR-03", "Afyonkarahisar"),
    ("UA-30", "Kyiv|Kiev|Київ"),
    ("US-DC", "Washington DC|Washington D.C.|D.C."),
    ("VE-X", "La Guaira"),
    ("VN-26", "Huế"),
    ("VN-33", "Đắc Lắc"),
    ("VN-72", "Đắc Nông"),
    ("VN-SG", "Sài Gòn|HCMC|HCM|TP.HCM|TPHCM|TP HCM"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn region(raw: &str, country: &str) -> Result<(String, Option<String>), String> {
        let country = Country::parse(country).unwrap();
        match resolve(Line::parse(raw).unwrap(), &country) {
            Ok((kept, code)) => Ok((kept.as_str().to_owned(), code.map(|code| code.0))),
            Err(fault) => Err(format!("{}: {}", fault.code, fault.detail)),
        }
    }

    #[test]
    fn d2_a_name_is_kept_as_written_and_known_by_its_code() {
        for (country, written, code) in [
            ("AE", "Dubai", "AE-DU"),
            ("AE", "دبي", "AE-DU"),
            ("AU", "New South Wales", "AU-NSW"),
            ("BR", "são paulo", "BR-SP"),
            ("CA", "Québec", "CA-QC"),
            ("CA", "quebec", "CA-QC"),
            ("CN", "北京市", "CN-BJ"),
            ("CN", "北京", "CN-BJ"),
            ("CN", "Guangdong", "CN-GD"),
            ("CN", "广西", "CN-GX"),
            ("CO", "Bogotá, D.C.", "CO-DC"),
            ("ES", "Bizkaia", "ES-BI"),
            ("ES", "Comunidad de Madrid", "ES-M"),
            ("FR", "Île-de-France", "FR-IDF"),
            ("GB", "Surrey", "GB-SRY"),
            ("ID", "Jakarta", "ID-JK"),
            ("IE", "County Cork", "IE-CO"),
            ("IE", "Co. Cork", "IE-CO"),
            ("IN", "Orissa", "IN-OD"),
            ("IN", "Jammu & Kashmir", "IN-JK"),
            ("IT", "Milano", "IT-MI"),
            ("IT", "Lombardia", "IT-25"),
            ("JP", "東京都", "JP-13"),
            ("JP", "東京", "JP-13"),
            ("JP", "Tokyo-to", "JP-13"),
            ("JP", "京都", "JP-26"),
            ("KR", "서울", "KR-11"),
            ("KR", "Gyeonggi-do", "KR-41"),
            ("MX", "Ciudad de México", "MX-CMX"),
            ("MX", "Jalisco", "MX-JAL"),
            ("RU", "Московская область", "RU-MOS"),
            ("TR", "İstanbul", "TR-34"),
            ("TR", "istanbul", "TR-34"),
            ("TW", "臺北市", "TW-TPE"),
            ("UA", "Київ", "UA-30"),
            ("US", "california", "US-CA"),
            ("US", "State of California", "US-CA"),
            ("US", "Puerto Rico", "US-PR"),
            ("US", "Washington, D.C.", "US-DC"),
            ("VN", "An Giang", "VN-44"),
            ("VN", "Hà Nội", "VN-HN"),
            ("VN", "hanoi", "VN-HN"),
            ("VN", "TP. Hồ Chí Minh", "VN-SG"),
            ("VN", "Ho Chi Minh City", "VN-SG"),
            ("VN", "Sài Gòn", "VN-SG"),
            ("VN", "tỉnh Đắk Lắk", "VN-33"),
        ] {
            let expected = Ok((written.to_owned(), Some(code.to_owned())));
            assert_eq!(region(written, country), expected, "{country} {written}");
        }
    }

    #[test]
    fn d2_a_code_is_kept_as_the_post_writes_it() {
        for (country, written, kept, code) in [
            ("US", "US-CA", "CA", "US-CA"),
            ("US", "us-ca", "CA", "US-CA"),
            ("US", "ca", "CA", "US-CA"),
            ("JP", "JP-13", "東京都", "JP-13"),
            ("MX", "jal", "Jal.", "MX-JAL"),
            ("VN", "VN-HN", "Hà Nội", "VN-HN"),
            ("IT", "mi", "MI", "IT-MI"),
            ("DE", "DE-BE", "Berlin", "DE-BE"),
            // the post lists none: how people write it there
            ("DE", "BE", "BE", "DE-BE"),
        ] {
            let expected = Ok((kept.to_owned(), Some(code.to_owned())));
            assert_eq!(region(written, country), expected, "{country} {written}");
        }
    }

    #[test]
    fn d2_an_unknown_region_is_refused_only_where_the_post_lists_them() {
        for (country, written, hint) in [
            ("US", "Californa", "did you mean California?"),
            ("CA", "Ontari", "did you mean Ontario?"),
            ("US", "Ontario", ""),
            ("JP", "California", ""),
            ("US", "CA-ON", ""),
            ("AU", "Atlantis", ""),
        ] {
            let refused = region(written, country).unwrap_err();
            assert!(refused.starts_with("unknown_region: must be a "), "{refused}");
            assert!(refused.ends_with(hint) || hint.is_empty(), "{refused}");
            assert!(!hint.is_empty() || !refused.contains(written), "{refused}");
        }
        // What nobody lists, or what the list lacks: a line of the address like any other.
        for (country, written) in [
            ("DE", "Oberbayern"),
            ("HK", "Hong Kong"),
            ("VN", "Quận 1"),
            ("GB", "Middle Earth"),
            ("SG", "Central"),
            ("RO", "Sector 1"),
        ] {
            let kept = Ok((written.to_owned(), None));
            assert_eq!(region(written, country), kept, "{country} {written}");
        }
        // Of the army's post, which is no part of the country.
        assert_eq!(region("AE", "US"), Ok(("AE".to_owned(), None)));
    }

    #[test]
    fn d2_every_listed_region_is_found_by_each_of_its_names_and_has_a_code() {
        /// What posts know and ISO 3166-2 does not.
        const CODELESS: [&str; 9] = ["AU", "BS", "CV", "HK", "KY", "PH", "RU", "TV", "US"];
        let mut codeless = std::collections::BTreeSet::new();
        for country in Country::all() {
            let Some(directory) = Directory::of(&country) else { continue };
            for entry in &directory.entries {
                let Some(listed) = entry.listed else { continue };
                if entry.code.is_none() {
                    codeless.insert(country.as_str().to_owned());
                }
                for name in listed.names.iter().chain([&listed.spelling]) {
                    let found = resolve(Line::parse(name).unwrap(), &country);
                    let code = found.unwrap().1.map(|code| code.0);
                    assert_eq!(code.as_deref(), entry.code, "{} {name}", country.as_str());
                }
            }
        }
        let expected = CODELESS.map(str::to_owned).into_iter().collect();
        assert_eq!(codeless, expected);
    }

    #[test]
    fn d2_every_alias_names_a_region_that_exists() {
        for (code, names) in ALIASES {
            let country = Country::parse(&code[..2]).unwrap();
            assert!(subdivisions(&country).iter().any(|known| known.code == *code), "{code}");
            for name in names.split('|') {
                let found = resolve(Line::parse(name).unwrap(), &country).unwrap().1;
                assert_eq!(found.map(|found| found.0).as_deref(), Some(*code), "{name}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn d2_looking_up_twice_is_looking_up_once(at in 0usize..6_000, raw in "\\PC{1,20}") {
            let countries: Vec<_> = Country::all().collect();
            let country = &countries[at % countries.len()];
            let parts = all(country);
            let texts = [Some(raw), parts.get(at % parts.len().max(1)).map(|part| part.name.to_owned())];
            for text in texts.into_iter().flatten() {
                let Ok(line) = Line::parse(&text) else { continue };
                if let Ok((kept, code)) = resolve(line, country) {
                    let again = resolve(kept.clone(), country).unwrap();
                    proptest::prop_assert_eq!(again, (kept, code));
                }
            }
        }
    }
}
