//! When two JSON values are equal (RFC 6902, section 4.6): by meaning, not by text.

use std::collections::HashMap;

use super::json_error::JsonError;
use super::json_value::{Container, JsonValue, Node};
use super::pointer::Pointer;

/// Whether two values are equal: strings by their characters, numbers by their value, arrays by order, objects in any
/// order. Parses both as far as they are equal.
///
/// # Errors
/// [`JsonError::TooLarge`] if they nest too deep to be compared.
pub(super) fn are_equal(a: &mut JsonValue<'_>, b: &mut JsonValue<'_>) -> Result<bool, JsonError> {
    equal_at(a, b, 0)
}

fn equal_at(a: &mut JsonValue<'_>, b: &mut JsonValue<'_>, depth: usize) -> Result<bool, JsonError> {
    if let (Node::Text(a), Node::Text(b)) = (&a.0, &b.0)
        && a == b
    {
        return Ok(true);
    }
    if depth > Pointer::MAX_TOKENS {
        return Err(JsonError::TooLarge(format!(
            "values that nest deeper than {} levels cannot be compared",
            Pointer::MAX_TOKENS
        )));
    }
    let (Some(left), Some(right)) = (a.children()?, b.children()?) else {
        return Ok(are_equal_scalars(a, b));
    };
    match (left, right) {
        (Container::Array(left), Container::Array(right)) if left.len() == right.len() => {
            for (a, b) in left.iter_mut().zip(right) {
                if !equal_at(a, b, depth + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Container::Object(left), Container::Object(right)) => {
            let mut left = by_name(left);
            let right = by_name(right);
            if left.len() != right.len() {
                return Ok(false);
            }
            for (name, b) in right {
                let Some(a) = left.get_mut(name) else { return Ok(false) };
                if !equal_at(a, b, depth + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The members by name; of several with the same name the last one.
fn by_name<'n, 'a>(members: &'n mut [(String, JsonValue<'a>)]) -> HashMap<&'n str, &'n mut JsonValue<'a>> {
    members.iter_mut().map(|(name, value)| (name.as_str(), value)).collect()
}

fn are_equal_scalars(a: &JsonValue<'_>, b: &JsonValue<'_>) -> bool {
    let (Node::Text(a), Node::Text(b)) = (&a.0, &b.0) else { return false };
    let string = |text: &str| serde_json::from_str::<String>(text).ok();
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        (None, None) => a == b || string(a).is_some_and(|a| string(b) == Some(a)),
        _ => false,
    }
}

/// A JSON number as sign, digits and exponent, so that equal numbers are equal: 1, 1.0 and 10e-1. `None` if the text is
/// not a number.
fn number(text: &str) -> Option<(bool, String, i64)> {
    let (is_negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    if !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.parse::<i64>().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    let digits = [whole, fraction].concat();
    let significant = digits.trim_end_matches('0');
    let exponent = exponent.saturating_sub_unsigned(fraction.len() as u64);
    let exponent = exponent.saturating_add_unsigned((digits.len() - significant.len()) as u64);
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    Some((is_negative, significant.to_owned(), exponent))
}
