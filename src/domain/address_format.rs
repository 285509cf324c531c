//! How addresses are written in each country: what its post requires, in which order the fields
//! stand, the parts of the country that are written on a letter, and its postal codes.
//!
//! The data are Google's libaddressinput (CC BY 4.0); `dev/address-formats` makes the file anew.

use super::place::Country;
use super::postal_code::PostalCodes;
use std::collections::BTreeMap;
use std::sync::LazyLock;

static DATA: &str = include_str!("address_formats.tsv");

/// Read once, from a file that is a part of the program.
static FORMATS: LazyLock<BTreeMap<&'static str, AddressFormat>> = LazyLock::new(|| read(DATA));

/// How addresses are written in a country.
pub struct AddressFormat {
    /// What its post requires, by the names of our fields; beyond that an address needs what every
    /// address needs here.
    pub required: Vec<&'static str>,
    /// The fields in the order in which the country writes them.
    pub order: Vec<&'static str>,
    /// What its regions are called (`state`, `prefecture`); `None` where addresses have none.
    pub region_kind: Option<&'static str>,
    /// The regions that its post lists, in its order.
    pub regions: Vec<ListedRegion>,
    /// `None` where it has no postal codes, or none that are known here.
    pub postal_codes: Option<PostalCodes>,
}

/// A part of a country as its post knows it.
pub struct ListedRegion {
    /// The second half of its code of ISO 3166-2, as far as the list tells one.
    pub code: &'static str,
    /// As it stands on a letter: `CA`, `東京都`.
    pub spelling: &'static str,
    /// What it is called otherwise: `California`, `Tokyo`.
    pub names: Vec<&'static str>,
}

impl AddressFormat {
    /// How addresses of this country are written; `None` for one that the list does not know, such
    /// as one that was founded since.
    pub fn of(country: &Country) -> Option<&'static AddressFormat> {
        FORMATS.get(country.as_str())
    }

    /// Whether its post requires a region, and says which there are.
    pub fn lists_regions(&self) -> bool {
        self.required.contains(&"region") && !self.regions.is_empty()
    }
}

fn read(data: &'static str) -> BTreeMap<&'static str, AddressFormat> {
    let mut formats: BTreeMap<&str, AddressFormat> = BTreeMap::new();
    let mut country = "";
    for line in data.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            ["", code, spelling, names] => {
                let region = ListedRegion { code, spelling, names: list(names, '~') };
                if let Some(format) = formats.get_mut(country) {
                    format.regions.push(region);
                }
            }
            [
                code,
                required,
                order,
                region_kind,
                kind,
                separator,
                prefixes,
                start,
                pattern,
                examples,
            ] => {
                country = code;
                let postal_codes = (!pattern.is_empty()).then(|| {
                    let prefixes = list(prefixes, ' ');
                    let examples = list(examples, '~');
                    PostalCodes::new(
                        kind,
                        separator.chars().next(),
                        prefixes,
                        start,
                        pattern,
                        examples,
                    )
                });
                let format = AddressFormat {
                    required: list(required, ' '),
                    order: list(order, ' '),
                    region_kind: (!region_kind.is_empty()).then_some(region_kind),
                    regions: Vec::new(),
                    postal_codes,
                };
                formats.insert(code, format);
            }
            // none is in the file that the tests have read
            _ => {}
        }
    }
    formats
}

fn list(text: &'static str, mark: char) -> Vec<&'static str> {
    text.split(mark).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_every_line_of_the_list_is_read_and_every_country_is_one() {
        let lines = DATA.lines().filter(|line| !line.starts_with('#'));
        let regions: usize = FORMATS.values().map(|format| format.regions.len()).sum();
        assert_eq!(lines.count(), FORMATS.len() + regions);
        for code in FORMATS.keys() {
            assert!(Country::parse(code).is_ok(), "{code}");
        }
        let unknown = Country::all().filter(|known| AddressFormat::of(known).is_none());
        assert_eq!(unknown.collect::<Vec<_>>(), []);
    }

    #[test]
    fn d2_the_fields_of_every_country_are_ours_each_once() {
        const OURS: [&str; 7] =
            ["recipient", "company", "line1", "line2", "city", "region", "postal_code"];
        for (code, format) in FORMATS.iter() {
            let mut seen = format.order.clone();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), format.order.len(), "{code}");
            assert!(seen.iter().all(|field| OURS.contains(field)), "{code}");
            for field in ["recipient", "line1", "line2", "city"] {
                assert!(seen.contains(&field), "{code}: {field}");
            }
            assert_eq!(seen.contains(&"region"), format.region_kind.is_some(), "{code}");
        }
    }

    #[test]
    fn d2_each_country_writes_in_its_own_order() {
        let order =
            |code: &str| AddressFormat::of(&Country::parse(code).unwrap()).unwrap().order.join(" ");
        assert_eq!(order("US"), "recipient company line1 line2 city region postal_code");
        assert_eq!(order("JP"), "postal_code region city line1 line2 company recipient");
        assert_eq!(order("DE"), "recipient company line1 line2 postal_code city");
        assert_eq!(order("AE"), "recipient company line1 line2 city region");
    }
}
