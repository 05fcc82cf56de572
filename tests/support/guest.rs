//! Boots the guests of `tests/guest/` under qemu and speaks with them.
//!
//! A guest has two serial ports: the first is its kernel's console and our programs' log (kept as
//! `console.log`), the second a dialog in lines (kept as `dialog.log`). The host sends a word, the guest answers
//! with a [`Section`]. Every wait has a deadline, and a guest never outlives its [`Guest`].
#![allow(dead_code, reason = "each target that includes this uses a part of it")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a guest lives when nobody ends it; longer than any test may take.
const LIFETIME: Duration = Duration::from_secs(280);

/// Kernel to dialog takes 3 to 15 s alone, and several times that on busy cores.
const BOOT: Duration = Duration::from_mins(1);

/// One way a node can present its cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bed {
    /// The unified tree alone, kernel 6.12.
    V2,
    /// Version 1 controllers, cpu and cpuacct on one mount, kernel 6.1.
    V1,
    /// Version 1 controllers beside a unified tree without controllers, kernel 6.1.
    Hybrid,
    /// CPU on version 1, memory in the unified tree only, kernel 6.12.
    Mixed,
    /// Debian's systemd with its own slices and scopes, unified, kernel 6.1.
    Systemd,
}

impl Bed {
    /// The name the guest's scripts know it by.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::Mixed => "mixed",
            Self::Systemd => "systemd",
        }
    }

    fn kernel(self) -> &'static str {
        match self {
            Self::V2 | Self::Mixed => "kernel-6.12",
            Self::V1 | Self::Hybrid | Self::Systemd => "kernel-6.1",
        }
    }
}

/// What the agent inside a guest is told.
#[derive(Debug)]
pub(crate) struct Params<'a> {
    /// The agent program to carry into the guest.
    pub(crate) agent: &'a Path,
    /// Where the aggregator's ingest listens on this machine's loopback.
    pub(crate) ingest_port: u16,
    /// The name in the aggregator's certificate.
    pub(crate) server_name: &'a str,
    /// The aggregator's certificate authority, in PEM.
    pub(crate) ca: &'a Path,
    /// The agent's token.
    pub(crate) token: &'a str,
}

/// One answer of the guest.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its lines, without the markers.
    pub(crate) lines: Vec<String>,
    /// The exit code of what printed it.
    pub(crate) status: i32,
}

/// A running guest. Dropping it kills its qemu.
#[derive(Debug)]
pub(crate) struct Guest {
    qemu: Child,
    words: ChildStdin,
    lines: Receiver<String>,
    directory: PathBuf,
}

/// The directory for the files of one run: logs, parameters, initramfs.
pub(crate) fn run_directory(bed: Bed) -> PathBuf {
    let directory = guest_directory().join("run").join(bed.name());
    fs::create_dir_all(&directory).expect("the run directory can be made");
    directory
}

/// Where `tests/guest/prepare` puts what it makes; Cargo's scratch directory lies beside it.
fn guest_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("guest")
}

/// A command whose process the kernel ends with the thread that started it, so that a test that is itself
/// killed leaves nothing running.
pub(crate) fn dies_with_us(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program.as_ref());
    command
}

/// Copies every line of `source` to a log file and to a channel, until the source ends.
pub(crate) fn follow(source: impl std::io::Read + Send + 'static, log: &Path) -> Receiver<String> {
    let (lines, receiver): (Sender<String>, _) = channel();
    let mut log = File::create(log).expect("the log file can be made");
    thread::spawn(move || {
        for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            // Neither a full disk nor a finished test may stop the reading: the writer would block.
            drop(writeln!(log, "{line}"));
            drop(lines.send(line));
        }
    });
    receiver
}

impl Guest {
    /// Packs the second initramfs and boots, until the guest's section `boot`.
    ///
    /// A second try is for the emulation alone: on busy cores a virtual CPU now and then loses its timer before
    /// our first program runs. Whatever happens after `boot` is never tried again.
    pub(crate) fn boot(bed: Bed, params: &Params<'_>) -> Self {
        let prepared = guest_directory();
        let kernel = prepared.join(bed.kernel());
        assert!(
            kernel.join("base.cpio.gz").exists() && prepared.join("systemd.ext4").exists(),
            "no guests in {}: run tests/run, or tests/guest/prepare",
            prepared.display()
        );
        let directory = run_directory(bed);
        let initramfs = pack(bed, params, &kernel, &directory);
        let start = || Self::start(qemu_command(bed, &prepared, &kernel, &initramfs, &directory), &directory);
        let mut guest = start();
        if let Err(reason) = guest.section("boot", BOOT) {
            eprintln!("the {} guest is booted once more: {reason}", bed.name());
            drop(guest);
            guest = start();
            guest.wait_for("boot", BOOT);
        }
        guest
    }

    fn start(mut qemu: Command, directory: &Path) -> Self {
        let mut qemu = qemu
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(directory.join("qemu.log")).expect("qemu's log can be made"))
            .spawn()
            .expect("qemu starts through setpriv");
        let words = qemu.stdin.take().expect("stdin was piped");
        let stdout = qemu.stdout.take().expect("stdout was piped");
        let lines = follow(stdout, &directory.join("dialog.log"));
        Self { qemu, words, lines, directory: directory.to_owned() }
    }

    /// Sends a word and waits for the section of that name.
    pub(crate) fn ask(&mut self, word: &str, within: Duration) -> Section {
        writeln!(self.words, "{word}").expect("qemu reads its standard input");
        self.wait_for(word, within)
    }

    /// Waits for the whole section `name`; what came before it is skipped.
    pub(crate) fn wait_for(&mut self, name: &str, within: Duration) -> Section {
        self.section(name, within).unwrap_or_else(|reason| panic!("{reason}"))
    }

    fn section(&mut self, name: &str, within: Duration) -> Result<Section, String> {
        let deadline = Instant::now() + within;
        let (begin, end) = (format!("=== begin {name}"), format!("=== end {name} "));
        let mut lines = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).map_err(|reason| self.silence(name, &reason))?;
            if line == begin {
                lines = Some(Vec::new());
            } else if let Some(status) = line.strip_prefix(&end) {
                let status = status.parse().expect("a section ends with an exit code");
                return Ok(Section { lines: lines.unwrap_or_default(), status });
            } else if let Some(lines) = lines.as_mut() {
                lines.push(line);
            }
        }
    }

    fn silence(&self, name: &str, reason: &dyn std::fmt::Display) -> String {
        let console = fs::read(self.directory.join("console.log")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<_> = console.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        format!(
            "no section {name} from the guest: {reason}; its console ended with:\n{}\nmore in {}",
            tail.join("\n"),
            self.directory.display()
        )
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}

/// Joins the kernel's base initramfs with the files of this boot.
fn pack(bed: Bed, params: &Params<'_>, kernel: &Path, directory: &Path) -> PathBuf {
    let parameters = directory.join("parameters");
    fs::create_dir_all(&parameters).expect("the parameter directory can be made");
    let text = format!(
        "BED={bed}\nNODE=guest-{bed}\nAGGREGATOR=https://10.0.2.2:{}\nSERVER_NAME={}\nDEADLINE={}\n",
        params.ingest_port,
        params.server_name,
        LIFETIME.as_secs(),
        bed = bed.name(),
    );
    fs::write(parameters.join("params"), text).expect("the parameters can be written");
    fs::write(parameters.join("token"), params.token).expect("the token can be written");
    fs::copy(params.ca, parameters.join("ca.pem")).expect("the aggregator wrote its CA");

    let packed = directory.join("programs.cpio.gz");
    let status = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/pack"))
        .args([params.agent, &parameters, &packed])
        .status()
        .expect("tests/guest/pack can be run");
    assert!(status.success(), "tests/guest/pack failed: {status}");

    let initramfs = directory.join("initramfs");
    let mut joined = fs::read(kernel.join("base.cpio.gz")).expect("the base initramfs is readable");
    joined.extend(fs::read(packed).expect("the packed programs are readable"));
    fs::write(&initramfs, joined).expect("the initramfs can be written");
    initramfs
}

/// Emulation only: a `/dev/kvm` that exists and hangs is worse than none.
fn qemu_command(bed: Bed, prepared: &Path, kernel: &Path, initramfs: &Path, directory: &Path) -> Command {
    let mut qemu = dies_with_us("qemu-system-x86_64");
    qemu.args("-M q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1024".split(' '))
        .args("-nodefaults -no-user-config -display none -no-reboot".split(' '))
        .args([
            "-serial",
            &format!("file:{}", directory.join("console.log").display()),
        ])
        .args(["-serial", "stdio"])
        .args("-netdev user,id=n0,ipv6=off -device virtio-net-pci,netdev=n0,romfile=".split(' '))
        .args(["-drive", &drive(&prepared.join("disk.ext4"), "readonly=on")])
        .arg("-kernel")
        .arg(kernel.join("vmlinuz"))
        .arg("-initrd")
        .arg(initramfs)
        // Under emulation the local timers of a second CPU are the part that fails on busy cores.
        .args(["-append", "console=ttyS0 panic=-1 quiet nolapic_timer no_timer_check"]);
    if bed == Bed::Systemd {
        qemu.args(["-drive", &drive(&prepared.join("systemd.ext4"), "snapshot=on")]);
    }
    qemu
}

fn drive(image: &Path, option: &str) -> String {
    format!("file={},format=raw,if=virtio,cache=unsafe,{option}", image.display())
}
