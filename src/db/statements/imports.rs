//! The bulk statement of the table `import_errors`.

use super::*;

bulk! {
    InsertImportErrors [
        "INSERT INTO import_errors (import_id, line, number, field, code, detail) SELECT * FROM unnest(",
        ")"
    ] {
        import_id: SqlUuid = Uuid,
        line: BigInt = i64,
        number: Integer = i32,
        field: Nullable<Text> = Option<String>,
        code: Text = String,
        detail: Text = String,
    }
}
