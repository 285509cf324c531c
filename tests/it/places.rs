//! Addresses of the world (rule D2): real ones of every continent are taken and kept, each in the
//! spelling of its owner, with the region's code and the postal code's one form; what a form needs
//! to be drawn is told.

use serde_json::{Value, json};

use crate::harness::shopper::home;
use crate::harness::{Shop, Shopper};

/// Country, street, city, region, postal code and phone as their owner writes them; then what is
/// kept: region, its code, postal code, phone.
type Row = (&'static str, [&'static str; 5], [&'static str; 4]);

/// Public places, so that no one's home is in a test. An empty text is a field left out.
#[rustfmt::skip]
const WORLD: &[Row] = &[
    ("AE", ["1 Mohammed Bin Rashid Blvd", "Dubai", "دبي", "", "04 888 8888"], ["دبي", "AE-DU", "", "+97148888888"]),
    ("AR", ["Balcarce 50", "Buenos Aires", "CABA", "c1064aab", "+54 11 4344 3600"], ["CABA", "AR-C", "C1064AAB", "+541143443600"]),
    ("AT", ["Stephansplatz 3", "Wien", "", "A-1010", "+43 1 515523054"], ["", "", "1010", "+431515523054"]),
    ("AU", ["Bennelong Point", "Sydney", "nsw", "2000", "02 9250 7111"], ["NSW", "AU-NSW", "2000", "+61292507111"]),
    ("BE", ["Grand-Place 1", "Bruxelles", "", "1000", "02 279 22 11"], ["", "", "1000", "+3222792211"]),
    ("BR", ["Av. Paulista, 1578", "São Paulo", "São Paulo", "01310200", "(11) 3149-5959"], ["São Paulo", "BR-SP", "01310-200", "+551131495959"]),
    ("CA", ["111 Wellington St", "Ottawa", "Ontario", "k1a0a6", "(613) 992-4793"], ["Ontario", "CA-ON", "K1A 0A6", "+16139924793"]),
    ("CH", ["Bundesplatz 3", "Bern", "BE", "CH-3005", "058 322 90 00"], ["BE", "CH-BE", "3005", "+41583229000"]),
    ("CL", ["Moneda s/n", "Santiago", "Región Metropolitana", "8340457", ""], ["Región Metropolitana", "CL-RM", "8340457", ""]),
    ("CN", ["东长安街", "北京", "北京市", "100006", "+86 10 6309 5745"], ["北京市", "CN-BJ", "100006", "+861063095745"]),
    ("CO", ["Carrera 8 No. 7-26", "Bogotá", "Bogotá, D.C.", "111711", ""], ["Bogotá, D.C.", "CO-DC", "111711", ""]),
    ("CZ", ["Hradčany 1", "Praha", "", "11900", "224 371 111"], ["", "", "119 00", "+420224371111"]),
    ("DE", ["Platz der Republik 1", "Berlin", "BE", "D-11011", "030 2270"], ["BE", "DE-BE", "11011", "+49302270"]),
    ("DK", ["Christiansborg", "København K", "", "1240", "33 37 55 00"], ["", "", "1240", "+4533375500"]),
    ("EG", ["ميدان التحرير", "القاهرة", "القاهرة", "١١٥٥٧", "02 25796948"], ["القاهرة", "EG-C", "11557", "+20225796948"]),
    ("ES", ["Calle de Bailén, s/n", "Madrid", "Comunidad de Madrid", "28071", "914 54 87 00"], ["Comunidad de Madrid", "ES-M", "28071", "+34914548700"]),
    ("FI", ["Mannerheimintie 30", "Helsinki", "", "FI-00100", "09 4321"], ["", "", "00100", "+35894321"]),
    ("FR", ["55 rue du Faubourg Saint-Honoré", "Paris", "", "75008", "01 42 92 81 00"], ["", "", "75008", "+33142928100"]),
    ("GB", ["10 Downing Street", "London", "", "sw1a2aa", "020 7925 0918"], ["", "", "SW1A 2AA", "+442079250918"]),
    ("GR", ["Πλατεία Συντάγματος", "Αθήνα", "", "10563", "210 370 7000"], ["", "", "105 63", "+302103707000"]),
    ("GU", ["590 S Marine Corps Dr", "Tamuning", "", "96913-1234", ""], ["", "", "96913-1234", ""]),
    ("HK", ["立法會道1號", "中環", "香港島", "", "3919 3399"], ["香港島", "", "", "+85239193399"]),
    ("ID", ["Jl. Medan Merdeka Utara", "Jakarta Pusat", "DKI Jakarta", "10110", "(021) 3845627"], ["DKI Jakarta", "ID-JK", "10110", "+62213845627"]),
    ("IE", ["Leinster House, Kildare St", "Dublin 2", "Co. Dublin", "d02xr20", "01 618 3000"], ["Co. Dublin", "IE-D", "D02 XR20", "+35316183000"]),
    ("IL", ["קפלן 1", "ירושלים", "", "9195016", "02-675-3333"], ["", "", "9195016", "+97226753333"]),
    ("IN", ["Rashtrapati Bhavan", "New Delhi", "NCT of Delhi", "110 004", "011 2301 5321"], ["NCT of Delhi", "IN-DL", "110004", "+911123015321"]),
    ("IT", ["Piazza del Quirinale", "Roma", "rm", "00187", "06 46991"], ["RM", "IT-RM", "00187", "+390646991"]),
    ("JP", ["永田町1-7-1", "千代田区", "東京都", "〒１００－００１４", "03-3581-5111"], ["東京都", "JP-13", "100-0014", "+81335815111"]),
    ("KE", ["Harambee Avenue", "Nairobi", "", "00200", "+254 20 2227411"], ["", "", "00200", "+254202227411"]),
    ("KR", ["의사당대로 1", "영등포구", "서울특별시", "07233", "02-6788-2114"], ["서울특별시", "KR-11", "07233", "+82267882114"]),
    ("MX", ["Plaza de la Constitución s/n", "Cuauhtémoc", "Ciudad de México", "06066", "+52 55 3688 1100"], ["Ciudad de México", "MX-CMX", "06066", "+525536881100"]),
    ("MY", ["Jalan Parlimen", "Kuala Lumpur", "Kuala Lumpur", "50680", "03-2601 7000"], ["Kuala Lumpur", "MY-14", "50680", "+60326017000"]),
    ("NG", ["Three Arms Zone", "Abuja", "FCT", "900001", ""], ["FCT", "", "900001", ""]),
    ("NL", ["Museumstraat 1", "Amsterdam", "", "1071xx", "020 674 7000"], ["", "", "1071 XX", "+31206747000"]),
    ("NO", ["Slottsplassen 1", "Oslo", "", "0010", "22 04 87 00"], ["", "", "0010", "+4722048700"]),
    ("NZ", ["Molesworth Street", "Wellington", "", "6011", "04 817 9999"], ["", "", "6011", "+6448179999"]),
    ("PH", ["J.P. Laurel St", "Manila", "Metro Manila", "1005", ""], ["Metro Manila", "PH-00", "1005", ""]),
    ("PL", ["Wiejska 4/6/8", "Warszawa", "", "00902", "22 694 25 00"], ["", "", "00-902", "+48226942500"]),
    ("PR", ["Calle San Francisco", "San Juan", "", "00901", "(787) 721-7000"], ["", "", "00901", "+17877217000"]),
    ("PT", ["Praça do Império", "Lisboa", "", "1400 206", "213 620 034"], ["", "", "1400-206", "+351213620034"]),
    ("RU", ["Красная площадь, 1", "Москва", "Москва", "109012", "+7 495 621-16-20"], ["Москва", "RU-MOW", "109012", "+74956211620"]),
    ("SA", ["طريق الملك فهد", "الرياض", "", "١٢٢١٤", ""], ["", "", "12214", ""]),
    ("SE", ["Riksgatan 1", "Stockholm", "", "SE-10012", "08-786 40 00"], ["", "", "100 12", "+4687864000"]),
    ("SG", ["1 Parliament Place", "Singapore", "", "178880", "6332 6666"], ["", "", "178880", "+6563326666"]),
    ("TH", ["ถนนหน้าพระลาน", "พระนคร", "กรุงเทพมหานคร", "๑๐๒๐๐", "02 623 5500"], ["กรุงเทพมหานคร", "TH-10", "10200", "+6626235500"]),
    ("TR", ["Sultanahmet Mah., Ayasofya Meydanı", "Fatih", "İstanbul", "34122", "0212 522 17 50"], ["İstanbul", "TR-34", "34122", "+902125221750"]),
    ("TW", ["重慶南路一段122號", "中正區", "臺北市", "100006", "02-2311-3731"], ["臺北市", "TW-TPE", "100006", "+886223113731"]),
    ("UA", ["вулиця Банкова, 11", "Київ", "Київ", "01220", "044 255 7333"], ["Київ", "UA-30", "01220", "+380442557333"]),
    ("US", ["1600 Pennsylvania Ave NW", "Washington", "D.C.", "205000003", "(202) 456-1111"], ["D.C.", "US-DC", "20500-0003", "+12024561111"]),
    ("US", ["63 Calle Fortaleza", "San Juan", "pr", "00901", ""], ["PR", "US-PR", "00901", ""]),
    ("VI", ["21 Kongens Gade", "Charlotte Amalie", "", "00802-1222", ""], ["", "", "00802-1222", ""]),
    ("VN", ["135 Nam Kỳ Khởi Nghĩa", "Quận 1", "TP. Hồ Chí Minh", "700000", "028 3822 3652"], ["TP. Hồ Chí Minh", "VN-SG", "700000", "+842838223652"]),
    ("VN", ["1 Hùng Vương", "Ba Đình", "Hà Nội", "11120", "0912 345 678"], ["Hà Nội", "VN-HN", "11120", "+84912345678"]),
    ("ZA", ["Government Avenue", "Pretoria", "", "0001", "012 300 5200"], ["", "", "0001", "+27123005200"]),
];

fn body([line1, city, region, postal_code, phone]: [&str; 5], country: &str) -> Value {
    let given = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    json!({
        "recipient": "Zoë Ünlü 陳大文", "line1": line1, "city": city, "region": given(region),
        "postal_code": given(postal_code), "phone": given(phone), "country": country,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_real_addresses_of_fifty_countries_are_taken_and_kept_as_written() {
    let countries: std::collections::BTreeSet<_> = WORLD.iter().map(|row| row.0).collect();
    assert!(countries.len() >= 50, "{}", countries.len());
    let shop = Shop::configured(&[("CUSTOMERS__ADDRESS_LIMIT", "100")]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for (country, written, kept) in WORLD {
        let sent = body(*written, country);
        let added = shopper.post(&node, "/v1/me/addresses", sent.clone()).send().await.expect(201);
        let path = added.header("location").to_owned();
        let seen = shopper.get(&node, &path).send().await.expect(200).json();
        for field in ["recipient", "line1", "city", "country"] {
            assert_eq!(seen[field], sent[field], "{country} {field}");
        }
        for (field, kept) in ["region", "region_code", "postal_code", "phone"].iter().zip(kept) {
            assert_eq!(seen[field].as_str().unwrap_or(""), *kept, "{country} {field}");
        }
        // What is read back can be written again, and changes nothing.
        let fields = ["region", "postal_code", "phone", "country"];
        let same = fields.map(|field| (field.to_owned(), seen[field].clone()));
        let call = shopper.patch(&node, &path, Value::Object(same.into_iter().collect()));
        assert_eq!(call.send().await.expect(200).json()["version"], seen["version"], "{country}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_what_a_countrys_post_cannot_deliver_is_refused_with_every_fault() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for (country, written, faults) in [
        ("US", ["a", "b", "Atlantis", "1234", "12"], "#/phone #/postal_code #/region"),
        ("JP", ["a", "b", "California", "100-001", ""], "#/postal_code #/region"),
        ("CA", ["a", "b", "CA-CA", "90210", ""], "#/postal_code #/region"),
        ("GB", ["a", "b", "", "90210", "0912 345 678"], "#/phone #/postal_code"),
        ("IE", ["a", "b", "Co. Dublin", "Dublin 2", ""], "#/postal_code"),
        ("PR", ["a", "b", "", "90210", ""], "#/postal_code"),
    ] {
        let call = shopper.post(&node, "/v1/me/addresses", body(written, country));
        let told = call.send().await.problem(422, "validation_failed").faults();
        let pointers: Vec<_> = told.iter().map(|at| at.split(' ').next().unwrap()).collect();
        assert_eq!(pointers.join(" "), faults, "{country}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_rows_from_before_stay_readable_and_the_database_holds_what_it_can() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let id = shopper.add_address(&node, "Huế").await;
    let path = format!("/v1/me/addresses/{id}");
    shop.database
        .execute("UPDATE addresses SET country = 'US', region = 'Old', postal_code = 'OLD'")
        .await;
    let seen = shopper.get(&node, &path).send().await.expect(200).json();
    assert_eq!((&seen["region"], &seen["region_code"]), (&json!("Old"), &json!(null)));
    let change = shopper.patch(&node, &path, json!({ "label": "home" })).send().await;
    assert_eq!(change.expect(200).json()["postal_code"], "OLD");
    let change = json!({ "region": "US-NY", "postal_code": "10001" });
    let seen = shopper.patch(&node, &path, change).send().await.expect(200).json();
    assert_eq!((&seen["region"], &seen["region_code"]), (&json!("NY"), &json!("US-NY")));
    let client = shop.database.client().await;
    for wrong in [
        "region_code = 'VN-SG'",
        "region_code = 'US'",
        "region_code = 'US-ny'",
        "region = NULL",
        "country = 'CA'",
        "country = 'us'",
        "phone = '0912345678'",
        "postal_code = '12345678901234567'",
    ] {
        let refused = client.execute(&format!("UPDATE addresses SET {wrong}"), &[]).await;
        let code = refused.expect_err(wrong).code().map(|state| state.code().to_owned());
        assert_eq!(code.as_deref(), Some("23514"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_companies_may_have_a_limit_of_their_own() {
    let limits = [("CUSTOMERS__ADDRESS_LIMIT", "1"), ("CUSTOMERS__ADDRESS_LIMIT_BUSINESS", "2")];
    let shop = Shop::configured(&limits).await;
    let node = shop.node().await;
    let (_, key) = shop.key("customers:write,customers:read");
    for (kind, limit) in [("individual", 1), ("business", 2)] {
        let new = json!({
            "email": format!("{kind}@shoppers.example"), "first_name": "Ánh", "last_name": "Nguyễn",
            "customer_type": kind,
        });
        let made = node.post("/v1/admin/customers", new).bearer(&key).send().await.expect(201);
        let path = format!("/v1/admin/customers/{}/addresses", made.json()["id"].as_str().unwrap());
        for _ in 0..limit {
            node.post(&path, home("Huế")).bearer(&key).send().await.expect(201);
        }
        let more = node.post(&path, home("Huế")).bearer(&key).send().await;
        more.problem(409, "address_limit_reached");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d2_anybody_may_ask_how_addresses_are_written() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let all = node.get("/v1/countries").send().await.expect(200);
    assert_eq!(all.header("cache-control"), "public, max-age=86400");
    let all = all.json();
    assert!(
        all["items"].as_array().unwrap().contains(&json!({ "code": "VN", "name": "Viet Nam" }))
    );
    let us = node.get("/v1/countries/us").send().await.expect(200);
    assert_eq!(us.header("cache-control"), "public, max-age=86400");
    assert_eq!(us.json()["regions"].as_array().unwrap().len(), 62);
    for absent in ["XX", "USA", "%F0%9F%87%BB%F0%9F%87%B3"] {
        let asked = node.get(&format!("/v1/countries/{absent}")).send().await;
        asked.problem(404, "not_found");
    }
}
