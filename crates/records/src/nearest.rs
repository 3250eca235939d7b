//! "Did you mean …": the known name closest to a mistyped one.

/// Words longer than this, in bytes, are no mistyped names.
const LONGEST: usize = 200;

/// The candidate that `word` was most likely meant to be, if any is close enough to be worth saying.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name is that long, and the distance costs the product of both lengths.
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count().max(3) / 3).min(4))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_a_typing_mistake_and_nothing_far_away() {
        let names = ["jobTitle", "city", "emails"];
        assert_eq!(nearest("jobtitel", names), Some("jobTitle"));
        assert_eq!(nearest("City", names), Some("city"));
        assert_eq!(nearest("warehouse", names), None);
    }
}
