//! The program as it is shipped, tried in a root that holds what its image does and nothing else.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{cargo, pip, root, say, target};

/// What the base image has of the libraries that a program can ask for.
const BASE_LIBRARIES: &[&str] = &[
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
];

/// Of the base image, gcr.io/distroless/cc-debian12: what the packages of Debian 12 that it holds take
/// unpacked, 23.8 MB for amd64, rounded up.
const BASE_BYTES: u64 = 24_000_000;

/// What the image may take, unpacked.
const MAX_IMAGE_BYTES: u64 = 60_000_000;

const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The user of the image.
const USER: &str = "65532:65532";

/// Gives the root a `/proc`, as a container has one, in a mount namespace of its own.
const WITHIN: &str = r#"mount -t proc proc "$0/proc" && exec chroot --userspec="$1" "$0" "${@:2}""#;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let program = match *arguments {
        [] => built()?,
        ["--program", program] => root().join(program),
        _ => {
            say("usage: cargo xtask dist [--program FILE]\n");
            return Ok(ExitCode::from(2));
        }
    };
    let libraries = libraries(&program)?;
    let bytes = fs::metadata(&program)?.len();
    let image = BASE_BYTES + bytes + fs::metadata(root().join("LICENSE"))?.len();
    say(&format!("{}: {} MB\n", program.display(), megabytes(bytes)));
    let within = Root::make(&program, &libraries)?;
    say(&format!("with its libraries and certificates: {} MB\n", megabytes(size(&within.0)?)));
    say(&format!("an image of it: at most {} MB\n", megabytes(image)));

    if is_root()? {
        within.try_out()?;
        say("it tells its version, runs the demo, serves and finds itself alive in there\n");
    } else {
        say("not tried in that root: only root may change into it\n");
    }
    ensure!(image < MAX_IMAGE_BYTES, "an image may take {} MB", megabytes(MAX_IMAGE_BYTES));
    Ok(ExitCode::SUCCESS)
}

fn built() -> Result<PathBuf> {
    let mut build =
        cargo(&["build", "--locked", "--profile", "dist", "--package", "server", "--bin", "globeco"]);
    ensure!(build.status()?.success(), "the program does not build");
    Ok(target().join("dist/globeco"))
}

/// The shared objects that the program asks for, the loader among them, where this system has them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("there is no ldd")?;
    ensure!(output.status.success(), "ldd cannot read `{}`", program.display());
    let told = String::from_utf8(output.stdout)?;
    let mut libraries = Vec::new();
    for line in told.lines() {
        if let Some(library) = library(line)? {
            let name = library.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            ensure!(BASE_LIBRARIES.contains(&name), "the image has no `{name}`");
            libraries.push(library);
        }
    }
    ensure!(!libraries.is_empty(), "ldd tells no libraries: {told}");
    Ok(libraries)
}

/// Of a line such as `libc.so.6 => /lib/libc.so.6 (0x7f00)`; `None` for what the kernel brings.
fn library(line: &str) -> Result<Option<PathBuf>> {
    let line = line.trim();
    if line.starts_with("linux-vdso") {
        return Ok(None);
    }
    let path = line.split_once(" => ").map_or(line, |(_, path)| path);
    let path = path.split_once(" (").map(|(path, _)| path).filter(|path| path.starts_with('/'));
    Ok(Some(path.with_context(|| format!("a library is missing: {line}"))?.into()))
}

/// The folder is gone with this.
struct Root(PathBuf);

impl Root {
    fn make(program: &Path, libraries: &[PathBuf]) -> Result<Self> {
        let within = Self(target().join(format!("dist-root-{}", std::process::id())));
        for folder in ["tmp", "proc", "etc/ssl/certs"] {
            fs::create_dir_all(within.0.join(folder))?;
        }
        fs::set_permissions(within.0.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        within.copy(program, Path::new("globeco"))?;
        for library in libraries {
            within.copy(library, library.strip_prefix("/")?)?;
        }
        if Path::new(CERTIFICATES).is_file() {
            within.copy(Path::new(CERTIFICATES), Path::new(CERTIFICATES).strip_prefix("/")?)?;
        }
        Ok(within)
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.0.join(to);
        fs::create_dir_all(to.parent().context("no folder")?)?;
        fs::copy(from, &to).with_context(|| format!("cannot copy `{}`", from.display()))?;
        Ok(())
    }

    fn try_out(&self) -> Result<()> {
        pip::said(&mut self.command(&["--version"]))?;
        pip::said(&mut self.command(&["demo"])).context("the demo")?;

        let port = crate::mongod::free_port()?.to_string();
        let log = File::create(self.0.join("serve.log"))?;
        let mut serve = self.command(&["serve", "order-generation", "--host", "127.0.0.1", "--port", &port]);
        serve.env("DATABASE_URL", "sqlite:/tmp/data/service.db").stdout(log.try_clone()?).stderr(log);
        let _serving = Serving(serve.spawn()?);
        let url = format!("http://127.0.0.1:{port}");
        let begun = Instant::now();
        loop {
            match pip::said(&mut self.command(&["health", &url])) {
                Ok(()) => return Ok(()),
                Err(error) if PATIENCE < begun.elapsed() => {
                    let log = fs::read_to_string(self.0.join("serve.log"))?;
                    bail!("it does not find itself alive: {error:#}\n{log}");
                }
                Err(_) => pause(),
            }
        }
    }

    /// With nothing in its environment but a `PATH` for what leads there.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "bash", "-c", WITHIN]).arg(&self.0).arg(USER).arg("/globeco");
        command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // What is left of it stands in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Killed when dropped.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // Whether it was there still or not, it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_root() -> Result<bool> {
    Ok(Command::new("id").arg("-u").output()?.stdout.trim_ascii() == b"0")
}

fn size(path: &Path) -> Result<u64> {
    if !path.is_dir() {
        return Ok(fs::symlink_metadata(path)?.len());
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += size(&entry?.path())?;
    }
    Ok(bytes)
}

/// Rounded up, to a tenth.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[expect(clippy::disallowed_methods, reason = "there is no executor here")]
fn pause() {
    thread::sleep(Duration::from_millis(100));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_where_the_loader_finds_them() {
        let found = |path: &str| Some(PathBuf::from(path));
        for (line, expected) in [
            ("\tlinux-vdso.so.1 (0x00007ffd)", None),
            (
                "\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)",
                found("/lib/x86_64-linux-gnu/libm.so.6"),
            ),
            ("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)", found("/lib64/ld-linux-x86-64.so.2")),
        ] {
            assert_eq!(library(line).unwrap(), expected, "{line}");
        }
        assert!(library("\tlibCbc.so.3 => not found").is_err());
    }

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(megabytes(0), "0.0");
        assert_eq!(megabytes(23_400_001), "23.5");
    }
}
