//! Filters on texts. Numbers and booleans count as their text; null, lists and objects are errors.

use serde_json::Value;

use super::super::budget::Budget;
use super::super::json::text;
use super::Given;
use super::list::pieces;

type Made = Result<Value, String>;

pub(super) fn lower(input: &Value, _: &Given<'_>) -> Made {
    Ok(text(input)?.to_lowercase().into())
}

pub(super) fn upper(input: &Value, _: &Given<'_>) -> Made {
    Ok(text(input)?.to_uppercase().into())
}

pub(super) fn string(input: &Value, _: &Given<'_>) -> Made {
    Ok(text(input)?.into_owned().into())
}

pub(super) fn capitalize(input: &Value, _: &Given<'_>) -> Made {
    Ok(capitalized(&text(input)?).into())
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect(),
        None => String::new(),
    }
}

pub(super) fn title(input: &Value, _: &Given<'_>) -> Made {
    let text = text(input)?;
    let words = text.split_inclusive(|c: char| c.is_whitespace() || c == '-');
    Ok(words.map(capitalized).collect::<String>().into())
}

/// That `trim` takes off: each character of the text is looked for among them.
const MAX_CHARACTERS: usize = 200;

pub(super) fn trim(input: &Value, given: &Given<'_>) -> Made {
    let text = text(input)?;
    Ok(match given.text(0, "characters")? {
        Some(chars) if chars.len() > MAX_CHARACTERS => {
            return Err(format!("`characters` is at most {MAX_CHARACTERS} bytes long"));
        }
        Some(chars) => text.trim_matches(|c| chars.contains(c)).into(),
        None => text.trim().into(),
    })
}

pub(super) fn lines(budget: &Budget, input: &Value, _: &Given<'_>) -> Made {
    let text = text(input)?;
    pieces(budget, text.len(), text.lines().count())?;
    Ok(text.lines().map(Value::from).collect())
}

/// At white space, or at a separator; at most so many times.
pub(super) fn split(budget: &Budget, input: &Value, given: &Given<'_>) -> Made {
    let text = text(input)?;
    let times = given.integer(1, "times")?.map(|times| usize::try_from(times).unwrap_or(0).saturating_add(1));
    let separator = given.text(0, "separator")?;
    let count = match &separator {
        Some(separator) if separator.is_empty() => 0,
        Some(separator) => text.matches(&**separator).take(times.unwrap_or(usize::MAX)).count() + 1,
        None => text.split_whitespace().count(),
    };
    pieces(budget, text.len(), count)?;
    Ok(match (separator, times) {
        (Some(separator), _) if separator.is_empty() => return Err("`separator` is empty".to_owned()),
        (Some(separator), Some(parts)) => text.splitn(parts, &*separator).map(Value::from).collect(),
        (Some(separator), None) => text.split(&*separator).map(Value::from).collect(),
        (None, _) => text.split_whitespace().map(Value::from).collect(),
    })
}

pub(super) fn replace(budget: &Budget, input: &Value, given: &Given<'_>) -> Made {
    let text = text(input)?;
    let old = given.text(0, "old")?.unwrap_or_default();
    let new = given.text(1, "new")?.unwrap_or_default();
    if old.is_empty() {
        return Err("`old` is empty".to_owned());
    }
    let found = text.matches(&*old).count();
    budget.steps(found as u64 / 8)?;
    budget.fits((text.len() - found * old.len()).saturating_add(found.saturating_mul(new.len())))?;
    Ok(text.replace(&*old, &new).into())
}

/// At most `length` characters, `end` (`…`) included.
pub(super) fn truncate(input: &Value, given: &Given<'_>) -> Made {
    let text = text(input)?;
    let length = given.integer(0, "length")?.and_then(|length| usize::try_from(length).ok());
    let length = length.ok_or("`length` is not negative")?;
    let end = given.text(1, "end")?.unwrap_or("…".into());
    if text.chars().count() <= length {
        return Ok(text.into_owned().into());
    }
    let kept = length.saturating_sub(end.chars().count());
    Ok(text.chars().take(kept).chain(end.chars().take(length)).collect::<String>().into())
}

/// Lower-case letters and digits, with one `-` for whatever is between: for paths, keys and file names.
pub(super) fn slugify(budget: &Budget, input: &Value, given: &Given<'_>) -> Made {
    let text = text(input)?;
    let separator = given.text(0, "separator")?.unwrap_or("-".into());
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let mut slug = String::new();
    for word in words {
        if !slug.is_empty() {
            slug.push_str(&separator);
        }
        slug.extend(word.chars().flat_map(char::to_lowercase));
        budget.fits(slug.len())?;
    }
    Ok(slug.into())
}

/// `ann@Example.com` → `example.com`.
pub(super) fn email_domain(input: &Value, _: &Given<'_>) -> Made {
    let text = text(input)?;
    let domain = text.trim().trim_end_matches('>').rsplit_once('@').map(|(_, domain)| domain);
    match domain {
        Some(domain) if domain.contains('.') && !domain.contains(char::is_whitespace) => {
            Ok(domain.trim_end_matches('.').to_lowercase().into())
        }
        _ => Err(format!("{:?} is not an e-mail address", text.chars().take(60).collect::<String>())),
    }
}
