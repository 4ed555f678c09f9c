//! No bounded context names another: they speak over HTTP, as the services they are.

use super::line::{after_word, code};
use super::{Fault, File};

/// Modules of these names are bounded contexts, in every crate.
const CONTEXTS: &[&str] =
    &["execution_allocation", "order_allocation", "order_generation", "portfolio_registry"];

pub(super) fn faults(file: &File) -> Vec<Fault> {
    let Some(own) = context_of(file) else {
        return Vec::new();
    };
    let mut faults = Vec::new();
    let mut in_use = false;
    for (number, line) in file.lines() {
        in_use |= begins_use(line);
        for other in CONTEXTS.iter().filter(|other| **other != own) {
            let as_path = after_word(line, other).any(|rest| rest.starts_with("::"));
            // In a `use` the bare name is enough: an alias would slip past.
            if as_path || in_use && after_word(code(line), other).next().is_some() {
                faults.push(file.fault(number, format!("`{own}` names `{other}`")));
            }
        }
        in_use &= !line.contains(';');
    }
    faults
}

fn context_of(file: &File) -> Option<&'static str> {
    let path = file.path.strip_suffix(".rs")?;
    CONTEXTS.iter().find(|context| path.split('/').any(|part| part == **context)).copied()
}

fn begins_use(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("use ") || line.starts_with("pub") && line.contains(" use ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{file, sentences};
    use super::*;

    fn of_generation(text: &str) -> Vec<String> {
        sentences(&faults(&file("crates/web/src/order_generation/a.rs", text)))
    }

    #[test]
    fn a_path_of_another_context_is_a_fault_anywhere() {
        assert_eq!(
            of_generation("fn a() {}\nlet b = domain::order_allocation::split();\n"),
            ["crates/web/src/order_generation/a.rs:2: `order_generation` names `order_allocation`"]
        );
        assert_eq!(of_generation("/// See [`portfolio_registry::A`].").len(), 1);
    }

    #[test]
    fn a_use_may_not_name_it_bare_either() {
        assert_eq!(of_generation("use domain::order_allocation as oa;").len(), 1);
        assert_eq!(
            of_generation("pub(crate) use domain::{\n    order_allocation,\n    version,\n};\n").len(),
            1
        );
        assert!(of_generation("use domain::version;\nlet order_allocation = 1;\n").is_empty());
    }

    #[test]
    fn its_own_name_longer_names_and_prose_are_fine() {
        assert!(of_generation("use domain::order_generation::model;").is_empty());
        assert!(of_generation("re_order_allocation::a()").is_empty());
        assert!(of_generation("// Unlike order_allocation, this rounds.").is_empty());
    }

    #[test]
    fn a_file_outside_every_context_may_name_them_all() {
        let text = "use domain::{order_allocation, order_generation};";
        for path in ["crates/server/src/compose.rs", "docs/order_generation.md"] {
            assert_eq!(faults(&file(path, text)), [], "{path}");
        }
    }
}
