//! Exact money: whole numbers of the smallest unit of a currency, never a float.

use stepwell_action::Failure;

/// How many digits a currency has behind its point (ISO 4217).
pub fn decimals(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

/// Millionths as smallest units; what would be lost is an error.
pub fn to_minor(micros: i64, currency: &str) -> Result<i64, Failure> {
    let unit = 10_i64.pow(6 - decimals(currency));
    if micros % unit != 0 {
        let message = format!(
            "the amount of {micros} millionths is no whole number of the smallest unit of {currency}"
        );
        return Err(Failure::new("inexact_amount", message));
    }
    Ok(micros / unit)
}

/// `1234.50` of 123450 at two decimals.
pub fn shown(minor: i64, currency: &str) -> String {
    let digits = decimals(currency) as usize;
    if digits == 0 {
        return minor.to_string();
    }
    let unit = 10_u64.pow(digits as u32);
    let (sign, minor) = (if minor < 0 { "-" } else { "" }, minor.unsigned_abs());
    format!("{sign}{}.{:0digits$}", minor / unit, minor % unit)
}

/// A percentage such as `19` or `7.7`, in thousandths of a percent.
pub fn percent(text: &str) -> Result<u32, Failure> {
    let wrong = || {
        let message = format!(
            "`{text}` is no percentage from 0 to 100 with at most three decimals, such as \"19\" or \"7.7\""
        );
        Failure::new("invalid_settings", message)
    };
    let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > 3 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let thousandths = format!("{whole}{part:0<3}").parse::<u32>().map_err(|_| wrong())?;
    if thousandths > 100_000 { Err(wrong()) } else { Ok(thousandths) }
}

/// So many thousandths of a percent of an amount, halves away from zero.
pub fn share(minor: i64, thousandths: u32) -> Option<i64> {
    let exact = i128::from(minor) * i128::from(thousandths);
    i64::try_from((exact + 50_000 * exact.signum()) / 100_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_have_their_own_smallest_unit() {
        assert_eq!(to_minor(1_234_500_000, "EUR").unwrap(), 123_450);
        assert_eq!(to_minor(1_234_000_000, "JPY").unwrap(), 1_234);
        assert_eq!(to_minor(1_234_567_000, "KWD").unwrap(), 1_234_567);
        assert_eq!(to_minor(1_234_500, "CLF").unwrap(), 12_345);
        assert_eq!(to_minor(1_234_500_000, "JPY").unwrap_err().code, "inexact_amount");
        assert_eq!(to_minor(1_001, "USD").unwrap_err().code, "inexact_amount");
    }

    #[test]
    fn money_is_shown_with_all_its_digits() {
        assert_eq!(shown(123_450, "EUR"), "1234.50");
        assert_eq!(shown(5, "EUR"), "0.05");
        assert_eq!(shown(-5, "EUR"), "-0.05");
        assert_eq!(shown(1_234, "JPY"), "1234");
        assert_eq!(shown(1_005, "KWD"), "1.005");
        assert_eq!(shown(12_345, "CLF"), "1.2345");
    }

    #[test]
    fn shares_round_half_away_from_zero() {
        assert_eq!(share(100, percent("19").unwrap()), Some(19));
        assert_eq!(share(50, percent("7").unwrap()), Some(4), "3.5");
        assert_eq!(share(33, percent("7.7").unwrap()), Some(3), "2.541");
        assert_eq!(share(i64::MAX, percent("100").unwrap()), Some(i64::MAX));
        for wrong in ["", "-1", "101", "1.2345", "ten", "1e2"] {
            assert_eq!(percent(wrong).unwrap_err().code, "invalid_settings", "{wrong}");
        }
    }
}
