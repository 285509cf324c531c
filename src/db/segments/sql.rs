//! SQL in pieces: fixed text, and values that are bound where they stand. No value is ever text.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::{Array, BigInt, Bool, Date, Integer, Text, Timestamptz, Uuid as SqlUuid};
use uuid::Uuid;

/// An expression or a statement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sql(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Fixed(&'static str),
    Bound(Value),
}

/// A value, with the type that PostgreSQL is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Texts(Vec<String>),
    Instant(DateTime<Utc>),
    Instants(Vec<DateTime<Utc>>),
    Day(NaiveDate),
    Days(Vec<NaiveDate>),
    Integers(Vec<i32>),
    BigInts(Vec<i64>),
    Flag(bool),
    Id(Uuid),
    Ids(Vec<Uuid>),
}

impl Sql {
    pub(super) fn fixed(text: &'static str) -> Self {
        Self(vec![Piece::Fixed(text)])
    }

    /// What is true of nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self::fixed("false")
    }

    pub(super) fn push(&mut self, text: &'static str) -> &mut Self {
        self.0.push(Piece::Fixed(text));
        self
    }

    pub(super) fn bind(&mut self, value: Value) -> &mut Self {
        self.0.push(Piece::Bound(value));
        self
    }

    pub(super) fn append(&mut self, other: Self) -> &mut Self {
        self.0.extend(other.0);
        self
    }

    /// The pieces in parentheses, with a word between them.
    pub(super) fn joined(members: impl IntoIterator<Item = Self>, by: &'static str) -> Self {
        let mut all = Self::fixed("(");
        for (n, member) in members.into_iter().enumerate() {
            if n > 0 {
                all.push(by);
            }
            all.append(member);
        }
        all.push(")");
        all
    }

    /// The text, with a place for each value: for people and tests.
    pub fn text(&self) -> String {
        let mut values = 0;
        let piece = |piece: &Piece| match piece {
            Piece::Fixed(text) => (*text).to_owned(),
            Piece::Bound(_) => {
                values += 1;
                format!("${values}")
            }
        };
        self.0.iter().map(piece).collect()
    }
}

impl QueryFragment<Pg> for Sql {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for piece in &self.0 {
            match piece {
                Piece::Fixed(text) => out.push_sql(text),
                Piece::Bound(value) => match value {
                    Value::Text(text) => out.push_bind_param::<Text, _>(text)?,
                    Value::Texts(texts) => out.push_bind_param::<Array<Text>, _>(texts)?,
                    Value::Instant(instant) => out.push_bind_param::<Timestamptz, _>(instant)?,
                    Value::Instants(all) => out.push_bind_param::<Array<Timestamptz>, _>(all)?,
                    Value::Day(day) => out.push_bind_param::<Date, _>(day)?,
                    Value::Days(days) => out.push_bind_param::<Array<Date>, _>(days)?,
                    Value::Integers(all) => out.push_bind_param::<Array<Integer>, _>(all)?,
                    Value::BigInts(all) => out.push_bind_param::<Array<BigInt>, _>(all)?,
                    Value::Flag(flag) => out.push_bind_param::<Bool, _>(flag)?,
                    Value::Id(id) => out.push_bind_param::<SqlUuid, _>(id)?,
                    Value::Ids(ids) => out.push_bind_param::<Array<SqlUuid>, _>(ids)?,
                },
            }
        }
        Ok(())
    }
}
