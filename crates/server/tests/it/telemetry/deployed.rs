//! What watches the service in production, held to what the service tells.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sandbox::Faults;
use serde_json::Value;

use super::figures::{Figures, desk};

/// Prometheus' own.
const OF_THE_SCRAPE: [&str; 1] = ["up"];

/// Labels that a scrape adds to every series.
const BY_THE_SCRAPE: [&str; 2] = ["instance", "job"];

/// Words of `PromQL` that stand where a series could.
const WORDS: [&str; 9] = ["and", "bool", "by", "group_left", "group_right", "ignoring", "on", "or", "unless"];

/// The series that an expression names, each with the labels that it must have.
///
/// A label in a grouping must be one of some series of the expression.
#[derive(Debug, Default, PartialEq)]
struct Named {
    series: BTreeMap<String, BTreeSet<String>>,
    grouped_by: BTreeSet<String>,
}

fn named_in(expression: &str) -> Named {
    let mut named = Named::default();
    let mut last = String::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_').unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after.trim_start();
            match (word, rest.chars().next()) {
                ("by" | "without" | "on" | "ignoring", Some('(')) => {
                    let (labels, after) = within(rest, '(', ')');
                    named.grouped_by.extend(labels.split(',').map(|label| label.trim().to_owned()));
                    rest = after;
                }
                // A function or an aggregation.
                (_, Some('(')) => {}
                (word, _) if WORDS.contains(&word) => {}
                // An aggregation whose grouping comes first.
                (_, _) if rest.starts_with("by ") => {}
                (word, _) => {
                    word.clone_into(&mut last);
                    named.series.entry(last.clone()).or_default();
                }
            }
            continue;
        }
        match first {
            '{' => {
                let (selectors, after) = selectors(rest);
                let labels = named.series.entry(last.clone()).or_default();
                labels.extend(selectors);
                rest = after;
            }
            '[' => rest = within(rest, '[', ']').1,
            // A number, with its exponent or unit.
            '0'..='9' => rest = rest.trim_start_matches(|it: char| it.is_ascii_alphanumeric() || it == '.'),
            other => rest = &rest[other.len_utf8()..],
        }
    }
    named
}

fn within(text: &str, open: char, close: char) -> (&str, &str) {
    let text = text.strip_prefix(open).unwrap();
    text.split_once(close).unwrap_or_else(|| panic!("no {close} in {text}"))
}

/// The names of labels in `{name="value",…}`, whose values may hold braces.
fn selectors(text: &str) -> (Vec<String>, &str) {
    let mut labels = Vec::new();
    let mut rest = text.strip_prefix('{').unwrap();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return (labels, after);
        }
        let (label, value) = rest.split_once('"').unwrap();
        labels.push(label.trim_end_matches(['=', '!', '~', ' ']).to_owned());
        rest = value.split_once('"').unwrap().1;
    }
}

/// What is wrong with an expression, given the labels of every series that there is.
fn faults(expression: &str, told: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let Named { series, grouped_by } = named_in(expression);
    let mut faults = Vec::new();
    let mut known = BTreeSet::from(BY_THE_SCRAPE);
    for (name, labels) in &series {
        if OF_THE_SCRAPE.contains(&name.as_str()) {
            continue;
        }
        let Some(has) = told.get(name) else {
            faults.push(format!("nobody tells `{name}`"));
            continue;
        };
        known.extend(has.iter().map(String::as_str));
        let strange = labels
            .iter()
            .filter(|label| !has.contains(label.as_str()) && !BY_THE_SCRAPE.contains(&label.as_str()));
        faults.extend(strange.map(|label| format!("`{name}` has no label `{label}`")));
    }
    let strange = grouped_by.iter().filter(|label| !known.contains(label.as_str()));
    faults.extend(strange.map(|label| format!("no series has a label `{label}`")));
    if series.is_empty() {
        faults.push("it names no series".to_owned());
    }
    faults
}

/// The series of a scrape, each with its labels.
fn told(figures: &Figures) -> BTreeMap<String, BTreeSet<String>> {
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in figures.series.keys() {
        let (name, labels) = match series.split_once('{') {
            Some((name, _)) => (name, selectors(&series[name.len()..]).0),
            None => (series.as_str(), Vec::new()),
        };
        told.entry(name.to_owned()).or_default().extend(labels);
    }
    told
}

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/observability").join(name)
}

/// The expressions of the alerts, each with its alert.
fn alerts() -> Vec<(String, String)> {
    let text = fs::read_to_string(deployed("alerts.yaml")).unwrap();
    let mut alerts: Vec<(String, String)> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("- alert: ") {
            alerts.push((name.to_owned(), String::new()));
        }
        if let Some(expression) = line.strip_prefix("expr: ") {
            goes_on = expression == ">-";
            if !goes_on {
                expression.clone_into(&mut alerts.last_mut().unwrap().1);
            }
        } else if ["for: ", "labels: "].iter().any(|key| line.starts_with(key)) {
            goes_on = false;
        } else if goes_on {
            let expression = &mut alerts.last_mut().unwrap().1;
            expression.push_str(line);
            expression.push(' ');
        }
    }
    alerts
}

/// The expressions of the dashboard, each with its panel.
fn panels() -> Vec<(String, String)> {
    let text = fs::read_to_string(deployed("grafana/dashboards/order-generation.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            expressions.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    expressions
}

#[tokio::test]
async fn alerts_and_dashboard_ask_only_for_what_the_service_tells() {
    let (server, model) = desk().await;
    server.rebalance_model(&model).await.expect(200);
    server.sandbox.accounting.inject(Faults::outage());
    server.rebalance_model(&model).await.expect(503);
    // The share of the processor is told from the second time on.
    Figures::of(&server).await;
    let told = told(&Figures::of(&server).await);

    let (alerts, panels) = (alerts(), panels());

    assert!(5 < alerts.len() && 10 < panels.len(), "{} alerts, {} panels", alerts.len(), panels.len());
    let asked = alerts.iter().chain(&panels);
    let wrong: Vec<String> = asked
        .flat_map(|(place, expression)| {
            faults(expression, &told).into_iter().map(move |fault| format!("{place}: {fault}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_alert_has_its_paragraph_for_operators() {
    let operations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let operations = fs::read_to_string(operations).unwrap();
    for (alert, _) in alerts() {
        assert!(operations.contains(&format!("**{alert}**")), "{alert}");
    }
}

#[test]
fn series_and_labels_are_found_in_expressions() {
    let expression = "histogram_quantile(0.99, sum by (le, path) (rate(a_bucket{path=\"/{id}\",b!~\"x|y\"}[5m]))) \
                      / on (instance) c_total > 7e6 and sum(d) by (job) unless e{}";

    let named = named_in(expression);

    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(named.series["a_bucket"], set(&["b", "path"]));
    assert_eq!(
        named.series.keys().cloned().collect::<BTreeSet<_>>(),
        set(&["a_bucket", "c_total", "d", "e"])
    );
    assert_eq!(named.grouped_by, set(&["instance", "job", "le", "path"]));
}

#[test]
fn what_nobody_tells_is_a_fault() {
    let told = BTreeMap::from([("a_total".to_owned(), BTreeSet::from(["path".to_owned()]))]);

    for (expression, expected) in [
        ("rate(a_total{path=\"x\",job=\"y\"}[5m])", vec![]),
        ("up == 0", vec![]),
        ("rate(b_total[5m])", vec!["nobody tells `b_total`"]),
        ("a_total{route=\"x\"}", vec!["`a_total` has no label `route`"]),
        ("sum by (route) (a_total)", vec!["no series has a label `route`"]),
        ("1 > 0", vec!["it names no series"]),
    ] {
        assert_eq!(faults(expression, &told), expected, "{expression}");
    }
}
