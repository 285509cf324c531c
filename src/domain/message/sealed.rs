//! What of a message is readable for those alone who are given its customer's key.

use schemars::JsonSchema;
use serde::Serialize;

/// Sealed values, as a message and an entry of the audit trail carry them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Sealed {
    /// The name of the customer's key that opens it.
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"))]
    pub kid: String,
    /// How it is sealed, by its name in RFC 7518.
    #[schemars(length(min = 1))]
    pub alg: String,
    /// In base64url without padding.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub nonce: String,
    /// With the tag at its end, in base64url without padding.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]+$"))]
    pub ciphertext: String,
}

impl Sealed {
    /// A believable one.
    pub(super) fn example() -> Self {
        Self {
            kid: "9f1d6a3b70c2e845".to_owned(),
            alg: "A256GCM".to_owned(),
            nonce: "m0cXq2m5aW1V4d8P".to_owned(),
            ciphertext: "Yk3yM1sQm6G0pVwzH7hCkz7sF3x9b2qX5mJ8l0aTn4rU6dE1fA".to_owned(),
        }
    }
}
