//! An amount of money: a whole number of its currency's minor units, never a fraction.

use super::fault::Fault;
use super::place::Currency;
use serde::{Deserialize, Serialize};

/// An amount that is asked for something: not negative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    amount: i64,
    currency: Currency,
}

impl Money {
    /// The largest amount, in minor units: more than anything costs in any currency, and a number
    /// that every reader of JSON can hold.
    pub const MAX: i64 = 999_999_999_999_999;

    /// # Errors
    /// `out_of_range` unless the amount is from 0 to [`Money::MAX`].
    pub fn new(amount: i64, currency: Currency) -> Result<Self, Fault> {
        if (0..=Self::MAX).contains(&amount) {
            Ok(Self { amount, currency })
        } else {
            Err(Fault::new("out_of_range", format!("must be from 0 to {}", Self::MAX)))
        }
    }

    /// A value that this service itself stored after checking it.
    pub fn from_stored(amount: i64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    /// In minor units.
    pub fn amount(&self) -> i64 {
        self.amount
    }

    pub fn currency(&self) -> &Currency {
        &self.currency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_neither_negative_nor_beyond_what_json_holds() {
        let money = |amount| Money::new(amount, Currency::parse("VND").unwrap());
        for amount in [0, 1, Money::MAX] {
            assert_eq!(money(amount).unwrap().amount(), amount);
        }
        for amount in [-1, Money::MAX + 1, i64::MIN, i64::MAX] {
            assert_eq!(money(amount).unwrap_err().code, "out_of_range");
        }
    }
}
