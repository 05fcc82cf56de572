//! A thread with a runtime of its own, for tasks that are to stay together.

use std::{future::Future, io, sync::mpsc, thread};

use tokio::{
    runtime::{Builder, Handle},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A thread for the tasks that are spawned on it and for what they spawn themselves. It ends when this is dropped, whatever
/// tasks are left.
#[derive(Debug)]
pub(super) struct Thread {
    runtime: Handle,
    _until_dropped: DropGuard,
}

impl Thread {
    /// Starts a thread that does nothing yet.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let mut runtime = Builder::new_current_thread();
        runtime.enable_all();
        Self::of(name, runtime)
    }

    /// The same with a runtime as `builder` makes it, which is to be one of a single thread.
    pub(super) fn of(name: &str, mut builder: Builder) -> io::Result<Self> {
        let dropped = CancellationToken::new();
        let until_dropped = dropped.clone().drop_guard();
        let (tell, told) = mpsc::sync_channel(1);
        // Made there: a runtime must not be dropped among tasks, as it would be here if there can be no more threads.
        let run = move || match builder.build() {
            Ok(runtime) => {
                let _ = tell.send(Ok(runtime.handle().clone()));
                runtime.block_on(dropped.cancelled());
                // A name that is being looked up cannot be waited for: that may take as long as a resolver likes.
                runtime.shutdown_background();
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(run)?;
        let runtime = told.recv().map_err(io::Error::other)??;
        Ok(Self { runtime, _until_dropped: until_dropped })
    }

    /// Runs a task there. It goes on when nobody waits for its end.
    pub(super) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }

    /// Runs a last task there, and ends with it.
    pub(super) async fn run(self, task: impl Future<Output = ()> + Send + 'static) {
        // One that panicked has ended too.
        let _ = self.spawn(task).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_and_what_it_spawns_stay_on_the_thread_until_it_is_dropped() {
        let thread = Thread::start("own").unwrap();
        let name = || thread::current().name().map(str::to_owned);
        let names = thread.spawn(async move { (name(), tokio::spawn(async move { name() }).await.unwrap()) });
        assert_eq!(names.await.unwrap(), (Some("own".to_owned()), Some("own".to_owned())));

        let endless = thread.spawn(std::future::pending::<()>());
        drop(thread);
        assert!(endless.await.unwrap_err().is_cancelled());
    }
}
