//! The names that columns of a file may have, and how a column of another name is mapped to one.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;

/// Addresses that one row of CSV may have; a list of NDJSON may be as long as an address book.
const ADDRESSES_MAX: usize = 9;

/// What a column means.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    Plain(Plain),
    /// One custom attribute.
    Custom(String),
    /// One field of one address, counted from 0.
    Address(usize, AddressField),
    /// Read over.
    Ignored,
}

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident { $($name:ident $text:literal)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind { $($name),+ }

        impl $kind {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == text)
            }
        }
    };
}

names! {
    /// Fields of the customer, of its profile and of its preferences, by their names in the API.
    Plain {
        Email "email"
        EmailVerified "email_verified"
        FirstName "first_name"
        LastName "last_name"
        Phone "phone"
        CustomerType "customer_type"
        Group "group"
        Status "status"
        Tags "tags"
        AcceptsMarketing "accepts_marketing"
        MarketingTextVersion "marketing_text_version"
        Locale "locale"
        Timezone "timezone"
        Currency "currency"
        DateOfBirth "date_of_birth"
        Gender "gender"
        AvatarUrl "avatar_url"
        Company "company"
        TaxId "tax_id"
        Bio "bio"
        // all custom attributes as one object
        CustomAll "custom"
        // all addresses as one list
        Addresses "addresses"
        PasswordHash "password_hash"
        // of systems that keep it beside the hash
        PasswordSalt "password_salt"
        CreatedAt "created_at"
    }
}

names! {
    /// Fields of an address, by their names in the API.
    AddressField {
        Label "label"
        Recipient "recipient"
        Company "company"
        Line1 "line1"
        Line2 "line2"
        City "city"
        Region "region"
        PostalCode "postal_code"
        Country "country"
        Phone "phone"
        DefaultShipping "default_shipping"
        DefaultBilling "default_billing"
    }
}

/// What an export tells beside, and nobody can set.
const TOLD_ONLY: &[&str] = &["id", "phone_verified", "last_sign_in_at", "updated_at", "version"];

impl Field {
    /// The field of this name: `email`, `custom.shoe_size`, `address.city`, `address2.city`; `-` is
    /// a column to read over.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "-" || TOLD_ONLY.contains(&name) {
            return Some(Self::Ignored);
        }
        if let Some(plain) = Plain::parse(name) {
            return Some(Self::Plain(plain));
        }
        let (group, inner) = name.split_once('.')?;
        if group == "custom" {
            return Self::custom(inner);
        }
        let number = match group.strip_prefix("address")? {
            "" => 1,
            number => number.parse().ok().filter(|n| (1..=ADDRESSES_MAX).contains(n))?,
        };
        Some(Self::Address(number - 1, AddressField::parse(inner)?))
    }

    /// The custom attribute of this key, if it can be one: errors tell it, so it is no free text.
    pub fn custom(key: &str) -> Option<Self> {
        let sign = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let sound = (1..=64).contains(&key.len()) && key.bytes().all(sign);
        sound.then(|| Self::Custom(key.to_owned()))
    }

    /// The name, as errors tell it.
    pub fn name(&self) -> String {
        match self {
            Self::Plain(plain) => plain.name().to_owned(),
            Self::Custom(key) => format!("custom.{key}"),
            Self::Address(0, field) => format!("address.{}", field.name()),
            Self::Address(number, field) => format!("address{}.{}", number + 1, field.name()),
            Self::Ignored => "-".to_owned(),
        }
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| de::Error::custom("not a field"))
    }
}

/// Which names of a file stand for which fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// By the file's own name.
    pub names: BTreeMap<String, Field>,
    /// Whether names that are no field are read over; otherwise they are refused.
    pub ignore_unknown: bool,
}

impl Mapping {
    /// The field of a column; `None`: there is none of this name.
    pub fn field(&self, name: &str) -> Option<Field> {
        let name = name.trim();
        let mapped = self.names.get(name).cloned();
        mapped
            .or_else(|| Field::parse(&usual(name)))
            .or_else(|| self.ignore_unknown.then_some(Field::Ignored))
    }

    /// Adds one `name=field`. The name may hold `=`, the field cannot.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn add(&mut self, pair: &str) -> Result<(), String> {
        let (name, field) = pair.rsplit_once('=').ok_or("must be column=field")?;
        let field = Field::parse(field.trim())
            .ok_or("names a field that does not exist; see docs/imports.md, or - to read over")?;
        let name = name.trim().to_owned();
        if name.is_empty() || self.names.insert(name, field).is_some() {
            return Err("names no column, or one twice".to_owned());
        }
        Ok(())
    }
}

/// As programs and people write one name: `First Name`, `first-name`, `FIRST_NAME`.
fn usual(name: &str) -> String {
    let sign = |sign: char| if matches!(sign, ' ' | '-') { '_' } else { sign.to_ascii_lowercase() };
    if name == "-" { name.to_owned() } else { name.chars().map(sign).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_told() {
        for name in [
            "email",
            "custom.shoe_size",
            "address.city",
            "address2.postal_code",
            "address9.default_billing",
            "addresses",
            "-",
        ] {
            assert_eq!(Field::parse(name).unwrap().name(), name);
        }
        assert_eq!(Field::parse("address1.city"), Field::parse("address.city"));
        assert_eq!(Field::parse("updated_at"), Some(Field::Ignored));
        for none in [
            "",
            "e-mail",
            "address.street",
            "address10.city",
            "address0.city",
            "custom.",
            "custom.a b",
        ] {
            assert_eq!(Field::parse(none), None, "{none}");
        }
    }

    #[test]
    fn columns_of_other_shops_are_mapped() {
        let mut mapping = Mapping::default();
        for pair in ["Accepts Email Marketing=accepts_marketing", "a=b=tags", "Note=-"] {
            mapping.add(pair).unwrap();
        }
        let name =
            |mapping: &Mapping, column: &str| mapping.field(column).map(|field| field.name());
        for (column, field) in [
            ("Accepts Email Marketing", "accepts_marketing"),
            ("a=b", "tags"),
            ("Note", "-"),
            ("First Name", "first_name"),
            (" last-name ", "last_name"),
            ("EMAIL", "email"),
        ] {
            assert_eq!(name(&mapping, column).as_deref(), Some(field), "{column}");
        }
        assert_eq!(name(&mapping, "Total Spent"), None);
        let lenient = Mapping { ignore_unknown: true, ..mapping.clone() };
        assert_eq!(name(&lenient, "Total Spent").as_deref(), Some("-"));
        for wrong in ["x", "=email", "x=mail", "Note=email"] {
            assert!(mapping.add(wrong).is_err(), "{wrong}");
        }
        let kept = serde_json::to_value(&lenient).unwrap();
        assert_eq!(serde_json::from_value::<Mapping>(kept).unwrap(), lenient);
    }
}
