//! A thread with a runtime of its own, for tasks that are to stay together.

use std::{future::Future, io, thread};

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
        Self::of(name, Builder::new_current_thread().enable_all())
    }

    /// The same with a runtime as `builder` makes it, which is to be one of a single thread.
    pub(super) fn of(name: &str, builder: &mut Builder) -> io::Result<Self> {
        let runtime = builder.build()?;
        let (handle, dropped) = (runtime.handle().clone(), CancellationToken::new());
        let until_dropped = dropped.clone().drop_guard();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(dropped.cancelled());
            // A name that is being looked up cannot be waited for: that may take as long as a resolver likes.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, _until_dropped: until_dropped })
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
