//! What can be told of a line of Rust without parsing it.

/// The line without its comment.
pub(super) fn code(line: &str) -> &str {
    // An address in a string, `"https://…"`, has no blank before its slashes.
    let comment = line
        .match_indices("//")
        .find(|(at, _)| line[..*at].chars().next_back().is_none_or(char::is_whitespace));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// What follows each place where `word` stands as a whole word.
pub(super) fn after_word<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(word)
        .map(move |(at, _)| (&line[..at], &line[at + word.len()..]))
        .filter(|(before, rest)| !before.ends_with(is_word) && !rest.starts_with(is_word))
        .map(|(_, rest)| rest)
}

pub(super) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_code() {
        assert_eq!(code("    let a = 1; // one"), "    let a = 1; ");
        assert_eq!(code("/// one"), "");
        assert_eq!(code("get(\"https://host/a\").b()"), "get(\"https://host/a\").b()");
    }

    #[test]
    fn words_are_whole() {
        let rests = |line, word| after_word(line, word).collect::<Vec<_>>();

        assert_eq!(rests("a::b a_::c", "a"), ["::b a_::c"]);
        assert_eq!(rests("mod a; my_mod b", "mod"), [" a; my_mod b"]);
        assert!(rests("model", "mod").is_empty());
    }
}
