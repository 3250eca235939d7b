//! What an unquoted YAML 1.2 value is (the core schema): null, a boolean, a number, or else text.

use serde_json::Number;

use super::tree::Data;

/// What a plain scalar means, or why it is better refused: message and hint.
pub(super) fn resolve(text: &str) -> Result<Data, (String, String)> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Data::Null),
        "true" | "True" | "TRUE" => return Ok(Data::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Data::Bool(false)),
        _ => {}
    }
    let quote_it = || format!("quote it when it is meant as text: \"{text}\"");
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        let message = format!("`{text}` is a number that JSON does not have");
        return Err((message, quote_it()));
    }
    let radix = |digits: &str, radix: u32| {
        u64::from_str_radix(digits, radix)
            .ok()
            .filter(|_| !digits.starts_with('+'))
            .map(|n| Data::Number(n.into()))
    };
    if let Some(digits) = text.strip_prefix("0x") {
        return Ok(radix(digits, 16).unwrap_or_else(|| Data::Text(text.to_owned())));
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return Ok(radix(digits, 8).unwrap_or_else(|| Data::Text(text.to_owned())));
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            let message = format!(
                "`{text}` would be read as the number {}",
                unsigned.trim_start_matches('0').parse::<u64>().unwrap_or(0)
            );
            let hint = format!("quote it to keep the zeros: \"{text}\"; or write the number without them");
            return Err((message, hint));
        }
        let digits = text.strip_prefix('+').unwrap_or(text);
        if let Ok(number) = digits.parse::<i64>() {
            return Ok(Data::Number(number.into()));
        }
        if let Ok(number) = digits.parse::<u64>() {
            return Ok(Data::Number(number.into()));
        }
        let message = format!("`{text}` is too large for a whole number (64 bits)");
        return Err((message, quote_it()));
    }
    if is_float(unsigned) {
        let read = text.parse::<f64>().ok().and_then(Number::from_f64);
        return match read {
            Some(number) => Ok(Data::Number(number)),
            None => Err((format!("`{text}` is too large for a number"), quote_it())),
        };
    }
    Ok(Data::Text(text.to_owned()))
}

/// `[0-9]* . [0-9]*` with an exponent, and a digit somewhere before it.
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let power = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !power.is_empty() && digits(power)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Option<String> {
        match resolve(text) {
            Ok(Data::Number(number)) => Some(number.to_string()),
            _ => None,
        }
    }

    #[test]
    fn the_core_schema_and_nothing_of_yaml_1_1() {
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "N",
            "1_000",
            "12:30",
            "2026-01-02",
            "0b1",
            "1.2.0",
            "e5",
            ".",
            "-",
            "+",
            "0x",
            "0xg",
        ] {
            assert_eq!(resolve(text), Ok(Data::Text(text.into())), "{text}");
        }
        assert_eq!(resolve("~"), Ok(Data::Null));
        assert_eq!(resolve("TRUE"), Ok(Data::Bool(true)));
        for (text, is) in [
            ("12", "12"),
            ("-7", "-7"),
            ("+3", "3"),
            ("0", "0"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("1.50", "1.5"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(number(text).as_deref(), Some(is), "{text}");
        }
    }

    #[test]
    fn numbers_that_would_surprise_are_refused() {
        for text in ["0123", "007", ".inf", "-.INF", ".nan", "18446744073709551616", "1e999"] {
            assert!(resolve(text).is_err(), "{text} was read");
        }
    }
}
