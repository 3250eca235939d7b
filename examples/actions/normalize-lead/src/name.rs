//! Names of people: split, and with the case people use.

const TITLES: [&str; 9] = ["mr", "mrs", "ms", "miss", "mx", "dr", "prof", "sir", "dame"];
const SUFFIXES: [&str; 8] = ["jr", "sr", "ii", "iii", "iv", "phd", "md", "esq"];
/// Words that belong to the family name behind them.
const PARTICLES: [&str; 20] = [
    "van", "von", "der", "den", "de", "del", "della", "di", "da", "dos", "du", "la", "le", "ter", "ten",
    "zu", "af", "bin", "ibn", "al",
];

/// First and last name of a full one: `Prof. Ludwig van Beethoven`, `Lovelace, Ada`, `Mary Jane Watson`.
pub fn split(full: &str) -> (Option<String>, Option<String>) {
    if let Some((last, first)) = full.split_once(',')
        && !first.trim().is_empty()
        && !is_in(&SUFFIXES, first.trim())
    {
        return (filled(tidy(first)), filled(tidy(last)));
    }
    let mut words: Vec<&str> = full.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    while words.len() > 1 && is_in(&TITLES, words[0]) {
        words.remove(0);
    }
    while words.len() > 1 && is_in(&SUFFIXES, words[words.len() - 1]) {
        words.pop();
    }
    let full = tidy(&words.join(" "));
    let words: Vec<&str> = full.split(' ').filter(|word| !word.is_empty()).collect();
    if words.len() < 2 {
        return (words.first().map(|&word| word.to_owned()), None);
    }
    // The last name starts at its first particle, but never takes the first word.
    let mut start = words.len() - 1;
    while start > 1 && is_in(&PARTICLES, words[start - 1]) {
        start -= 1;
    }
    (filled(words[..start].join(" ")), filled(words[start..].join(" ")))
}

/// One space between words; a name that is all capitals or all small gets capitals where they
/// belong, and one that is neither stays as its owner writes it (`McDonald`, `bell hooks` aside).
pub fn tidy(name: &str) -> String {
    let name = one_line(name);
    let (upper, lower) = (name.contains(char::is_uppercase), name.contains(char::is_lowercase));
    // `J.` and `J` are initials, not shouting.
    if upper == lower || (upper && name.chars().filter(|char| char.is_alphabetic()).count() < 3) {
        return name;
    }
    name.split(' ')
        .enumerate()
        .map(
            |(index, word)| {
                if index > 0 && is_in(&PARTICLES, word) { word.to_lowercase() } else { capitalize(word) }
            },
        )
        .collect::<Vec<_>>()
        .join(" ")
}

/// One space wherever there was any: a line break has no place in a name or a title, nor has what only moves a printer.
pub fn one_line(text: &str) -> String {
    let words = text.split(|char: char| char.is_whitespace() || char.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A capital at the start and after each hyphen and apostrophe.
pub fn capitalize(word: &str) -> String {
    let mut start = true;
    let mut out = String::with_capacity(word.len());
    for char in word.chars() {
        if start {
            out.extend(char.to_uppercase());
        } else {
            out.extend(char.to_lowercase());
        }
        start = matches!(char, '-' | '\'' | '’' | '.');
    }
    out
}

fn is_in(list: &[&str], word: &str) -> bool {
    let word = word.trim_end_matches('.');
    list.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_are_split() {
        let cases = [
            ("Ada Lovelace", "Ada", "Lovelace"),
            ("  grace   hopper ", "Grace", "Hopper"),
            ("Lovelace, Ada", "Ada", "Lovelace"),
            ("Mary Jane Watson", "Mary Jane", "Watson"),
            ("Prof. Dr. LUDWIG VAN BEETHOVEN", "Ludwig", "van Beethoven"),
            ("Ludwig van Beethoven", "Ludwig", "van Beethoven"),
            ("Charles de la Cruz", "Charles", "de la Cruz"),
            ("Martin Luther King, Jr.", "Martin Luther", "King"),
            ("JEAN-LUC O'NEILL", "Jean-Luc", "O'Neill"),
            ("Van Morrison", "Van", "Morrison"),
            ("Ronald McDonald", "Ronald", "McDonald"),
            ("ÉMILE ZOLA", "Émile", "Zola"),
        ];
        for (full, first, last) in cases {
            assert_eq!(split(full), (Some(first.into()), Some(last.into())), "{full}");
        }
    }

    #[test]
    fn one_word_is_a_first_name() {
        assert_eq!(split("plato"), (Some("Plato".into()), None));
        assert_eq!(split("Dr."), (Some("Dr.".into()), None));
        assert_eq!(split(""), (None, None));
    }

    #[test]
    fn a_name_has_one_line() {
        assert_eq!(one_line(" Ada\r\n Bcc:\u{2028}\u{7}\0King "), "Ada Bcc: King");
    }

    #[test]
    fn initials_and_scripts_without_case_stay() {
        assert_eq!(tidy("J."), "J.");
        assert_eq!(tidy("王小明"), "王小明");
        assert_eq!(split("王 小明"), (Some("王".into()), Some("小明".into())));
    }
}
