//! `/v1/countries`: how addresses are written in each country, for whoever draws the form. It is the
//! same for everybody and changes with releases only, so it may be cached.

use super::catalogue::Code;
use super::problem::Problem;
use crate::domain::address_format::AddressFormat;
use crate::domain::place::Country;
use crate::domain::region;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

/// A day.
const CACHED: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=86400");

/// What every address needs here, whatever the country's post asks for.
const ALWAYS: [&str; 4] = ["recipient", "line1", "city", "country"];

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(show);
}

/// A country by its name.
#[derive(Serialize, ToSchema)]
pub struct CountryName {
    /// ISO 3166-1 alpha-2.
    #[schema(example = "VN")]
    code: String,
    /// The short name of ISO 3166-1, in English.
    #[schema(example = "Viet Nam")]
    name: &'static str,
}

/// Every country.
#[derive(Serialize, ToSchema)]
pub struct Countries {
    items: Vec<CountryName>,
}

/// How addresses are written in a country.
#[derive(Serialize, ToSchema)]
#[schema(as = Country)]
pub struct CountryView {
    /// ISO 3166-1 alpha-2.
    #[schema(example = "US")]
    code: String,
    /// The short name of ISO 3166-1, in English.
    #[schema(example = "United States of America")]
    name: &'static str,
    /// The fields in the order in which the country writes them.
    #[schema(value_type = Vec<String>, example = json!(["recipient", "company", "line1", "line2", "city", "region", "postal_code"]))]
    fields: Vec<&'static str>,
    /// The fields that a letter needs to arrive. `recipient`, `line1`, `city` and `country` are what
    /// this service insists on.
    #[schema(value_type = Vec<String>, example = json!(["recipient", "line1", "city", "country", "region", "postal_code"]))]
    required: Vec<&'static str>,
    /// What its regions are called there: `state`, `prefecture`, `emirate` and so on. Empty where
    /// addresses have none.
    #[schema(value_type = Option<String>, example = "state")]
    region_kind: Option<&'static str>,
    /// Whether `region` must be one of `regions` or another part of the country that ISO 3166-2
    /// names; else they are what to offer.
    region_listed: bool,
    regions: Vec<RegionView>,
    /// What its postal codes are called: `zip`, `pin`, `eircode`, else `postal`. Empty where it has
    /// none, or none that are checked.
    #[schema(value_type = Option<String>, example = "zip")]
    postal_code_kind: Option<&'static str>,
    /// A regular expression that every postal code matches as a whole, in its one spelling. Other
    /// spellings of the same code are taken too: small letters, without space or hyphen.
    #[schema(value_type = Option<String>, example = r"(\d{5})(?:[ \-](\d{4}))?")]
    postal_code_pattern: Option<&'static str>,
    #[schema(value_type = Vec<String>, example = json!(["95014", "22162-1010"]))]
    postal_code_examples: Vec<&'static str>,
}

/// A part of a country.
#[derive(Serialize, ToSchema)]
#[schema(as = Region)]
pub struct RegionView {
    /// ISO 3166-2; empty for the few parts that only the post knows.
    #[schema(value_type = Option<String>, example = "US-CA")]
    code: Option<&'static str>,
    /// As it stands on a letter.
    #[schema(example = "CA")]
    written: &'static str,
    #[schema(example = "California")]
    name: &'static str,
}

/// Every country of ISO 3166-1, in the order of their codes.
#[utoipa::path(
    tag = "countries",
    responses((status = 200, body = Countries, headers(("Cache-Control" = String))))
)]
#[get("/v1/countries")]
async fn list() -> HttpResponse {
    let mut items: Vec<CountryName> = Country::all()
        .map(|country| CountryName { name: country.name(), code: country.as_str().to_owned() })
        .collect();
    items.sort_by(|one, other| one.code.cmp(&other.code));
    HttpResponse::Ok().insert_header(CACHED).json(Countries { items })
}

/// How addresses are written in a country: the fields in its order, what its post requires, its
/// regions and postal codes.
#[utoipa::path(
    tag = "countries",
    params(("country" = String, Path, description = "ISO 3166-1 alpha-2", example = "US")),
    responses((status = 200, body = CountryView, headers(("Cache-Control" = String))))
)]
#[get("/v1/countries/{country}")]
async fn show(country: web::Path<String>) -> Result<HttpResponse, Problem> {
    let country = Country::parse(&country).map_err(|_| Problem::new(Code::NotFound))?;
    Ok(HttpResponse::Ok().insert_header(CACHED).json(CountryView::of(&country)))
}

impl CountryView {
    fn of(country: &Country) -> CountryView {
        let format = AddressFormat::of(country);
        let codes = format.and_then(|format| format.postal_codes.as_ref());
        let required = format.map_or(&[][..], |format| &format.required);
        let required = required.iter().filter(|field| !ALWAYS.contains(field));
        CountryView {
            code: country.as_str().to_owned(),
            name: country.name(),
            fields: format.map_or_else(Vec::new, |format| format.order.clone()),
            required: ALWAYS.iter().chain(required).copied().collect(),
            region_kind: format.and_then(|format| format.region_kind),
            region_listed: region::is_listed(country),
            regions: region::all(country).into_iter().map(RegionView::from).collect(),
            postal_code_kind: codes.map(|codes| codes.kind),
            postal_code_pattern: codes.map(|codes| codes.pattern),
            postal_code_examples: codes.map_or_else(Vec::new, |codes| codes.examples.clone()),
        }
    }
}

impl From<region::Region> for RegionView {
    fn from(region: region::Region) -> RegionView {
        RegionView { code: region.code, written: region.spelling, name: region.name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn country(code: &str) -> Value {
        serde_json::to_value(CountryView::of(&Country::parse(code).unwrap())).unwrap()
    }

    #[test]
    fn d2_a_form_can_be_drawn_for_every_country() {
        for code in Country::all() {
            let view = country(code.as_str());
            assert!(view["fields"].as_array().unwrap().len() >= 4, "{code:?}");
            assert!(!view["name"].as_str().unwrap().is_empty(), "{code:?}");
            assert!(view["region_listed"] == false || view["regions"][0].is_object(), "{code:?}");
        }
    }

    #[test]
    fn d2_the_states_of_the_united_states_and_no_states_of_germany() {
        let us = country("US");
        assert_eq!(
            us["required"],
            json!(["recipient", "line1", "city", "country", "region", "postal_code"])
        );
        assert_eq!((&us["region_kind"], &us["region_listed"]), (&json!("state"), &json!(true)));
        let california = json!({"code": "US-CA", "written": "CA", "name": "California"});
        assert!(us["regions"].as_array().unwrap().contains(&california));
        assert_eq!(us["postal_code_kind"], "zip");
        let de = country("DE");
        assert_eq!((&de["region_kind"], &de["regions"]), (&json!(null), &json!([])));
        assert_eq!(de["postal_code_pattern"], r"\d{5}");
        let vn = country("VN");
        assert_eq!(
            (&vn["region_listed"], &vn["regions"][0]["code"]),
            (&json!(false), &json!("VN-44"))
        );
        let jp = country("JP");
        let tokyo = json!({"code": "JP-13", "written": "東京都", "name": "Tokyo"});
        assert!(jp["regions"].as_array().unwrap().contains(&tokyo));
    }
}
