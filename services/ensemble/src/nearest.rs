//! The name that somebody probably meant.

/// What was found near a misspelt name.
pub(crate) struct Nearest<'a>(Option<&'a str>);

impl Nearest<'_> {
    /// The end of an error message: the suggestion, or else the command that lists the names.
    pub(crate) fn suggestion(&self, lister: &str) -> String {
        match self.0 {
            Some(name) => format!(": do you mean {name}?"),
            None => format!(": `{lister}` lists what there is"),
        }
    }
}

/// The candidate with the fewest edits from `word`, when at most a third of it is wrong.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Nearest<'a> {
    let best = candidates.into_iter().map(|name| (edits(word, name), name)).min();
    let limit = (word.chars().count() + 1) / 3;
    Nearest(best.filter(|(edits, _)| *edits <= limit).map(|(_, name)| name))
}

/// Levenshtein's distance, in characters.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("raft-1", "raft-1"), 0);
    }

    #[test]
    fn only_a_near_name_is_suggested() {
        let names = ["overlay", "raft", "gossip"];
        assert_eq!(nearest("overlya", names).0, Some("overlay"));
        assert_eq!(nearest("rft", names).0, Some("raft"));
        assert_eq!(nearest("kubernetes", names).0, None);
    }
}
