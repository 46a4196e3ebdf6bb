//! Keys and values, which are bytes, as text and back.

use anyhow::{Result, anyhow};
use serde_json::{Map, Value};

/// The most characters of a value in a table.
const WIDTH: usize = 80;

/// Bytes as a person reads them: text, with what cannot be printed as `\x00` to `\xff`.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                character if character.is_control() => {
                    let mut bytes = [0; 4];
                    push_bytes(&mut text, character.encode_utf8(&mut bytes).as_bytes());
                }
                character => text.push(character),
            }
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push_str(&format!("\\x{byte:02x}"));
    }
}

/// The beginning of a value, for a table.
pub(crate) fn shortened(bytes: &[u8]) -> String {
    // What is cut from a long value need not be looked at.
    let text = shown(&bytes[..bytes.len().min(4 * WIDTH)]);
    if text.chars().count() <= WIDTH && bytes.len() <= 4 * WIDTH {
        return text;
    }
    let start: String = text.chars().take(WIDTH).collect();
    format!("{start}… ({} bytes)", bytes.len())
}

/// The bytes that were shown so.
///
/// # Errors
///
/// A backslash is followed by something else than `n`, `t`, `\` or `x` and two digits.
pub(crate) fn unescaped(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let length = match after.as_bytes().first() {
            Some(b'n') => push(&mut bytes, b'\n'),
            Some(b't') => push(&mut bytes, b'\t'),
            Some(b'\\') => push(&mut bytes, b'\\'),
            Some(b'x') => {
                let digits =
                    after.get(1..3).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                push(&mut bytes, byte.ok_or_else(|| wrong(after))?) + 2
            }
            Some(_) | None => return Err(wrong(after)),
        };
        rest = &after[length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

fn push(bytes: &mut Vec<u8>, byte: u8) -> usize {
    bytes.push(byte);
    1
}

fn wrong(after: &str) -> anyhow::Error {
    let start: String = after.chars().take(3).collect();
    anyhow!(r"`\{start}`: after a backslash comes n, t, another, or x and two digits (00 to ff)")
}

/// Adds bytes to an object: as text, or in hexadecimal under a name that says so.
pub(crate) fn put(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.into(), text.into()),
        Err(_) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            object.insert(format!("{name}_hex"), digits.into())
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed_again() {
        for bytes in [&b"plain"[..], "grüß\u{85}".as_bytes(), b"\\x41\n\t\0\x7f", b"a\xffb\xc3"] {
            let text = shown(bytes);
            assert!(text.chars().all(|character| !character.is_control()), "{text}");
            assert_eq!(unescaped(&text).unwrap(), bytes, "{text}");
        }
        assert_eq!(shown("ü\u{1b}[1m".as_bytes()), "ü\\x1b[1m");
    }

    #[test]
    fn a_wrong_escape_is_named() {
        for wrong in ["a\\", "\\q", "\\x", "\\x4", "\\x+1", "\\xgg", "\\xü"] {
            assert!(unescaped(wrong).is_err(), "{wrong}");
        }
        let error = unescaped("a\\qbcd").unwrap_err().to_string();
        assert!(error.starts_with(r"`\qbc`: "), "{error}");
    }

    #[test]
    fn a_long_value_is_cut_in_a_table() {
        assert_eq!(shortened(&[b'x'; WIDTH]), "x".repeat(WIDTH));
        let long = shortened(&[b'x'; 1000]);
        assert_eq!(long, format!("{}… (1000 bytes)", "x".repeat(WIDTH)));
    }
}
