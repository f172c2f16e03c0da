//! The ways in which programs print a value.

use std::collections::BTreeSet;
use std::fmt::Write;

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use tombolo_core::secret::MASKED_BYTES_MIN;

/// A value with more lines is looked for in base64 as a whole only.
const LINES_MAX: usize = 128;

/// Where `base64` and `openssl` break their lines.
const BREAKS: [usize; 2] = [76, 64];

/// All patterns of a value. None is shorter than what can be told from other text, and none has a line's end.
pub(super) fn of(value: &str) -> BTreeSet<Vec<u8>> {
    let mut patterns = BTreeSet::new();
    let lines: Vec<&str> = value.lines().map(str::trim).filter(|line| is_long(line)).collect();
    if !is_long(value.trim()) && lines.is_empty() {
        return patterns;
    }
    plain(&mut patterns, value);
    plain(&mut patterns, value.trim_end_matches(['\r', '\n']));
    encoded(&mut patterns, value);
    if lines.as_slice() != [value] {
        let few = lines.len() <= LINES_MAX;
        for line in lines {
            plain(&mut patterns, line);
            if few {
                encoded(&mut patterns, line);
            }
        }
    }
    patterns.retain(|pattern| pattern.len() >= MASKED_BYTES_MIN && !pattern.contains(&b'\n'));
    patterns
}

fn is_long(text: &str) -> bool {
    text.len() >= MASKED_BYTES_MIN
}

/// As text, and escaped in text.
fn plain(patterns: &mut BTreeSet<Vec<u8>>, text: &str) {
    let (json, ascii) = json(text);
    let slashes = json.replace('/', "\\/");
    // As Go does unless it is told not to.
    let markup = json
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026");
    // As .NET does.
    let narrow = markup.replace('+', "\\u002B").replace('\'', "\\u0027");
    let narrow = narrow.replace("\\u003c", "\\u003C").replace("\\u003e", "\\u003E");
    let shell = text.replace('\'', "'\\''");
    let declared = ['\\', '"', '$', '`'].iter().fold(text.to_owned(), |text, letter| {
        text.replace(*letter, &format!("\\{letter}"))
    });
    patterns.insert(text.as_bytes().to_vec());
    patterns.extend([json, ascii, slashes, markup, narrow, shell, declared].map(String::into_bytes));
    patterns.extend(
        UNESCAPED
            .iter()
            .flat_map(|unescaped| percent(text, unescaped))
            .map(String::into_bytes),
    );
}

/// As bytes in letters.
fn encoded(patterns: &mut BTreeSet<Vec<u8>>, value: &str) {
    for content in [value.as_bytes(), format!("{value}\n").as_bytes()] {
        for engine in [&STANDARD, &URL_SAFE] {
            base64(patterns, engine, content);
        }
    }
    let mut hex = String::with_capacity(value.len() * 2);
    for byte in value.bytes() {
        // A string takes all that is written to it.
        let _ = write!(hex, "{byte:02x}");
    }
    patterns.insert(hex.to_uppercase().into_bytes());
    patterns.insert(hex.into_bytes());
}

/// Where it begins in what is encoded decides of three ways how it looks: as much of it as does not depend on what is around it, and as
/// much as there is if nothing follows.
fn base64(patterns: &mut BTreeSet<Vec<u8>>, engine: &GeneralPurpose, content: &[u8]) {
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(content);
        let text = engine.encode(&bytes).into_bytes();
        // Six bits a letter; the first ones have bits of what comes before, the last one of what comes after.
        let (first, whole) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        let unpadded = text.iter().position(|letter| *letter == b'=').unwrap_or(text.len());
        for end in [whole, unpadded, text.len()] {
            patterns.extend(text.get(first..end).map(<[u8]>::to_vec));
        }
        if before == 0 {
            for width in BREAKS.into_iter().filter(|width| text.len() > *width) {
                patterns.extend(text.chunks(width).map(<[u8]>::to_vec));
            }
        }
    }
}

/// As it stands in a string of JSON: with other letters as they are, and in ASCII alone.
fn json(text: &str) -> (String, String) {
    let quoted = serde_json::Value::from(text).to_string();
    let json = quoted[1..quoted.len() - 1].to_owned();
    let mut ascii = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            ascii.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    (json, ascii)
}

/// What programs leave as it is in a URL, beside letters and digits: by RFC 3986, `encodeURIComponent`, Python's `quote`, and Go's user
/// information.
const UNESCAPED: [&[u8]; 4] = [b"-._~", b"-._~!'()*", b"-._~/", b"-._~$&+,;="];

/// As it stands in a URL, with large and with small letters, and in a form.
fn percent(text: &str, unescaped: &[u8]) -> [String; 3] {
    let (mut upper, mut lower) = (String::new(), String::new());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || unescaped.contains(&byte) {
            upper.push(byte.into());
            lower.push(byte.into());
        } else {
            let _ = write!(upper, "%{byte:02X}");
            let _ = write!(lower, "%{byte:02x}");
        }
    }
    let form = upper.replace("%20", "+");
    [upper, lower, form]
}
