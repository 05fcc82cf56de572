//! Several who read everything at one time, each over a connection of its own, and one who reads the pods of one
//! application beside them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    Form, Options, PODS, application,
    client::{Got, Server},
    distribution,
    figure::Figures,
    millis, permille,
};

const PODS_LISTED: usize = 30_000;

/// Lists of everything by each reader.
const EACH: usize = 3;

/// Between two lists of one application.
const PAUSE: Duration = Duration::from_millis(1);

/// Everything at one time by so many as the options say.
pub(crate) async fn run(figures: &mut Figures, options: &Options) {
    for form in [Form::Json, Form::JsonGzip, Form::Protobuf] {
        for &readers in &options.readers {
            together(figures, form, readers).await;
        }
    }
}

async fn together(figures: &mut Figures, form: Form, readers: usize) {
    let server = Arc::new(Server::start(PODS_LISTED).await);
    let mut connections = Vec::new();
    for _ in 0..readers {
        connections.push(server.connect().await);
    }
    let beside = Beside::begin(&server);
    let (before, begun) = (server.memory_now(), Instant::now());
    let mut reading = JoinSet::new();
    for mut connection in connections {
        reading.spawn(async move {
            let mut all = Vec::new();
            for _ in 0..EACH {
                all.push(connection.get(PODS, form.accept(), form.is_gzip()).await);
            }
            all
        });
    }
    let all: Vec<Got> = reading.join_all().await.into_iter().flatten().collect();
    let took = begun.elapsed();
    let extra = server.memory_peak().saturating_sub(before);
    let small = beside.end();
    let what = format!("{readers} readers of {PODS_LISTED} pods, {}", form.name());
    figures.say(format!("{what}: last byte p50"), millis(permille(&all, 500, |got| got.last)), "ms");
    figures.say(
        format!("{what}: last byte, the slowest"),
        millis(permille(&all, 1000, |got| got.last)),
        "ms",
    );
    figures.say(format!("{what}: all of them, for each list"), millis(took) / all.len() as f64, "ms");
    figures.say(format!("{what}: peak extra memory"), extra as f64 / f64::from(1 << 20), "MiB");
    distribution(figures, &format!("{what}: one application beside them"), &small, false);
}

/// One who reads one application after the other. On a thread of its own, so that it does not wait for the client's other
/// readers.
struct Beside {
    is_over: Arc<AtomicBool>,
    reading: JoinHandle<Vec<Got>>,
}

impl Beside {
    fn begin(server: &Arc<Server>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (server, over) = (Arc::clone(server), Arc::clone(&is_over));
        let reading = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut connection = server.connect().await;
                let mut all = Vec::new();
                while all.is_empty() || !over.load(Ordering::Relaxed) {
                    all.push(application(&mut connection, PODS_LISTED, all.len(), Form::Json).await);
                    tokio::time::sleep(PAUSE).await;
                }
                all
            })
        });
        Self { is_over, reading }
    }

    fn end(self) -> Vec<Got> {
        self.is_over.store(true, Ordering::Relaxed);
        self.reading.join().unwrap()
    }
}
