//! The commands that start nothing: what is configured, the interface, completions, help.

use std::path::Path;
use std::process::{Output, Stdio};

use crate::process::run;

/// What a command said, and its exit code.
struct Said {
    code: i32,
    out: String,
    error: String,
}

fn globeco(arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Said {
    let Output { status, stdout, stderr } = run(arguments, folder, variables).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), out: text(stdout), error: text(stderr) }
}

fn config(command: &str, arguments: &[&str], folder: &Path, variables: &[(&str, &str)]) -> Said {
    globeco(&[&["config", command, "order-generation"], arguments].concat(), folder, variables)
}

#[test]
fn every_setting_is_shown_with_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), "[http]\nport = 1\nworkers = 3\nhost = \"a\"\n").unwrap();
    std::fs::write(folder.path().join("b.toml"), "[http]\nport = 2\nhost = \"b\"\n").unwrap();

    let arguments = ["--config", "a.toml", "--config", "b.toml", "--host", "flag", "--log-level", "warn"];
    let said = config("show", &arguments, folder.path(), &[("PORT", "4"), ("HOST", "variable")]);

    assert_eq!((said.code, said.error.as_str()), (0, ""));
    for line in [
        "host = \"flag\"  # flag --host",
        "port = 4  # variable PORT",
        "workers = 3  # file a.toml",
        "level = \"warn\"  # flag --log-level",
        "max_body_bytes = 2097152  # default",
        "optimizer = \"auto\"  # default",
    ] {
        assert!(said.out.lines().any(|it| it == line), "{line}: {}", said.out);
    }
    let sections: Vec<&str> = said.out.lines().filter(|line| line.starts_with('[')).collect();
    assert!(sections.starts_with(&["[http]", "[service]", "[log]", "[store]"]), "{sections:?}");
}

#[test]
fn what_is_shown_can_be_given_back_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let first = config("show", &["--port", "4"], folder.path(), &[("SERVICE_NAME", "\"Ä\\\n")]);
    std::fs::write(folder.path().join("shown.toml"), &first.out).unwrap();

    let second = config("show", &["--config", "shown.toml"], folder.path(), &[]);

    let values = |said: &Said| -> Vec<String> {
        said.out.lines().map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&first), values(&second));
    assert!(second.out.contains("port = 4  # file shown.toml"), "{}", second.out);
    assert_eq!(config("check", &["--config", "shown.toml"], folder.path(), &[]).code, 0);
}

#[test]
fn secrets_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [
        ("DATABASE_URL", "mongodb://me:secret@a:1,b:2/?tlsCertificateKeyFilePassword=secret&w=1"),
        ("PRICING_SERVICE_URL", "https://secret@prices:8083/"),
    ];

    let said = config("show", &[], folder.path(), &variables);

    assert!(!said.out.contains("secret"), "{}", said.out);
    assert!(
        said.out.contains("mongodb://***@a:1,b:2/?tlsCertificateKeyFilePassword=***&w=1"),
        "{}",
        said.out
    );
    assert!(said.out.contains("https://***@prices:8083/"), "{}", said.out);
}

#[test]
fn a_sound_configuration_is_said_to_be_so_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();

    let said = config("check", &[], folder.path(), &[]);

    assert_eq!((said.code, said.error.as_str()), (0, ""));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = "htpp = 1\n[http]\nprot = 2\nmax_body_bytes = -1\n[rebalance]\nband_policy = \"loose\"\n";
    std::fs::write(folder.path().join("site.toml"), file).unwrap();
    let variables =
        [("HTTP_WORKERS", "many"), ("DATABASE_URL", "postgres://me:secret@x"), ("PRICE_CACHE_TTL", "soon")];

    let said = config("check", &["--config", "site.toml", "--log-level", "loud"], folder.path(), &variables);

    assert_eq!((said.code, said.out.as_str()), (1, ""));
    let lines: Vec<&str> = said.error.trim_end().lines().map(str::trim).collect();
    for (setting, reason) in [
        ("site.toml: htpp: ", "unknown field"),
        ("site.toml: http.prot: ", "unknown field"),
        ("site.toml: MAX_BODY_BYTES (http.max_body_bytes): ", "-1"),
        ("site.toml: BAND_POLICY (rebalance.band_policy): ", "loose"),
        ("HTTP_WORKERS (http.workers): ", "many"),
        ("PRICE_CACHE_TTL (neighbours.price_ttl_seconds): ", "soon"),
        ("--log-level (log.level): ", "loud"),
        ("DATABASE_URL (store.url): ", "postgres"),
    ] {
        let is_said =
            |line: &&str| line.trim_start_matches("Error: ").starts_with(setting) && line.contains(reason);
        assert!(lines.iter().any(is_said), "{setting}: {}", said.error);
    }
    assert_eq!(lines.len(), 8, "{}", said.error);
    assert!(!said.error.contains("secret"), "{}", said.error);
}

#[test]
fn files_that_cannot_be_read_are_all_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.toml"), "[http\n").unwrap();
    std::fs::write(folder.path().join("torn.toml"), "port = \n").unwrap();
    let files = ["--config", "broken.toml", "--config", "nowhere.toml", "--config", "torn.toml"];

    for command in ["check", "show"] {
        let said = config(command, &files, folder.path(), &[]);
        assert_eq!((said.code, said.out.as_str()), (1, ""));
        for file in ["broken.toml", "nowhere.toml", "torn.toml"] {
            assert!(said.error.contains(file), "{file}: {}", said.error);
        }
    }
}

#[test]
fn every_shell_gets_completions_that_name_the_commands() {
    let folder = tempfile::tempdir().unwrap();

    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = globeco(&["completions", shell], folder.path(), &[]);
        assert_eq!((said.code, said.error.as_str()), (0, ""), "{shell}");
        for word in ["globeco", "serve", "config", "database-url"] {
            assert!(said.out.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn who_reads_only_the_beginning_of_what_is_printed_is_told_of_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    // Longer than what a pipe holds.
    let mut command = run(&["openapi"], folder.path(), &[]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    drop(child.stdout.take());

    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn the_help_of_every_command_ends_in_examples() {
    let folder = tempfile::tempdir().unwrap();
    let help = |command: &[&str]| {
        let said = globeco(&[command, &["--help"]].concat(), folder.path(), &[]);
        assert_eq!((said.code, said.error.as_str()), (0, ""), "{command:?}");
        said.out
    };
    let commands = |help: &str| -> Vec<String> {
        let lines =
            help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|it| !it.is_empty());
        let names = lines.filter_map(|line| line.split_whitespace().next());
        names.filter(|name| *name != "help").map(str::to_owned).collect()
    };

    let mut left: Vec<Vec<String>> = vec![vec![]];
    let mut seen = 0;
    while let Some(command) = left.pop() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let help = help(&words);
        let beneath = commands(&help);
        if beneath.is_empty() || command.is_empty() {
            let (_, examples) =
                help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{command:?}: {help}"));
            assert!(examples.lines().all(|line| line.contains("globeco")), "{command:?}: {examples}");
        }
        left.extend(beneath.into_iter().map(|name| [command.clone(), vec![name]].concat()));
        seen += 1;
    }
    assert!(8 < seen, "{seen}");
}
