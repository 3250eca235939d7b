//! Phone numbers: E.164 where the country is known.

/// Calling codes, and the prefix that is dialled at home and dropped from abroad.
const COUNTRIES: [(&str, &str, &str); 34] = [
    ("AR", "54", "0"),
    ("AT", "43", "0"),
    ("AU", "61", "0"),
    ("BE", "32", "0"),
    ("BR", "55", "0"),
    ("CA", "1", "1"),
    ("CH", "41", "0"),
    ("CL", "56", ""),
    ("CN", "86", "0"),
    ("CZ", "420", ""),
    ("DE", "49", "0"),
    ("DK", "45", ""),
    ("ES", "34", ""),
    ("FI", "358", "0"),
    ("FR", "33", "0"),
    ("GB", "44", "0"),
    ("GR", "30", ""),
    ("IE", "353", "0"),
    ("IL", "972", "0"),
    ("IN", "91", "0"),
    ("IT", "39", ""),
    ("JP", "81", "0"),
    ("KR", "82", "0"),
    ("MX", "52", ""),
    ("NL", "31", "0"),
    ("NO", "47", ""),
    ("NZ", "64", "0"),
    ("PL", "48", ""),
    ("PT", "351", ""),
    ("SE", "46", "0"),
    ("SG", "65", ""),
    ("TR", "90", "0"),
    ("US", "1", "1"),
    ("ZA", "27", "0"),
];

/// `+` and digits if the number or the country says which country it is, the digits alone if
/// neither does, nothing if it cannot be a phone number.
pub fn normalize(written: &str, country: Option<&str>) -> Option<String> {
    // An extension is not part of the number; "(0)" is only dialled at home.
    let number = without_extension(written).replace("(0)", "");
    let abroad = number.trim_start().starts_with('+');
    let mut digits = String::new();
    for char in number.chars() {
        match char {
            '0'..='9' => digits.push(char),
            '+' if digits.is_empty() => {}
            ' ' | '\u{a0}' | '-' | '–' | '.' | '/' | '(' | ')' => {}
            _ => return None,
        }
    }
    let international = if abroad {
        Some(digits.clone())
    } else if let Some(rest) = digits.strip_prefix("00") {
        Some(rest.to_owned())
    } else {
        country.and_then(calling_code).map(|(code, trunk)| {
            let national =
                if trunk.is_empty() { &digits } else { digits.strip_prefix(trunk).unwrap_or(&digits) };
            format!("{code}{national}")
        })
    };
    match international {
        Some(full) => ((8..=15).contains(&full.len()) && !full.starts_with('0')).then(|| format!("+{full}")),
        None => (6..=15).contains(&digits.len()).then_some(digits),
    }
}

fn without_extension(written: &str) -> &str {
    let lower = written.to_ascii_lowercase();
    let end = ["ext", "x", "#"].iter().filter_map(|mark| lower.find(mark)).min();
    &written[..end.unwrap_or(written.len())]
}

fn calling_code(country: &str) -> Option<(&'static str, &'static str)> {
    let country = if country.eq_ignore_ascii_case("UK") { "GB" } else { country };
    COUNTRIES
        .iter()
        .find(|(name, _, _)| name.eq_ignore_ascii_case(country))
        .map(|&(_, code, trunk)| (code, trunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_a_country_become_e164() {
        let cases = [
            ("+1 (415) 555-0132", None, "+14155550132"),
            ("0049 30 901820", None, "+4930901820"),
            ("+44 (0)20 7946 0958 ext. 12", None, "+442079460958"),
            ("030/90 18 20", Some("DE"), "+4930901820"),
            ("415.555.0132", Some("us"), "+14155550132"),
            ("1-415-555-0132 x7", Some("US"), "+14155550132"),
            ("06 1234 5678", Some("IT"), "+390612345678"),
            ("020 7946 0958", Some("UK"), "+442079460958"),
        ];
        for (written, country, expected) in cases {
            assert_eq!(normalize(written, country).as_deref(), Some(expected), "{written}");
        }
    }

    #[test]
    fn without_a_country_the_digits_stay() {
        assert_eq!(normalize("(030) 901820", None).as_deref(), Some("030901820"));
        assert_eq!(normalize("(030) 901820", Some("XX")).as_deref(), Some("030901820"));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        for written in
            ["call me", "123", "+1 234", "+1234567890123456", "", "+", "+0 123 456 789", "555-CALL"]
        {
            assert_eq!(normalize(written, None), None, "{written}");
        }
    }
}
