//! The service as a process of its own, on any of its stores.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use reqwest::Client;

use crate::neighbours::Neighbours;
use crate::process::{Running, free_port};
use crate::store::bare::Bare;

/// Where it keeps what it keeps.
#[derive(Clone)]
pub(crate) enum StoreKind {
    Embedded,
    Mongodb { name: &'static str, url: String },
}

impl StoreKind {
    /// Of an argument as `cargo xtask` gives it, if it is one of a store.
    pub(crate) fn read<'a>(
        word: &str,
        words: &mut impl Iterator<Item = &'a &'a str>,
    ) -> Result<Option<Self>> {
        let mut mongodb = |name| {
            let url = words.next().context("a value is missing")?;
            Ok(Some(Self::Mongodb { name, url: (*url).to_owned() }))
        };
        match word {
            "--sqlite" => Ok(Some(Self::Embedded)),
            "--standalone" => mongodb("standalone"),
            "--replica-set" => mongodb("replica set"),
            _ => Ok(None),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Mongodb { name, .. } => name,
        }
    }

    /// As the service is told of it, the file if it is one in the folder.
    pub(crate) fn variables(&self, folder: &Path, name: &str) -> [(&'static str, String); 2] {
        let url = match self {
            Self::Embedded => format!("sqlite:{}", folder.join(format!("{name}.db")).display()),
            Self::Mongodb { url, .. } => url.clone(),
        };
        [("DATABASE_URL", url), ("DATABASE_NAME", name.to_owned())]
    }

    /// Another way to the same database.
    pub(crate) async fn bare(&self, name: &str) -> Result<Option<Bare>> {
        match self {
            Self::Embedded => Ok(None),
            Self::Mongodb { url, .. } => Ok(Some(Bare::connect(url, name).await?)),
        }
    }
}

/// How it is started, as often as one likes: always at the same address.
pub(crate) struct Launch<'a> {
    program: PathBuf,
    folder: &'a Path,
    name: &'a str,
    port: u16,
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl<'a> Launch<'a> {
    /// Logs to a file in the folder, named as it is.
    pub(crate) fn new(
        program: PathBuf,
        folder: &'a Path,
        name: &'a str,
        neighbours: &Neighbours,
    ) -> Result<Self> {
        let variables = neighbours.variables().map(|(name, url)| (name, url.to_owned())).to_vec();
        Ok(Self { program, folder, name, port: free_port()?, variables })
    }

    pub(crate) async fn start(&self, client: &Client) -> Result<Served> {
        let mut command = Command::new(&self.program);
        command.args(["serve", "order-generation", "--host", "127.0.0.1", "--port", &self.port.to_string()]);
        let variables = self.variables.iter().map(|(name, value)| (name, value));
        command.envs(variables).current_dir(self.folder);
        let log = self.folder.join(format!("{}.log", self.name));
        Served::ready(self.port, Running::start(&mut command, &log)?, client).await
    }
}

/// One that answers at `base`.
pub(crate) struct Served {
    pub(crate) base: String,
    pub(crate) process: Running,
}

impl Served {
    /// Waits until it is.
    pub(crate) async fn ready(port: u16, mut process: Running, client: &Client) -> Result<Self> {
        let base = format!("http://127.0.0.1:{port}");
        let ready = format!("{base}/health/ready");
        process
            .until(async || {
                client.get(&ready).send().await?.error_for_status()?;
                Ok(())
            })
            .await?;
        Ok(Self { base, process })
    }
}
