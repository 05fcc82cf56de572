//! A name server that knows one name, and that goes wrong on command. Real DNS over UDP, as a cluster's.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The headless Service that agents stream to, and its full name.
pub(crate) const INGEST: &str = "kubevitals-ingest.kubevitals.svc";
const FULL: &str = "kubevitals-ingest.kubevitals.svc.cluster.local";

/// How it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mood {
    /// With these addresses.
    Right(BTreeSet<Ipv4Addr>),
    /// There is no such name.
    NoSuchName,
    /// It failed (`SERVFAIL`).
    Failing,
    /// Not at all.
    Silent,
}

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct NameServer {
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts it on the calling thread's host.
    pub(crate) fn start(address: Ipv4Addr, known: &[Ipv4Addr]) -> Self {
        let socket = UdpSocket::bind((address, 53)).expect("the port of DNS is free on this host");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a valid limit");
        let mood = Arc::new(Mutex::new(Mood::Right(known.iter().copied().collect())));
        let (asked, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (mood, asked, stop) = (Arc::clone(&mood), Arc::clone(&asked), Arc::clone(&stop));
            thread::spawn(move || {
                let mut query = [0; 512];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                    asked.fetch_add(1, Ordering::Relaxed);
                    let mood = mood.lock().unwrap().clone();
                    if let Some(answer) = answer(&query[..length], &mood) {
                        drop(socket.send_to(&answer, from));
                    }
                }
            })
        };
        Self { mood, asked, stop, thread: Some(thread) }
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many questions came so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The resolver's file of a pod in a cluster with this name server.
pub(crate) fn resolver(directory: &Path, server: Ipv4Addr) -> PathBuf {
    let path = directory.join("resolv.conf");
    let text = format!(
        "nameserver {server}\nsearch kubevitals.svc.cluster.local svc.cluster.local cluster.local\n\
         options ndots:5\n"
    );
    fs::write(&path, text).expect("the temporary directory is writable");
    path
}

/// RFC 1035: header and question as asked, then the answers. None for silence.
fn answer(query: &[u8], mood: &Mood) -> Option<Vec<u8>> {
    let (name, end) = question(query)?;
    let is_known = name.eq_ignore_ascii_case(FULL);
    let asks_for_ipv4 = query.get(end - 4..end)? == [0, 1, 0, 1];
    let (code, addresses) = match mood {
        Mood::Silent => return None,
        Mood::Failing => (2, vec![]),
        Mood::Right(known) if is_known && asks_for_ipv4 => (0, known.iter().copied().collect()),
        Mood::Right(_) if is_known => (0, vec![]),
        Mood::Right(_) | Mood::NoSuchName => (3, vec![]),
    };
    let mut text = query[..2].to_vec();
    let count = u8::try_from(addresses.len()).expect("few addresses");
    // A response, recursion wanted and to be had; one question.
    text.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    text.extend(&query[12..end]);
    for address in addresses {
        // The name of the question, A, IN, five seconds.
        text.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        text.extend(address.octets());
    }
    Some(text)
}

/// The name that is asked for, and where the question ends.
fn question(query: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).into_owned());
        at += length;
    }
    Some((labels.join("."), at + 4))
}
