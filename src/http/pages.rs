//! Keyset pages: `?limit=` and `?cursor=` in, `items` and `next_cursor` out.
//!
//! A cursor is the position after which the next page starts, as opaque text. It is not signed:
//! it names a place in a list that the caller may read anyway, never whose list it is. It is read
//! with the same strictness as a body, and belongs to one kind of list.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{
    field::FieldFault,
    json,
    query::{Parameter, Query},
};

/// How many items a page has when the caller does not say.
pub const LIMIT_DEFAULT: i64 = 25;
/// How many items a page has at most.
pub const LIMIT_MAX: i64 = 100;
/// A longer cursor is not one of ours.
const CURSOR_MAX: usize = 512;

/// Which page is asked for; `P` is the position in the list, such as `(DateTime<Utc>, Uuid)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<P> {
    /// The name of the list, which its cursors bear.
    pub list: &'static str,
    /// How many items at most, 1 to 100.
    pub limit: i64,
    /// The last item of the page before; `None` for the first page.
    pub after: Option<P>,
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items, at most as many as asked for.
    pub items: Vec<T>,
    /// Send it as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

impl<P: Serialize + DeserializeOwned> PageRequest<P> {
    /// Reads `limit` and `cursor` from a query. `list` names the list in its cursors.
    pub fn read(query: &mut Query<'_>, list: &'static str) -> Option<PageRequest<P>> {
        let limit = query.optional("limit", |raw| raw.bounded_integer(1, LIMIT_MAX));
        let after = query.optional("cursor", |raw| decode(raw, list));
        Some(PageRequest { list, limit: limit.unwrap_or(LIMIT_DEFAULT), after })
    }

    /// How many rows to fetch: one more than the page holds tells whether another follows.
    pub fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// Cuts the fetched rows to a page and makes the cursor from the last row that is kept.
    pub fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        position: impl Fn(&R) -> P,
        item: impl FnMut(R) -> T,
    ) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(0);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| more);
        let next_cursor = last.map(|row| encode(self.list, &position(row)));
        Page { items: rows.into_iter().map(item).collect(), next_cursor }
    }
}

fn encode<P: Serialize>(list: &str, position: &P) -> String {
    let text = serde_json::to_vec(&(list, position))
        .expect("positions are tuples of times, ids and texts, which always serialise");
    URL_SAFE_NO_PAD.encode(text)
}

fn decode<P: DeserializeOwned>(raw: Parameter<'_>, list: &str) -> Result<P, FieldFault> {
    let invalid = || FieldFault::new("invalid_cursor", "Must be a next_cursor of this list.");
    if raw.text().len() > CURSOR_MAX {
        return Err(invalid());
    }
    let text = URL_SAFE_NO_PAD.decode(raw.text()).map_err(|_| invalid())?;
    let value = json::parse(&text).map_err(|_| invalid())?;
    let (name, position): (String, P) = serde_json::from_value(value).map_err(|_| invalid())?;
    if name == list { Ok(position) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::http::problem::Problem;

    type Position = (DateTime<Utc>, Uuid);

    fn read<P: Serialize + DeserializeOwned>(query: &str) -> Result<PageRequest<P>, Problem> {
        Query::read(query, |query| PageRequest::read(query, "things"))
    }

    #[test]
    fn limits_have_their_bounds() {
        assert_eq!(read::<i64>("").unwrap().limit, 25);
        assert_eq!(read::<i64>("limit=1").unwrap().fetch(), 2);
        assert_eq!(read::<i64>("limit=100").unwrap().limit, 100);
        for limit in ["0", "101", "-1", "x", ""] {
            let problem = read::<i64>(&format!("limit={limit}")).unwrap_err();
            assert_eq!(problem.status(), 422);
            assert_eq!(problem.errors()[0].parameter.as_deref(), Some("limit"));
        }
    }

    #[test]
    fn cursors_lead_through_the_whole_list_once() {
        let all: Vec<i64> = (0..10).collect();
        let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
        loop {
            let request = read::<i64>(&query).unwrap();
            let after = request.after.unwrap_or(-1);
            let rows = all.iter().copied().filter(|row| *row > after);
            let page =
                request.page(rows.take(request.fetch() as usize).collect(), |row| *row, |row| row);
            assert!(page.items.len() <= 3);
            seen.extend(page.items);
            match page.next_cursor {
                Some(cursor) => query = format!("limit=3&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn foreign_cursors_are_refused_with_the_parameter_named() {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for cursor in [
            encode("others", &7),
            encoded("7"),
            encoded("[\"things\"]"),
            encoded("[\"things\",7,8]"),
            encoded("[\"things\",\"7\"]"),
            encoded("[\"things\",7]x"),
            encoded(""),
            "!!".into(),
            "x".repeat(CURSOR_MAX + 1),
            String::new(),
        ] {
            let problem = read::<i64>(&format!("cursor={cursor}")).unwrap_err();
            assert_eq!(problem.errors()[0].code, "invalid_cursor", "{cursor}");
        }
        let nul = encoded("[\"things\",\"a\\u0000\"]");
        assert!(read::<String>(&format!("cursor={nul}")).is_err());
    }

    proptest! {
        #[test]
        fn positions_survive(seconds in 0i64..4_000_000_000, micros in 0u32..1_000_000, id in any::<u128>()) {
            let position: Position =
                (DateTime::from_timestamp(seconds, micros * 1000).unwrap(), Uuid::from_u128(id));
            let query = format!("cursor={}", encode("things", &position));
            prop_assert_eq!(read::<Position>(&query).unwrap().after, Some(position));
        }

        #[test]
        fn never_panics(cursor in "[A-Za-z0-9_-]{0,80}") {
            let _ = read::<Position>(&format!("cursor={cursor}"));
        }
    }
}
