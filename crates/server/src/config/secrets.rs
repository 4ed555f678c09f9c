//! What of the settings nobody else may read.

use serde_json::Value;

const HIDDEN: &str = "***";

/// What a collector is sent along with every export.
const HEADERS: &str = "headers";

/// Settings that hold secrets, by the last word of their names.
const SECRET: &[&str] = &["key", "keys", "password", "secret", "token", "tokens"];

/// Settings that are URLs, by the last word of their names, also where whoever wrote one forgot its scheme.
const PLACES: &[&str] = &["url", "endpoint"];

/// Parameters of a URL that hold secrets, by a part of their names.
const SECRET_PARAMETERS: &[&str] = &["password", "properties", "secret", "token"];

/// The value of the setting `name` with its secrets hidden; that there is one may be seen.
pub(super) fn without_secrets(name: &str, value: Value) -> Value {
    let last_word = name.rsplit('_').next().unwrap_or_default();
    let hide: fn(&str) -> String = if name == HEADERS || SECRET.contains(&last_word) {
        |_| HIDDEN.to_owned()
    } else if PLACES.contains(&last_word) {
        without_credentials
    } else {
        |text| if text.contains("://") { without_credentials(text) } else { text.to_owned() }
    };
    with_texts(value, hide)
}

fn with_texts(value: Value, hide: fn(&str) -> String) -> Value {
    match value {
        Value::String(text) if !text.is_empty() => Value::String(hide(&text)),
        Value::Array(elements) => elements.into_iter().map(|element| with_texts(element, hide)).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, member)| (name, with_texts(member, hide))).collect()
        }
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// A URL without its user and password, and without the parameters that hold secrets; a file as it is.
fn without_credentials(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    let (scheme, rest) = text.split_at(text.find("://").map_or(0, |colon| colon + "://".len()));
    // A password may hold what ends a host, if whoever wrote it forgot to encode it.
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, rest)| ("***@", rest));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        Some(_) | None => parameter.to_owned(),
    });
    let parameters: Vec<String> = parameters.collect();
    let question_mark = if query.is_empty() { "" } else { "?" };
    format!("{scheme}{user}{place}{question_mark}{}", parameters.join("&"))
}

fn is_secret(parameter: &str) -> bool {
    let parameter = parameter.to_lowercase();
    SECRET_PARAMETERS.iter().any(|part| parameter.contains(part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn users_and_secret_parameters_are_hidden_in_urls() {
        for (given, shown) in [
            ("mongodb://db:27017", "mongodb://db:27017"),
            ("mongodb://me:secret@a:1,b:2/x?w=1", "mongodb://***@a:1,b:2/x?w=1"),
            ("mongodb://me:sec/r@e?t@db", "mongodb://***@db"),
            ("https://secret@host/path", "https://***@host/path"),
            (
                "mongodb://db/?tlsCertificateKeyFilePassword=secret&w=1",
                "mongodb://db/?tlsCertificateKeyFilePassword=***&w=1",
            ),
            ("sqlite:data/a@b.db", "sqlite:data/a@b.db"),
            ("me:secret@db:27017", "***@db:27017"),
            ("db:27017", "db:27017"),
            ("", ""),
        ] {
            assert_eq!(without_secrets("url", json!(given)), json!(shown));
        }
    }

    #[test]
    fn secret_settings_are_hidden_whole_and_others_shown() {
        for (name, given, shown) in [
            ("api_keys", json!(["secret", "other"]), json!(["***", "***"])),
            ("api_keys", json!(""), json!("")),
            ("headers", json!("authorization=Bearer secret"), json!("***")),
            ("tokens", json!({ "desk": "secret" }), json!({ "desk": "***" })),
            ("port", json!(8080), json!(8080)),
            ("name", json!("Desk @ London"), json!("Desk @ London")),
            ("name", json!("https://me:secret@host"), json!("https://***@host")),
            ("cors_allow_headers", json!("*"), json!("*")),
            ("key_file", json!("tls.pem"), json!("tls.pem")),
        ] {
            assert_eq!(without_secrets(name, given), shown, "{name}");
        }
    }
}
