//! Where in a JSON text: RFC 6901 pointers in their URI fragment form, such as `#/address/city`.

/// A place, as a chain from the place back to the root. Lives on the stack while a text is
/// walked, so that a pointer is only written when there is a fault to report.
pub enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// The place in words.
    pub fn pointer(&self) -> String {
        match self {
            Path::Root => "#".to_owned(),
            Path::Key(parent, key) => {
                let mut pointer = parent.pointer();
                push(&mut pointer, key);
                pointer
            }
            Path::Index(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}

/// Goes one step down: to the member named `key`.
pub fn push(pointer: &mut String, key: &str) {
    pointer.push('/');
    for byte in key.bytes() {
        match byte {
            b'~' => pointer.push_str("~0"),
            b'/' => pointer.push_str("~1"),
            // what a URI fragment may hold as it is (RFC 3986, 3.5)
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => pointer.push(byte as char),
            _ if b"-._!$&'()*+,;=:@?".contains(&byte) => pointer.push(byte as char),
            _ => pointer.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_escaped_for_both_grammars() {
        let addresses = Path::Key(&Path::Root, "addresses");
        let first = Path::Index(&addresses, 0);
        assert_eq!(Path::Root.pointer(), "#");
        assert_eq!(first.pointer(), "#/addresses/0");
        assert_eq!(Path::Key(&first, "a/b~c d%").pointer(), "#/addresses/0/a~1b~0c%20d%25");
        assert_eq!(Path::Key(&Path::Root, "ö").pointer(), "#/%C3%B6");
        assert_eq!(Path::Key(&Path::Root, "").pointer(), "#/");
    }
}
