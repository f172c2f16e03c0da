//! Lists of checksums as coreutils write and check them (`sha256sum`).

use std::fmt::Write;

/// One line of a list: the digest in hexadecimal, two spaces, the name, a line feed. A name with a backslash, a line feed or a
/// carriage return has these escaped, and its line begins with a backslash.
pub fn line(digest: &[u8], name: &[u8]) -> Vec<u8> {
    let mut hexadecimal = String::with_capacity(2 * digest.len());
    for byte in digest {
        write!(hexadecimal, "{byte:02x}").expect("writing to a string cannot fail");
    }
    let is_escaped = name.iter().any(|byte| matches!(byte, b'\\' | b'\n' | b'\r'));
    let mut line = Vec::with_capacity(hexadecimal.len() + name.len() + 4);
    if is_escaped {
        line.push(b'\\');
    }
    line.extend_from_slice(hexadecimal.as_bytes());
    line.extend_from_slice(b"  ");
    for byte in name {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn names_take_one_line_each() {
        for (name, expected) in [
            (&b"a/b c"[..], &b"0aff  a/b c\n"[..]),
            (b"a\\b", b"\\0aff  a\\\\b\n"),
            (b"a\nb\rc", b"\\0aff  a\\nb\\rc\n"),
            (b"\xff*", b"0aff  \xff*\n"),
        ] {
            assert_eq!(line(&[0x0a, 0xff], name), expected);
        }
    }
}
