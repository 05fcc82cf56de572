//! A network of a test's own: hosts with addresses of their own on one switch, each a network namespace of the kernel.
//!
//! The namespaces have no names, and live as long as a process that holds them; that process ends when the test does,
//! however it ends, and with it the namespaces, their devices and their rules. Nothing of the machine's own network is
//! touched. Needs root, `ip`, `nsenter`, `unshare` and `iptables`. Leaves out delay and loss: this kernel has no netem.
#![allow(dead_code, reason = "each test target that includes this uses a part of it")]

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::program::dies_with_us;

const BRIDGE: &str = "kvt-switch";

/// A network namespace.
#[derive(Debug)]
struct Namespace {
    holder: Child,
}

impl Namespace {
    fn new() -> Self {
        // It ends when its standard input does: with us.
        let mut holder = dies_with_us("unshare")
            .args(["--net", "sh", "-c", "echo ready; exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the holder speaks");
        assert_eq!(line, "ready\n", "no network namespace: root is needed, or KUBEVITALS_SKIP=root");
        Self { holder }
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.id()))
    }

    /// A command in this namespace, whose process is the program's own.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = dies_with_us("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program.as_ref());
        command
    }

    fn run(&self, line: &str) {
        let mut words = line.split(' ');
        let output = self.command(words.next().expect("a program")).args(words).output();
        let output = output.expect("nsenter starts");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

/// A switch that hosts are plugged into.
#[derive(Debug)]
pub(crate) struct Network {
    switch: Namespace,
}

impl Network {
    pub(crate) fn new() -> Self {
        let switch = Namespace::new();
        switch.run(&format!("ip link add {BRIDGE} type bridge"));
        switch.run(&format!("ip link set {BRIDGE} up"));
        Self { switch }
    }

    /// A host at 10.77.0.`number`.
    pub(crate) fn host(&self, number: u8) -> Host {
        let (namespace, port) = (Namespace::new(), format!("kvt-{number}"));
        let address = Ipv4Addr::new(10, 77, 0, number);
        let holder = namespace.holder.id();
        self.switch.run(&format!("ip link add {port} type veth peer name eth0 netns {holder}"));
        self.switch.run(&format!("ip link set {port} master {BRIDGE} up"));
        namespace.run("ip link set lo up");
        namespace.run(&format!("ip address add {address}/24 dev eth0"));
        namespace.run("ip link set eth0 up");
        Host { namespace, address, port }
    }

    /// Pulls a host's cable out, without a word to anyone, or plugs it in again.
    pub(crate) fn plug(&self, host: &Host, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        self.switch.run(&format!("ip link set {} {state}", host.port));
    }
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    namespace: Namespace,
    pub(crate) address: Ipv4Addr,
    /// The switch's end of its cable.
    port: String,
}

impl Host {
    /// A command on this host.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        self.namespace.command(program)
    }

    /// The same, that resolves names as this file says instead of `/etc/resolv.conf`.
    pub(crate) fn command_with_resolver(&self, resolver: &Path, program: impl AsRef<Path>) -> Command {
        let mut command = self.namespace.command("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"")
            .arg(resolver)
            .arg(program.as_ref());
        command
    }

    /// Moves the calling thread to this host, and with it every thread and process that it starts from now on.
    pub(crate) fn enter(&self) {
        let namespace = File::open(self.namespace.path()).expect("the namespace is held");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may change namespaces");
    }

    /// Drops everything that comes from another host, while what is sent to it arrives; or no longer.
    pub(crate) fn deafen(&self, to: &Self, is_deaf: bool) {
        let verb = if is_deaf { "-A" } else { "-D" };
        self.namespace.run(&format!("iptables --wait {verb} INPUT -s {} -j DROP", to.address));
    }
}
