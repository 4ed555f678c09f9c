//! `globeco api-key`: a new key for a caller.

use std::fmt::Write as _;

use application::caller::KeyName;
use web::ApiKeys;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Whose key it is: 1 to 64 letters, digits, hyphens, dots and underscores.
    name: KeyName,
}

/// Prints the key, which is kept nowhere, and what the settings keep of it.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let key = new_key()?;
    let entry = ApiKeys::entry(&options.name, &key);
    #[expect(clippy::print_stdout, reason = "the key is the command's result")]
    {
        println!(
            "The key, shown only this once:\n  {key}\nFor API_KEYS, or a line of API_KEYS_FILE:\n  {entry}"
        );
    }
    Ok(())
}

/// 256 random bits: more than can be guessed, so that a plain digest of it keeps it.
fn new_key() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().fold("globeco_".to_owned(), |mut key, byte| {
        let _ = write!(key, "{byte:02x}");
        key
    }))
}
