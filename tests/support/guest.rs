//! Boots the guests of `tests/guest/` under qemu and speaks with them.
//!
//! A guest has two serial ports: the first is its kernel's console and our programs' log (kept as
//! `console.log`), the second a dialog in lines (kept as `dialog.log`). The host sends a word, the guest answers
//! with a [`Section`]. Every wait has a deadline, and a guest never outlives its [`Guest`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How long a guest lives when nobody ends it; longer than any test may take.
const LIFETIME: Duration = Duration::from_secs(280);

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
    /// Packs the second initramfs and starts qemu. Returns at once; the guest announces itself with the section
    /// `boot`.
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
        let mut qemu = qemu_command(bed, &prepared, &kernel, &initramfs, &directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(directory.join("qemu.log")).expect("qemu's log can be made"))
            .spawn()
            .expect("qemu starts through setpriv");
        let words = qemu.stdin.take().expect("stdin was piped");
        let stdout = qemu.stdout.take().expect("stdout was piped");
        let lines = follow(stdout, &directory.join("dialog.log"));
        Self {
            qemu,
            words,
            lines,
            directory,
        }
    }

    /// Sends a word and waits for the section of that name.
    pub(crate) fn ask(&mut self, word: &str, within: Duration) -> Section {
        writeln!(self.words, "{word}").expect("qemu reads its standard input");
        self.wait_for(word, within)
    }

    /// Waits for the whole section `name`; what came before it is skipped.
    pub(crate) fn wait_for(&mut self, name: &str, within: Duration) -> Section {
        let deadline = Instant::now() + within;
        let (begin, end) = (format!("=== begin {name}"), format!("=== end {name} "));
        let mut lines = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self
                .lines
                .recv_timeout(left)
                .unwrap_or_else(|reason| self.give_up(name, &reason));
            if line == begin {
                lines = Some(Vec::new());
            } else if let Some(status) = line.strip_prefix(&end) {
                let status = status.parse().expect("a section ends with an exit code");
                return Section {
                    lines: lines.unwrap_or_default(),
                    status,
                };
            } else if let Some(lines) = lines.as_mut() {
                lines.push(line);
            }
        }
    }

    fn give_up(&self, name: &str, reason: &dyn std::fmt::Display) -> ! {
        let console = fs::read(self.directory.join("console.log")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let tail: Vec<_> = console.lines().rev().take(20).collect();
        let tail: Vec<_> = tail.into_iter().rev().collect();
        panic!(
            "no section {name} from the guest: {reason}; its console ended with:\n{}\nmore in {}",
            tail.join("\n"),
            self.directory.display()
        );
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
        .args(["-append", "console=ttyS0 panic=-1 quiet"]);
    if bed == Bed::Systemd {
        qemu.args(["-drive", &drive(&prepared.join("systemd.ext4"), "snapshot=on")]);
    }
    qemu
}

fn drive(image: &Path, option: &str) -> String {
    format!(
        "file={},format=raw,if=virtio,cache=unsafe,{option}",
        image.display()
    )
}

/// Pod UIDs with the names of their containers.
pub(crate) type Names = BTreeMap<String, BTreeSet<String>>;

/// One container as the guest made it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) workload: String,
    pub(crate) qos: String,
    pub(crate) pod_uid: String,
    pub(crate) id: String,
    pub(crate) path: String,
}

impl Made {
    pub(crate) fn name(&self) -> &str {
        &self.id[..12]
    }
}

/// What the guest said it made.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) containers: Vec<Made>,
}

impl Tree {
    pub(crate) fn parse(section: &Section) -> Self {
        let containers = section.lines.iter().filter_map(|line| {
            let mut words = line.strip_prefix("container ")?.split(' ').map(str::to_owned);
            let mut word = || words.next().expect("a container line has five words");
            Some(Made {
                workload: word(),
                qos: word(),
                pod_uid: word(),
                id: word(),
                path: word(),
            })
        });
        let containers: Vec<_> = containers.collect();
        assert_eq!(containers.len(), 5, "unexpected tree: {section:?}");
        Self { containers }
    }

    pub(crate) fn container(&self, workload: &str) -> &Made {
        self.containers
            .iter()
            .find(|made| made.workload == workload)
            .expect("a workload of the guest")
    }

    pub(crate) fn names(&self) -> Names {
        let mut names = Names::new();
        for made in &self.containers {
            names
                .entry(made.pod_uid.clone())
                .or_default()
                .insert(made.name().to_owned());
        }
        names
    }
}

/// The kernel's own figures for one cgroup, as busybox read them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) usage: u64,
    pub(crate) inactive_file: u64,
}

impl Kernel {
    pub(crate) fn working_set(self) -> u64 {
        self.usage.saturating_sub(self.inactive_file)
    }
}

/// One reading of every cgroup of the guest.
#[derive(Debug)]
pub(crate) struct Report(BTreeMap<String, Kernel>);

impl Report {
    pub(crate) fn parse(section: &Section) -> Self {
        let figures = section.lines.iter().filter_map(|line| {
            let mut words = line.split(' ');
            let (_kind, path) = (words.next()?, words.next()?);
            let values: BTreeMap<_, _> = words.filter_map(|word| word.split_once('=')).collect();
            let value = |key: &str| values.get(key)?.parse().ok();
            Some((
                path.to_owned(),
                Kernel {
                    usage: value("usage")?,
                    inactive_file: value("inactive_file")?,
                },
            ))
        });
        Self(figures.collect())
    }

    pub(crate) fn at(&self, path: &str) -> Result<Kernel, String> {
        self.0
            .get(path)
            .copied()
            .ok_or_else(|| format!("the guest did not report {path}"))
    }
}
