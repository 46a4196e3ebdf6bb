//! `.env` beside the compose file, read as `docker compose` reads it: `NAME=value` lines, `#`
//! comments, single quotes literal, double quotes with escapes, `${…}` outside single quotes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::interpolate::Interpolation;

/// The variables of the text. `outer` is what is already set: a value may mention it, and an
/// earlier line.
///
/// # Errors
///
/// A line is neither empty, a comment nor an assignment: the error has its number.
pub(crate) fn parse(
    text: &str,
    outer: impl Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let lookup = |name: &str| outer(name).or_else(|| variables.get(name).cloned());
        let (name, value) = assignment(line, &lookup).with_context(|| format!("line {number}"))?;
        variables.insert(name, value);
    }
    Ok(variables)
}

fn assignment(line: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(String, String)> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').context("is no assignment NAME=value")?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        bail!("`{name}` is no name of a variable");
    }
    let value = if let Some(rest) = value.strip_prefix('\'') {
        let end = rest.find('\'').context("a single quote is not closed")?;
        rest[..end].to_owned()
    } else if let Some(rest) = value.strip_prefix('"') {
        Interpolation::new(lookup).text(&unescape(rest)?)?
    } else {
        // A comment begins after white space.
        let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
        Interpolation::new(lookup).text(value[..end].trim_end())?
    };
    Ok((name.to_owned(), value))
}

/// What stands before the closing double quote.
fn unescape(text: &str) -> Result<String> {
    let mut result = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return Ok(result),
            '\\' => match characters.next() {
                Some('n') => result.push('\n'),
                Some('r') => result.push('\r'),
                Some('t') => result.push('\t'),
                Some('$') => result.push_str("$$"),
                Some(other) => result.push(other),
                None => break,
            },
            other => result.push(other),
        }
    }
    bail!("a double quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_docker_compose_reads_them() {
        let text = "\u{feff}# comment\n\nCOMPOSE_PROFILES=overlay\nexport A = 1 # one\nB='${A} $'\n\
                    C=\"x\\t${A}\\$ \\\"y\\\"\" # z\nD=${A}${OUT:-no}${NONE:-none}\nE=\nF=a#b\r\n";
        let outer = |name: &str| (name == "OUT").then(|| "outer".to_owned());
        let variables = parse(text, outer).expect("well formed");
        let expected = [
            ("A", "1"),
            ("B", "${A} $"),
            ("C", "x\t1$ \"y\""),
            ("COMPOSE_PROFILES", "overlay"),
            ("D", "1outernone"),
            ("E", ""),
            ("F", "a#b"),
        ];
        let pairs: Vec<_> =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, expected);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, expected) in [
            ("A=1\nB\n", "line 2: is no assignment NAME=value"),
            ("A='1", "line 1: a single quote is not closed"),
            ("A=\"1", "line 1: a double quote is not closed"),
            ("A B=1", "line 1: `A B` is no name of a variable"),
            ("A=${B", "line 1: `${B`: has no closing brace"),
        ] {
            let error = parse(text, |_| None).expect_err(text);
            assert_eq!(format!("{error:#}"), expected);
        }
    }
}
