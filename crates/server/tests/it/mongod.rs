//! MongoDB servers: the ones that are there for all tests, and one of a test's own, to stop and to kill.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Document, doc};
use rand::distr::{Alphanumeric, SampleString};
use tempfile::TempDir;

/// How often a server is asked whether it takes writes, 20 milliseconds apart, before the test gives up.
const PATIENCE: usize = 3000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Standalone,
    ReplicaSet,
}

/// A URL of the server that is there for all tests; without one, a test ends as if it had passed, but
/// not in CI.
pub(crate) fn shared(kind: Kind) -> Option<String> {
    wanted(match kind {
        Kind::Standalone => "TEST_MONGODB_STANDALONE_URL",
        Kind::ReplicaSet => "TEST_MONGODB_REPLICA_URL",
    })
}

#[expect(clippy::print_stderr, reason = "what is not tested is said")]
fn wanted(name: &str) -> Option<String> {
    let value = std::env::var_os(name).map(|value| value.into_string().unwrap());
    // A MongoDB of one's own is tested against as it is, and not stopped.
    let must_be_there = std::env::var_os("CI").is_some() && std::env::var_os("TEST_MONGODB_URL").is_none();
    assert!(value.is_some() || !must_be_there, "{name} is missing: run `cargo xtask test`");
    if value.is_none() {
        eprintln!("skipped: {name} is missing; `cargo xtask test` sets it");
    }
    value
}

/// The name of a database that no other test has.
pub(crate) fn fresh_name() -> String {
    format!("test-{}", Alphanumeric.sample_string(&mut rand::rng(), 12))
}

/// A database is gone, whether or not it was there.
pub(crate) async fn drop_database(url: &str, name: &str) {
    Client::with_uri_str(url).await.unwrap().database(name).drop().await.unwrap();
}

/// A server of a test's own. Killed when dropped.
pub(crate) struct Mongod {
    program: PathBuf,
    kind: Kind,
    port: u16,
    folder: TempDir,
    child: Option<Child>,
}

impl Mongod {
    /// Not started yet; `None` where there is no program for it.
    pub(crate) fn new(kind: Kind) -> Option<Self> {
        let program = PathBuf::from(wanted("TEST_MONGOD")?);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Some(Self { program, kind, port, folder: tempfile::tempdir().unwrap(), child: None })
    }

    pub(crate) fn url(&self) -> String {
        let options = match self.kind {
            Kind::Standalone => "",
            Kind::ReplicaSet => "?replicaSet=rs0",
        };
        format!("mongodb://127.0.0.1:{}/{options}", self.port)
    }

    /// Starts it over the data that it left, and waits until it takes writes.
    pub(crate) async fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut command = Command::new(&self.program);
        command.arg("--dbpath").arg(self.folder.path()).args(["--port", &self.port.to_string()]);
        command.args(["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]);
        command.args(["--wiredTigerEngineConfigString", "log=(prealloc=false,file_max=10MB)"]);
        if self.kind == Kind::ReplicaSet {
            command.args(["--replSet", "rs0"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        self.until_writable().await;
    }

    async fn until_writable(&mut self) {
        let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", self.port);
        let admin = Client::with_uri_str(url).await.unwrap().database("admin");
        for _ in 0..PATIENCE {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "mongod ended: {ended:?}");
            let hello = admin.run_command(doc! { "hello": 1 }).await.unwrap_or_default();
            if hello.get_bool("isWritablePrimary").unwrap_or(false) {
                return;
            }
            if self.kind == Kind::ReplicaSet && !hello.contains_key("setName") {
                // A server on its way up refuses, and so does one that is a replica set already.
                let _ = admin.run_command(self.initiation()).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("mongod takes no writes");
    }

    fn initiation(&self) -> Document {
        let member = doc! { "_id": 0, "host": format!("127.0.0.1:{}", self.port) };
        doc! { "replSetInitiate": { "_id": "rs0", "members": [member] } }
    }

    /// Stops it as an operator would, and waits until it is gone.
    pub(crate) async fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "kill -s TERM \"$0\"", &child.id().to_string()]);
        assert!(shell.status().unwrap().success());
        for _ in 0..PATIENCE {
            if child.try_wait().unwrap().is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("mongod goes on");
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Mongod {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}
