//! The MongoDB store: for a service that runs many times, or beside a database that is there already.
//!
//! Every change is one conditional command. What takes several documents is one transaction where the
//! deployment has them; on a standalone server it is a sequence that readers see only once it is whole.

#![forbid(unsafe_code)]

mod connections;
mod decimal;
mod document;
mod failure;
mod fields;
mod idempotency;
mod order_generation;
mod writer;

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use application::health::{Probe, StoreProbe};
use application::repository::{Error, Source};
use async_trait::async_trait;
use bson::{RawDocument, RawDocumentBuf, doc};
use futures_util::TryStreamExt;
use futures_util::stream::{self, Stream};
use mongodb::action::Find;
use mongodb::options::{
    Acknowledgment, ClientOptions, ConnectionString, ReadConcern, ReadPreference, SelectionCriteria,
    WriteConcern,
};
use mongodb::raw_batch_cursor::RawBatch;
use mongodb::{Client, Collection, Database};
use tokio::sync::OnceCell;

use crate::connections::Connecting;
use crate::failure::failed;

pub use crate::connections::Connections;

#[derive(Clone)]
pub struct Config {
    /// `mongodb://…` or `mongodb+srv://…`; may hold credentials.
    pub url: String,
    pub database: String,
    /// How long a call looks for a server, a connection attempt may take, and a majority may take to
    /// confirm a write.
    pub timeout: Duration,
    pub min_pool_size: u32,
    /// Calls beyond it wait for a connection.
    pub max_pool_size: u32,
    /// A connection unused for so long is closed.
    pub idle_timeout: Duration,
}

/// A handle on the database; clones share its connections.
#[derive(Clone)]
pub struct MongoStore {
    client: Client,
    database: Database,
    deployment: Arc<OnceCell<Deployment>>,
    connecting: Connecting,
    patience: Duration,
}

/// How many of the settings' timeouts a command may take: to find a server, to connect, and to be
/// answered.
const PATIENCE: u32 = 3;

/// What a server can do, found out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deployment {
    Standalone,
    /// A replica set or a sharded cluster: it has transactions.
    Replicated,
}

/// The driver's own words are left out: they may quote the URL, password and all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the MongoDB URL does not begin with mongodb:// or mongodb+srv://")]
    NoScheme,
    #[error("the MongoDB URL is malformed; are its options known, and is its password percent-encoded?")]
    Malformed,
    #[error("the hosts of the mongodb+srv:// URL cannot be looked up")]
    NoHosts,
    #[error("`{0}` cannot be the name of a database")]
    Database(String),
}

#[derive(Debug, thiserror::Error)]
#[error("cannot bring the indexes of the database up to date")]
pub struct PrepareError(#[from] mongodb::error::Error);

/// What is wrong with where a database is said to be, as far as it can be told without the network.
pub fn check(url: &str, database: &str) -> Result<(), ConnectError> {
    if !is_database_name(database) {
        return Err(ConnectError::Database(database.to_owned()));
    }
    if !["mongodb://", "mongodb+srv://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(ConnectError::NoScheme);
    }
    ConnectionString::parse(url).map(drop).map_err(|_| ConnectError::Malformed)
}

impl MongoStore {
    /// Connects to nothing yet: a server that is away now may be there for the first call.
    ///
    /// Only a `mongodb+srv://` URL needs the network at once, for its hosts.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        check(&config.url, &config.database)?;
        let connecting = Connecting::default();
        let mut options = options(config).await?;
        options.cmap_event_handler = Some(connecting.handler());
        let client = Client::with_options(options).map_err(|_| ConnectError::Malformed)?;
        let database = client.database(&config.database);
        let patience = config.timeout * PATIENCE;
        Ok(Self { client, database, deployment: Arc::default(), connecting, patience })
    }

    /// Creates the indexes that are missing, and removes what a crash cut off.
    ///
    /// Needed once, and done before the first call if not at the start; harmless when repeated.
    pub async fn prepare(&self) -> Result<(), PrepareError> {
        self.deployment.get_or_try_init(|| Box::pin(self.look_around())).await?;
        Ok(())
    }

    /// Ends the calls under way and closes the connections, those of all clones too.
    pub async fn close(&self) {
        self.client.clone().shutdown().immediate(true).await;
    }

    pub fn connections(&self) -> Connections {
        self.connecting.now()
    }

    /// What the server can do, once everything is prepared.
    async fn ready(&self) -> Result<Deployment, mongodb::error::Error> {
        if let Some(deployment) = self.deployment.get() {
            return Ok(*deployment);
        }
        self.in_time(self.deployment.get_or_try_init(|| Box::pin(self.look_around()))).await.copied()
    }

    /// The driver waits for ever for the answer of a server that was there when it was asked.
    ///
    /// What is given up here goes on there, and keeps the session that the driver lends to the next command: that
    /// waits with it. So whatever may find a document locked has a `max_time` besides, by which the server ends it.
    async fn in_time<T>(
        &self,
        command: impl IntoFuture<Output = Result<T, mongodb::error::Error>>,
    ) -> Result<T, mongodb::error::Error> {
        in_time(self.patience, command).await
    }

    /// All that a query finds, read as it comes, each part of it in time.
    async fn answers<T>(
        &self,
        query: Find<'_, RawDocumentBuf>,
        read: impl Fn(&RawDocument) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut batches = self.batches(query).await?;
        let mut answers = Vec::new();
        while let Some(batch) = batches.try_next().await? {
            for document in documents(&batch)? {
                answers.push(read(document?)?);
            }
        }
        Ok(answers)
    }

    /// What a query finds as the server sends it, each part of it in time. To make documents of it first
    /// would copy them twice.
    async fn batches(
        &self,
        query: Find<'_, RawDocumentBuf>,
    ) -> Result<impl Stream<Item = Result<RawBatch, Error>> + Unpin + use<>, Error> {
        let patience = self.patience;
        let batches = in_time(patience, query.batch()).await.map_err(failed)?;
        let batches = stream::try_unfold(batches, move |mut batches| async move {
            let next = in_time(patience, batches.try_next()).await.map_err(failed)?;
            Ok(next.map(|batch| (batch, batches)))
        });
        Ok(Box::pin(batches))
    }

    async fn look_around(&self) -> Result<Deployment, mongodb::error::Error> {
        let hello = self.in_time(self.database.run_command(doc! { "hello": 1 })).await?;
        let is_router = hello.get_str("msg").is_ok_and(|message| message == "isdbgrid");
        let replicated = is_router || hello.contains_key("setName");
        order_generation::create_indexes(&self.database).await?;
        idempotency::create_indexes(&self.database).await?;
        order_generation::sweep(&self.database).await?;
        Ok(if replicated { Deployment::Replicated } else { Deployment::Standalone })
    }

    fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.database.collection(name)
    }
}

#[async_trait]
impl Probe for MongoStore {
    async fn check(&self) -> Result<(), Source> {
        self.in_time(self.database.run_command(doc! { "ping": 1 })).await?;
        Ok(())
    }
}

#[async_trait]
impl StoreProbe for MongoStore {
    /// A server that was away at the start is prepared now.
    async fn check_prepared(&self) -> Result<(), Source> {
        self.ready().await?;
        Ok(())
    }
}

fn documents(batch: &RawBatch) -> Result<impl Iterator<Item = Result<&RawDocument, Error>>, Error> {
    let documents = batch.doc_slices().map_err(failed)?.into_iter();
    Ok(documents.map(|document| {
        let document = document.map_err(|error| failed(error.into()))?.as_document();
        document.ok_or_else(|| failed(ErrorKind::InvalidData.into()))
    }))
}

async fn in_time<T>(
    patience: Duration,
    command: impl IntoFuture<Output = Result<T, mongodb::error::Error>>,
) -> Result<T, mongodb::error::Error> {
    match tokio::time::timeout(patience, command.into_future()).await {
        Ok(answer) => answer,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, database, timeout, min_pool_size, max_pool_size, idle_timeout } = self;
        f.debug_struct("Config")
            .field("database", database)
            .field("timeout", timeout)
            .field("min_pool_size", min_pool_size)
            .field("max_pool_size", max_pool_size)
            .field("idle_timeout", idle_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore").field("database", &self.database.name()).finish_non_exhaustive()
    }
}

async fn options(config: &Config) -> Result<ClientOptions, ConnectError> {
    let with_lookup = config.url.starts_with("mongodb+srv://");
    let mut options = ClientOptions::parse(&config.url)
        .await
        .map_err(|_| if with_lookup { ConnectError::NoHosts } else { ConnectError::Malformed })?;
    options.app_name.get_or_insert_with(|| "globeco".to_owned());
    options.server_selection_timeout = Some(config.timeout);
    options.connect_timeout = Some(config.timeout);
    options.min_pool_size = Some(config.min_pool_size);
    options.max_pool_size = Some(config.max_pool_size.max(1));
    options.max_idle_time = Some(config.idle_timeout);
    // An acknowledged write outlives the loss of any one server; a read sees none that may be undone.
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    options.read_concern = Some(ReadConcern::majority());
    options.write_concern = Some(
        WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(config.timeout).build(),
    );
    Ok(options)
}

/// MongoDB's own rules, on all systems.
fn is_database_name(name: &str) -> bool {
    let legal = |c: char| !c.is_whitespace() && !c.is_control() && !"/\\.\"$*<>:|?".contains(c);
    !name.is_empty() && name.len() < 64 && name.chars().all(legal)
}
