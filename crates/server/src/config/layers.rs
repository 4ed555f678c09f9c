//! The layers of the configuration: the value of each setting, where it comes from, and everything that
//! is wrong with it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};

use super::secrets::without_secrets;
use super::{Config, DEFAULTS, FLAGS, Form, Unusable, VARIABLES, reference};

/// What command-line flags say, over everything else.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<Given>);

impl Overrides {
    pub fn text(&mut self, key: &'static str, value: Option<String>) {
        self.0.extend(value.map(|value| Given::by_flag(key, value)));
    }

    pub fn number(&mut self, key: &'static str, value: Option<u64>) {
        self.0.extend(value.map(|value| Given::by_flag(key, value)));
    }
}

/// One setting from outside the files, which remembers where it comes from.
#[derive(Debug, Clone)]
struct Given {
    key: &'static str,
    value: Value,
    by: By,
    /// Of the variable or the flag.
    name: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum By {
    Variable,
    Flag,
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Variable => "variable",
            Self::Flag => "flag",
        }
    }
}

impl Given {
    fn by_flag(key: &'static str, value: impl Into<Value>) -> Self {
        // What has no flag is set by tests alone.
        let name = FLAGS.iter().find(|(_, known)| *known == key).map_or(key, |(flag, _)| flag);
        Self { key, value: value.into(), by: By::Flag, name }
    }

    fn by_variable(name: &'static str, key: &'static str, form: Form, text: String) -> Self {
        let value = match (form, text.trim().parse::<u64>()) {
            (Form::Number, Ok(number)) => number.into(),
            // Not a number after all: whoever reads it says so.
            (Form::Number, Err(_)) | (Form::Text, _) => text.into(),
        };
        Self { key, value, by: By::Variable, name }
    }
}

impl Provider for Given {
    fn metadata(&self) -> Metadata {
        Metadata::from(self.by.name(), Source::Custom(self.name.to_owned()))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Serialized::default(self.key, &self.value).data()
    }
}

/// The defaults and everything that goes over them.
pub struct Layers {
    layers: Figment,
    missing_files: Vec<PathBuf>,
}

/// A setting as the layers give it, be it sound or not.
pub struct Setting {
    /// `section.name`
    pub key: String,
    /// Without secrets.
    pub value: serde_json::Value,
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl Layers {
    /// Later layers win: the defaults, the files in their order, the environment, the overrides.
    pub fn read(files: &[PathBuf], overrides: &Overrides) -> Self {
        let mut layers = defaults();
        for file in files {
            layers = layers.merge(Toml::file_exact(file));
        }
        for given in from_environment().chain(overrides.0.iter().cloned()) {
            layers = layers.merge(given);
        }
        let missing_files = files.iter().filter(|file| !file.is_file()).cloned().collect();
        Self { layers, missing_files }
    }

    /// The defaults alone.
    pub fn of_defaults() -> Self {
        Self { layers: defaults(), missing_files: Vec::new() }
    }

    /// The configuration, or everything that is wrong with it: a sentence each, with the file if it is
    /// one's, the variable or flag, the setting, and the reason.
    pub fn config(&self) -> Result<Config, Vec<String>> {
        let mut settings = self.merged()?;
        let mut faults = Vec::new();
        let mut mended = BTreeSet::new();
        let config = loop {
            let error = match settings.deserialize::<Config>() {
                Ok(config) => break config,
                Err(error) => error,
            };
            let key = error.path.join(".");
            faults.push(self.fault(&key, &error.kind));
            // What is wrong gives way to its default, so that what else is wrong shows.
            if !mended.insert(key) || !mend(&mut settings, &error.path) {
                return Err(faults);
            }
        };
        let unusable = [
            config.http.cors().err(),
            config.protection.all_api_keys().err(),
            config.store.location().err(),
            config.telemetry.collector().err(),
            config.telemetry.sampling().err(),
        ];
        for Unusable { key, reason } in unusable.into_iter().flatten() {
            faults.push(self.fault(key, &reason));
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    /// Every setting, in the order of the defaults; or what keeps the files from being read.
    pub fn settings(&self) -> Result<Vec<Setting>, Vec<String>> {
        let mut found = Vec::new();
        leaves(&self.merged()?, &mut Vec::new(), &mut found);
        let order = reference::keys();
        let place = |key: &str| order.iter().position(|known| known == key);
        let section_place = |key: &str| order.iter().position(|known| section(known) == section(key));
        // What is not known comes last in its section, and a section that is not known at the end.
        let or_last = |place: Option<usize>| place.unwrap_or(order.len());
        found.sort_by_key(|(key, _)| (or_last(section_place(key)), or_last(place(key))));
        let setting = |(key, value): (String, Value)| {
            let origin = self.origin(&value);
            let value = serde_json::to_value(value).unwrap_or_default();
            Setting { value: without_secrets(name(&key), value), key, origin }
        };
        Ok(found.into_iter().map(setting).collect())
    }

    fn merged(&self) -> Result<Value, Vec<String>> {
        let missing = |file: &PathBuf| format!("no configuration file at {}", file.display());
        let mut faults: Vec<String> = self.missing_files.iter().map(missing).collect();
        let settings = self.layers.find_value("").map_err(|error| {
            faults.extend(error.into_iter().filter_map(|error| {
                let file = error.metadata.as_ref()?.source.as_ref()?.file_path()?.to_owned();
                (!self.missing_files.contains(&file)).then(|| format!("{}: {}", file.display(), error.kind))
            }));
        });
        match settings {
            Ok(settings) if faults.is_empty() => Ok(settings),
            Ok(_) | Err(()) => Err(faults),
        }
    }

    fn origin(&self, value: &Value) -> Origin {
        let metadata = self.layers.get_metadata(value.tag());
        match metadata.map(|metadata| (metadata.name.as_ref(), &metadata.source)) {
            Some((_, Some(Source::File(path)))) => Origin::File(path.clone()),
            Some((name, Some(Source::Custom(given)))) if name == By::Variable.name() => {
                Origin::Variable(given.clone())
            }
            Some((_, Some(Source::Custom(given)))) => Origin::Flag(given.clone()),
            Some(_) | None => Origin::Default,
        }
    }

    /// `PORT (http.port): invalid type: found string "abc", expected u16`, after the file if it is one's.
    fn fault(&self, key: &str, reason: &impl fmt::Display) -> String {
        match self.layers.find_value(key).map_or(Origin::Default, |value| self.origin(&value)) {
            Origin::Variable(name) | Origin::Flag(name) => format!("{name} ({key}): {reason}"),
            Origin::File(path) => format!("{}: {}: {reason}", path.display(), by_any_name(key)),
            Origin::Default => format!("{}: {reason}", by_any_name(key)),
        }
    }
}

fn section(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(section, _)| section)
}

fn name(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

fn defaults() -> Figment {
    Figment::from(Toml::string(DEFAULTS))
}

fn from_environment() -> impl Iterator<Item = Given> {
    VARIABLES
        .iter()
        .filter_map(|(name, key, form)| Some(Given::by_variable(name, key, *form, value_of(name)?)))
}

fn value_of(variable: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is where configuration is read")]
    std::env::var(variable).ok()
}

/// A setting with its variables before it, if it has any.
fn by_any_name(key: &str) -> String {
    let variables: Vec<&str> =
        VARIABLES.iter().filter(|(_, known, _)| *known == key).map(|(variable, ..)| *variable).collect();
    match variables.as_slice() {
        [] => key.to_owned(),
        variables => format!("{} ({key})", variables.join(" or ")),
    }
}

/// Gives a setting its default, or takes it away if it has none; `false` if it is not there.
fn mend(settings: &mut Value, path: &[String]) -> bool {
    let Some((name, sections)) = path.split_last() else { return false };
    let section = sections.iter().try_fold(settings, |value, name| match value {
        Value::Dict(_, members) => members.get_mut(name),
        Value::String(..)
        | Value::Char(..)
        | Value::Bool(..)
        | Value::Num(..)
        | Value::Empty(..)
        | Value::Array(..) => None,
    });
    let Some(Value::Dict(_, members)) = section else { return false };
    match defaults().find_value(&path.join(".")) {
        Ok(default) => members.insert(name.clone(), default),
        Err(_) => members.remove(name),
    }
    .is_some()
}

fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Dict(_, members) => {
            for (name, member) in members {
                path.push(name.clone());
                leaves(member, path, found);
                path.pop();
            }
        }
        Value::String(..)
        | Value::Char(..)
        | Value::Bool(..)
        | Value::Num(..)
        | Value::Empty(..)
        | Value::Array(..) => found.push((path.join("."), value.clone())),
    }
}
