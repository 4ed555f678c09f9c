//! What there is to set, as `docs/configuration.md` has it: the annotated defaults, for reading.

use super::{DEFAULTS, FLAGS, VARIABLES};

const HEAD: &str = "\
# Configuration

Every setting of the Order Generation Service. Later layers win: the defaults, then each `--config FILE`, then the
environment, then flags. A file has the form of
[the defaults](../crates/server/config/default.toml), and need hold only what differs.

`globeco config show order-generation` prints every value and where it comes from, without secrets;
`globeco config check order-generation` names everything that is wrong, without starting anything.

This page is made from the defaults: after changing those, `cargo xtask docs`.
";

/// Settings that one comment is about.
struct Group<'a> {
    section: &'a str,
    /// Each name, and its default as TOML.
    settings: Vec<(&'a str, &'a str)>,
    /// The lines of the comment, without their `# `.
    comment: Vec<&'a str>,
}

/// The page.
pub(crate) fn markdown() -> String {
    let mut page = HEAD.to_owned();
    let mut section = "";
    for group in groups() {
        if group.section != section {
            section = group.section;
            page.extend([
                "\n## ",
                section,
                "\n\n| Setting | Default | Variable, flag | Meaning |\n|---|---|---|---|\n",
            ]);
        }
        page.push_str(&group.row());
    }
    page
}

/// `section.name` of every setting, in the order of the defaults.
pub(super) fn keys() -> Vec<String> {
    let of = |group: Group<'static>| {
        let key = move |(name, _)| format!("{}.{name}", group.section);
        group.settings.into_iter().map(key)
    };
    groups().into_iter().flat_map(of).collect()
}

fn groups() -> Vec<Group<'static>> {
    let mut groups: Vec<Group<'static>> = Vec::new();
    let (mut section, mut comment) = ("", Vec::new());
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some(text) = line.strip_prefix('#') {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
        } else if let Some((name, default)) = line.split_once(" = ") {
            match groups.last_mut() {
                Some(group) if group.section == section && comment.is_empty() => {
                    group.settings.push((name, default));
                }
                Some(_) | None => groups.push(Group {
                    section,
                    settings: vec![(name, default)],
                    comment: std::mem::take(&mut comment),
                }),
            }
        } else {
            comment.clear();
        }
    }
    groups
}

impl Group<'_> {
    fn row(&self) -> String {
        let column = |cell: &dyn Fn(&str, &str) -> String| {
            let cells = self.settings.iter().map(|(name, default)| cell(name, default));
            cells.collect::<Vec<_>>().join("<br>").trim_end_matches("<br>").to_owned()
        };
        let keys = column(&|name, _| format!("`{}.{name}`", self.section));
        let defaults = column(&|_, default| format!("`{default}`"));
        let others = column(&|name, _| other_names(&format!("{}.{name}", self.section)));
        format!("| {keys} | {defaults} | {others} | {} |\n", self.meaning().replace('|', "\\|"))
    }

    /// The comment as one line: without the variables, which have a column, and with a break before each
    /// element of a list.
    fn meaning(&self) -> String {
        let mut meaning = String::new();
        let mut in_list = false;
        for line in &self.comment {
            let text = line.trim_start();
            match line.len() - text.len() {
                2 => {
                    let (term, rest) = text.split_once("  ").unwrap_or((text, ""));
                    meaning.extend(["<br>`", term, "` ", rest.trim_start()]);
                    in_list = true;
                }
                0 if in_list => {
                    meaning.extend(["<br>", text]);
                    in_list = false;
                }
                _ => meaning.extend([" ", text]),
            }
        }
        without_variables(&meaning).replace(" <br>", "<br>")
    }
}

fn without_variables(text: &str) -> String {
    let starts = text.match_indices('[').map(|(at, _)| at);
    let variables = starts.filter_map(|at| {
        let end = at + text[at..].find(']')?;
        let first = text[at + 1..end].split(',').next()?;
        VARIABLES.iter().any(|(variable, ..)| *variable == first).then_some(at..=end)
    });
    let mut text = text.to_owned();
    for range in variables.collect::<Vec<_>>().into_iter().rev() {
        text.replace_range(range, "");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The variables of a setting, the one that wins first, and its flag.
fn other_names(key: &str) -> String {
    let variables = VARIABLES.iter().rev().filter(|(_, known, _)| *known == key).map(|(name, ..)| name);
    let flags = FLAGS.iter().filter(|(_, known)| *known == key).map(|(flag, _)| flag);
    variables.chain(flags).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::layers::Layers;
    use super::*;

    #[test]
    fn every_setting_of_the_defaults_is_on_the_page_with_its_meaning() {
        let settings = Layers::of_defaults().settings().unwrap();
        let expected: BTreeSet<String> = settings.into_iter().map(|setting| setting.key).collect();

        assert_eq!(keys().into_iter().collect::<BTreeSet<_>>(), expected);
        for group in groups() {
            assert!(!group.meaning().is_empty(), "{}: {:?} has no comment", group.section, group.settings);
        }
        let page = markdown();
        for (variable, ..) in VARIABLES {
            assert_eq!(page.matches(&format!("`{variable}`")).count(), 1, "{variable}");
        }
    }

    #[test]
    fn lists_and_variables_have_a_form_of_their_own() {
        let url = groups().into_iter().find(|group| group.settings[0].0 == "url").unwrap();

        assert_eq!(
            url.row(),
            "| `store.url` | `\"\"` | `DATABASE_URL`, `MONGODB_URL`, `--database-url` | Where models and rebalances are \
             kept; the scheme picks the store.<br>`sqlite:PATH` a file, made if it is missing<br>`mongodb://HOST` a \
             MongoDB; also mongodb+srv://<br>Empty: the file ./data/NAME.db |\n"
        );
    }
}
