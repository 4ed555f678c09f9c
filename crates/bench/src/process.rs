//! Processes beside this one: started for a benchmark, watched through `/proc`, and ended with it.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What `/proc` counts time in on every Linux that there is: hundredths of a second.
const TICK: f64 = 0.01;

/// A child that is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) log: PathBuf,
}

impl Running {
    /// What it says goes to the file `log`, after what is there.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot make `{}`", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(crate) fn watched(&self) -> Watched {
        Watched(self.child.id())
    }

    /// Asks again and again until there is an answer, or the process has ended.
    pub(crate) async fn until<T>(&mut self, mut asked: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let mut last = None;
        for _ in 0..1_000 {
            if let Some(status) = self.child.try_wait()? {
                bail!("{status}: see `{}`: {}", self.log.display(), std::fs::read_to_string(&self.log)?);
            }
            match asked().await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let last = last.unwrap_or_else(|| anyhow::anyhow!("nobody asked"));
        Err(last.context(format!("it does not get ready: see `{}`", self.log.display())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Whether it was there still or not, it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process as the system sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched(u32);

impl Watched {
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    pub(crate) fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// Seconds of all cores since its start, those of its children that have ended included.
    pub(crate) fn cpu(self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.0);
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
        // After the name, which may hold blanks and brackets, the state is the third field.
        let (_, fields) = stat.rsplit_once(')').context("no process's stat")?;
        let times = fields.split_whitespace().skip(11).take(4);
        let ticks = times.map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(f64::from(ticks) * TICK)
    }

    /// What it holds now, in MB.
    pub(crate) fn resident(self) -> Result<f64> {
        Ok(self.status("VmRSS:")? / 1024.0)
    }

    /// The most that it ever held, in MB.
    pub(crate) fn peak(self) -> Result<f64> {
        Ok(self.status("VmHWM:")? / 1024.0)
    }

    pub(crate) fn threads(self) -> Result<f64> {
        self.status("Threads:")
    }

    pub(crate) fn open_files(self) -> Result<f64> {
        let path = format!("/proc/{}/fd", self.0);
        let files = std::fs::read_dir(&path).with_context(|| format!("cannot read `{path}`"))?;
        Ok(f64::from(u32::try_from(files.count())?))
    }

    fn status(self, field: &str) -> Result<f64> {
        let path = format!("/proc/{}/status", self.0);
        let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        Ok(line.with_context(|| format!("no {field}"))?.trim().trim_end_matches(" kB").parse()?)
    }
}

/// A port of this machine that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The program that was built beside this one.
pub(crate) fn globeco() -> Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("globeco");
    if !program.is_file() {
        bail!("`{}` is not built: run this by `cargo xtask bench`", program.display());
    }
    Ok(program)
}
