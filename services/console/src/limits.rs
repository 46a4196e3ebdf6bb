//! Texts and numbers of others, made to fit: what is kept of a text, and what JavaScript can tell
//! from its neighbours.

use serde_json::{Number, Value};

/// Whole numbers above this are not exact in JavaScript.
pub(crate) const EXACT: u64 = (1 << 53) - 1;

/// As many characters as there may be.
pub(crate) fn shortened(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// The same with every whole number as text that JavaScript could not tell from another.
pub(crate) fn exact(value: Value) -> Value {
    match value {
        Value::Number(number) if is_inexact(&number) => Value::String(number.to_string()),
        Value::Array(values) => values.into_iter().map(exact).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, exact(value))).collect()
        }
        value @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => value,
    }
}

fn is_inexact(number: &Number) -> bool {
    number.as_u64().or(number.as_i64().map(i64::unsigned_abs)).is_some_and(|size| size > EXACT)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_javascript_would_round_is_text() {
        let least = EXACT + 1;
        let told = json!({ "a": [EXACT, least], "b": -9_007_199_254_740_993_i64, "c": 0.5 });
        let shown = json!({ "a": [EXACT, least.to_string()], "b": "-9007199254740993", "c": 0.5 });
        assert_eq!(exact(told), shown);
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        assert_eq!(shortened("größer".to_owned(), 6), "größer");
        assert_eq!(shortened("größer".to_owned(), 3), "grö…");
        assert_eq!(shortened("größer".to_owned(), 0), "…");
    }
}
