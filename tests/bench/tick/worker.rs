//! The process in each measured cgroup: this program again, in another role.

use std::{
    hint::black_box,
    io::Read as _,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::getppid;

/// The argument that asks for this role.
pub(crate) const WORD: &str = "worker";

/// A worker holds so much memory, and makes it anew each time.
const BYTES: usize = 256 << 10;

/// How often it works: a tenth of a millisecond each time.
const EVERY: Duration = Duration::from_secs(1);

/// Waits for its cgroup, then works a little every second until it is killed or alone: counters of each cgroup move
/// between two sweeps, and its memory is charged and uncharged.
pub(crate) fn run() {
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let parent = getppid();
    let mut _memory = Vec::new();
    for turn in (0..=u8::MAX).cycle().take_while(|_| getppid() == parent) {
        _memory = black_box(vec![turn; BYTES]);
        thread::sleep(EVERY);
    }
}

/// A worker; killed when dropped.
#[derive(Debug)]
pub(crate) struct Worker(Child);

impl Worker {
    /// Starts one and has it moved before it does anything.
    pub(crate) fn start(adopt: impl FnOnce(&Child)) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg(WORD).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stdin = child.stdin.take();
        adopt(&child);
        // It waits for the end of its input.
        drop(stdin);
        Self(child)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
