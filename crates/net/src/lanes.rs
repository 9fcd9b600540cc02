//! Lanes: threads that serve connections, each with a runtime of its own.
//!
//! A proxied request is a dozen short steps that hand over to each other: read, parse, write, wake. On a
//! runtime that shares its tasks among threads, many of those steps cross from one core to another, and each
//! crossing costs more than the step. A connection therefore stays on the lane that it was given when it
//! was accepted, together with the connections to model servers that its requests use.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Running lanes. Dropping them ends every task on them.
pub struct Lanes {
    lanes: Vec<Lane>,
    threads: Vec<Thread>,
}

/// Where tasks of one lane are started.
#[derive(Clone)]
pub struct Lane {
    handle: Handle,
    /// Connections being served.
    load: Arc<AtomicUsize>,
}

struct Thread {
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Counts one connection for as long as it lives.
pub(crate) struct Carried(Arc<AtomicUsize>);

impl Lanes {
    /// Starts `count` lanes, at least one.
    pub fn start(count: usize) -> io::Result<Self> {
        let mut lanes = Self { lanes: Vec::new(), threads: Vec::new() };
        for number in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let handle = runtime.handle().clone();
            let (stop, stopped) = oneshot::channel::<()>();
            let run = move || {
                // An error is the sender being dropped, which is how it is told to stop.
                let _ = runtime.block_on(stopped);
            };
            let thread = std::thread::Builder::new().name(format!("lane-{number}")).spawn(run)?;
            lanes.lanes.push(Lane { handle, load: Arc::default() });
            lanes.threads.push(Thread { stop: Some(stop), thread: Some(thread) });
        }
        Ok(lanes)
    }

    /// Each lane.
    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter()
    }
}

impl Lane {
    /// The runtime that this is called on, as a lane.
    pub fn here() -> Self {
        Self { handle: Handle::current(), load: Arc::default() }
    }

    /// Runs a task on the lane for as long as the lane lives.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    pub(crate) fn carry(&self) -> Carried {
        self.load.fetch_add(1, Ordering::Relaxed);
        Carried(self.load.clone())
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.stop.take();
        }
        for thread in &mut self.threads {
            if let Some(thread) = thread.thread.take() {
                // A lane that panicked has nothing more to say than its own message.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_task_stays_on_its_lane_and_ends_with_it() {
        let lanes = Lanes::start(2).unwrap();
        let (send, receive) = mpsc::sync_channel(4);
        struct Tell(mpsc::SyncSender<Option<std::thread::ThreadId>>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.send(None);
            }
        }
        for lane in lanes.iter() {
            let tell = Tell(send.clone());
            lane.handle().spawn(async move {
                let _ = tell.0.send(Some(std::thread::current().id()));
                std::future::pending::<()>().await;
                drop(tell);
            });
        }
        let (one, two) = (receive.recv().unwrap(), receive.recv().unwrap());
        assert!(one.is_some() && two.is_some() && one != two, "each on a thread of its own");
        drop(lanes);
        assert_eq!((receive.recv(), receive.recv()), (Ok(None), Ok(None)), "what still ran was dropped");
    }

    #[test]
    fn a_lane_knows_what_it_carries() {
        let lanes = Lanes::start(0).unwrap();
        let lane = lanes.iter().next().unwrap();
        let carried = (lane.carry(), lane.carry());
        assert_eq!(lane.load(), 2);
        drop(carried);
        assert_eq!(lane.load(), 0);
    }
}
