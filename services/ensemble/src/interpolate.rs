//! `${VAR}` in the values of a compose file, as the compose specification defines it:
//! `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR-default}`, `${VAR:?error}`, `${VAR?error}`,
//! `${VAR:+other}`, `${VAR+other}` and `$$`, nested at will.

use std::fmt;

/// A variable that a text mentions, and what it stood for: remembered so that an error about a
/// port can name the variable that moves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) variable: String,
    pub(crate) value: String,
}

/// An expression that cannot be interpolated, and why.
#[derive(Debug)]
pub(crate) struct Bad {
    expression: String,
    reason: String,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.expression, self.reason)
    }
}

impl std::error::Error for Bad {}

/// How deep expressions may stand in one another.
const DEPTH_LIMIT: usize = 16;

/// Replaces the expressions of one text, and collects the variables that it used.
pub(crate) struct Interpolation<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    uses: Vec<Use>,
}

impl<'a> Interpolation<'a> {
    pub(crate) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, uses: Vec::new() }
    }

    pub(crate) fn into_uses(self) -> Vec<Use> {
        self.uses
    }

    /// The text with every expression replaced.
    ///
    /// # Errors
    ///
    /// An expression is malformed, or it requires a variable which is not set.
    pub(crate) fn text(&mut self, text: &str) -> Result<String, Bad> {
        self.nested(text, 0)
    }

    fn nested(&mut self, text: &str, depth: usize) -> Result<String, Bad> {
        if depth > DEPTH_LIMIT {
            return Err(bad(text, "is nested too deeply"));
        }
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            result.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            rest = if let Some(after) = after.strip_prefix('$') {
                result.push('$');
                after
            } else if let Some(after) = after.strip_prefix('{') {
                let end = closing_brace(after)
                    .ok_or_else(|| bad(&rest[dollar..], "has no closing brace"))?;
                result.push_str(&self.braced(&after[..end], depth)?);
                &after[end + 1..]
            } else {
                let end = name_length(after);
                if end == 0 {
                    let reason = "names no variable; a dollar sign itself is written `$$`";
                    return Err(bad(&rest[dollar..], reason));
                }
                let value = (self.lookup)(&after[..end]).unwrap_or_default();
                result.push_str(&self.used(&after[..end], value));
                &after[end..]
            };
        }
        result.push_str(rest);
        Ok(result)
    }

    /// What stands between `${` and `}`.
    fn braced(&mut self, inside: &str, depth: usize) -> Result<String, Bad> {
        let whole = || format!("${{{inside}}}");
        let (name, rest) = inside.split_at(name_length(inside));
        if name.is_empty() {
            return Err(bad(&whole(), "names no variable"));
        }
        let value = (self.lookup)(name);
        let (unset, rest) = match rest.strip_prefix(':') {
            Some(rest) => (value.as_deref().is_none_or(str::is_empty), rest),
            None => (value.is_none(), rest),
        };
        let value = value.unwrap_or_default();
        let mut operator = rest.chars();
        match (operator.next(), operator.as_str()) {
            (None, _) if inside == name => Ok(self.used(name, value)),
            (Some('-'), word) if unset => {
                let value = self.nested(word, depth + 1)?;
                Ok(self.used(name, value))
            }
            (Some('?'), word) if unset => {
                let word = self.nested(word, depth + 1)?;
                let reason = if word.is_empty() { "is required, and not set" } else { &word };
                Err(bad(&whole(), reason))
            }
            (Some('-' | '?'), _) => Ok(self.used(name, value)),
            (Some('+'), _) if unset => Ok(String::new()),
            (Some('+'), word) => self.nested(word, depth + 1),
            _ => Err(bad(
                &whole(),
                "after the name of the variable come `:-`, `-`, `:?`, `?`, `:+`, `+` or `}`",
            )),
        }
    }

    fn used(&mut self, variable: &str, value: String) -> String {
        self.uses.push(Use { variable: variable.to_owned(), value: value.clone() });
        value
    }
}

fn bad(expression: &str, reason: &str) -> Bad {
    Bad { expression: expression.to_owned(), reason: reason.to_owned() }
}

/// The length of the variable's name with which this text begins.
fn name_length(text: &str) -> usize {
    let digit_first = text.starts_with(|first: char| first.is_ascii_digit());
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    if digit_first { 0 } else { end }
}

/// Where the brace closes that was opened just before this text.
fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1;
    let mut before = ' ';
    for (position, c) in text.char_indices() {
        match c {
            '{' if before == '$' => open += 1,
            '}' => open -= 1,
            _ => (),
        }
        if open == 0 {
            return Some(position);
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("yes".to_owned()),
            "EMPTY" => Some(String::new()),
            "PORT" => Some("50052".to_owned()),
            _ => None,
        }
    }

    fn ok(text: &str) -> String {
        Interpolation::new(&lookup).text(text).expect(text)
    }

    fn error(text: &str) -> String {
        Interpolation::new(&lookup).text(text).expect_err(text).to_string()
    }

    #[test]
    fn every_form_of_the_specification_is_understood() {
        let table = [
            ("plain", "plain"),
            ("$SET-x ${SET}", "yes-x yes"),
            ("${UNSET}|$UNSET|${EMPTY}", "||"),
            ("${SET:-d} ${EMPTY:-d} ${UNSET:-d}", "yes d d"),
            ("${SET-d} ${EMPTY-d} ${UNSET-d}", "yes  d"),
            ("${SET:+o} ${EMPTY:+o} ${UNSET:+o}", "o  "),
            ("${SET+o} ${EMPTY+o} ${UNSET+o}", "o o "),
            ("${SET:?e} ${SET?e}", "yes yes"),
            ("$$SET $${SET}", "$SET ${SET}"),
            ("${UNSET:-${EMPTY:-${SET}}}", "yes"),
            ("${UNSET:-a}:${PORT:-50051}", "a:50052"),
            ("${UNSET:-{}}", "{}"),
            ("ünï ${SET} cödé", "ünï yes cödé"),
        ];
        for (text, expected) in table {
            assert_eq!(ok(text), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_expression_is_named_with_its_reason() {
        assert_eq!(error("a ${SET"), "`${SET`: has no closing brace");
        assert_eq!(error("${}"), "`${}`: names no variable");
        assert_eq!(error("${1A}"), "`${1A}`: names no variable");
        assert_eq!(error("${UNSET:?set me}"), "`${UNSET:?set me}`: set me");
        assert_eq!(error("${EMPTY:?}"), "`${EMPTY:?}`: is required, and not set");
        assert!(error("5 $ 6").contains("`$$`"));
        assert!(error("${SET!x}").starts_with("`${SET!x}`: after the name"));
        assert!(error("${SET:}").starts_with("`${SET:}`: after the name"));
        let deep = "${A:-".repeat(40) + &"}".repeat(40);
        assert!(error(&deep).contains("nested too deeply"));
    }

    #[test]
    fn what_was_used_is_remembered() {
        let mut interpolation = Interpolation::new(&lookup);
        interpolation.text("${HOST:-a}:${PORT:-1}").expect("well formed");
        let uses = interpolation.into_uses();
        let pairs: Vec<_> = uses.iter().map(|u| (u.variable.as_str(), u.value.as_str())).collect();
        assert_eq!(pairs, [("HOST", "a"), ("PORT", "50052")]);
    }
}
