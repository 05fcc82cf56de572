//! Real containers of this machine: a containerd and runc of the test's own, with their own root, state and socket.
//!
//! The daemon, its shims and all containers live in a process namespace that ends with the daemon, and the daemon ends
//! with the test, however it ends. Their cgroups lie below a name that the test gives, and that it removes.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::program::{dies_with_us, wait_until};

/// A daemon that is just starting, on cores that may be busy.
const START: Duration = Duration::from_secs(30);

/// Where the image's only program comes from (Debian's busybox-static).
const BUSYBOX: &str = "/usr/bin/busybox";

const TOOLS: [&str; 5] = ["sh", "sleep", "cat", "true", "dd"];

/// A running containerd. Dropping it ends it and everything that it runs.
#[derive(Debug)]
pub(crate) struct Containerd {
    daemon: Child,
    socket: PathBuf,
    image: PathBuf,
}

impl Containerd {
    /// Starts one with its files in a directory of its own.
    pub(crate) fn start(directory: &Path) -> Self {
        let path = |name: &str| directory.join(name);
        for name in ["root", "state", "image/bin"] {
            fs::create_dir_all(path(name)).expect("the temporary directory is writable");
        }
        fs::copy(BUSYBOX, path("image/bin/busybox"))
            .unwrap_or_else(|error| panic!("{BUSYBOX}: {error}: busybox-static is needed"));
        for tool in TOOLS {
            symlink("busybox", path("image/bin").join(tool)).expect("the temporary directory is writable");
        }
        let config = format!(
            "version = 2\nroot = '{}'\nstate = '{}'\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = '{}'\n",
            path("root").display(),
            path("state").display(),
            path("socket").display()
        );
        fs::write(path("config.toml"), config).expect("the temporary directory is writable");
        let log = fs::File::create(path("log")).expect("the temporary directory is writable");
        // Sockets of shims have a fixed place below /run.
        let daemon = dies_with_us("unshare")
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"])
            .arg("mount -t tmpfs run /run && exec containerd --config \"$0\"")
            .arg(path("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unshare starts");
        let containerd = Self { daemon, socket: path("socket"), image: path("image") };
        wait_until("containerd answers", START, || {
            let output = containerd.ctr().args(["version"]).output().expect("ctr is installed");
            let log = || fs::read_to_string(path("log")).unwrap_or_default();
            output.status.success().then_some(()).ok_or_else(log)
        });
        containerd
    }

    fn ctr(&self) -> Command {
        let mut command = dies_with_us("ctr");
        command.arg("--address").arg(&self.socket).args(["--namespace", "k8s.io"]);
        command
    }

    /// Runs a container with this id in this cgroup: a shell with a script.
    pub(crate) fn run(&self, id: &str, cgroup: &str, script: &str) {
        let output = self
            .ctr()
            .args(["run", "--detach", "--null-io", "--rootfs", "--cgroup", cgroup])
            .arg(&self.image)
            .args([id, "/bin/sh", "-c", script])
            .output()
            .expect("ctr is installed");
        assert!(output.status.success(), "{id}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Kills a container and removes it with its cgroup.
    pub(crate) fn remove(&self, id: &str) {
        let output = self.ctr().args(["task", "delete", "--force", id]).output().expect("ctr is installed");
        assert!(output.status.success(), "{id}: {}", String::from_utf8_lossy(&output.stderr));
        let output = self.ctr().args(["container", "delete", id]).output().expect("ctr is installed");
        assert!(output.status.success(), "{id}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}
