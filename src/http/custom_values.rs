//! What of its custom attributes a customer is shown: those that customers may read. Whatever has no
//! definition is shown to staff alone.

use super::problem::Problem;
use super::services::Services;
use crate::db;
use serde_json::{Map, Value};

/// Takes away what customers may not read. `shown` are the keys that they may.
pub fn keep_shown(custom: &mut Map<String, Value>, shown: &[String]) {
    custom.retain(|key, _| shown.contains(key));
}

/// As [`keep_shown`], for an answer to a change: reads the keys, if there is anything to show.
///
/// # Errors
/// Those of the read.
pub async fn hide_unshown(
    services: &Services,
    custom: &mut Map<String, Value>,
) -> Result<(), Problem> {
    if custom.is_empty() {
        return Ok(());
    }
    let read = services.database.read(|connection| {
        Box::pin(async move { db::attributes::shown_to_customers(connection).await })
    });
    keep_shown(custom, &read.await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_to_be_shown_is_hidden() {
        let mut custom = json!({ "a": 1, "b": 2, "c": 3 }).as_object().cloned().unwrap();
        keep_shown(&mut custom, &["b".to_owned(), "d".to_owned()]);
        assert_eq!(Value::Object(custom), json!({ "b": 2 }));
    }
}
