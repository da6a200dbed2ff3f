//! Runs code that is not trusted to return.
//!
//! The video decoders are young and eat bytes that anybody may have made. A panic in one is caught here and becomes
//! an error. An endless loop cannot be stopped from outside in Rust, so the decoder runs on a thread of its own that
//! reports after every picture; when it is silent for too long, the caller gets an error and goes on, and that one
//! thread is abandoned. It holds no lock and nobody waits for it; should it ever report again, the channel is closed
//! and it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// What the supervised thread says.
enum Report<T> {
    /// Still working.
    Alive,
    /// Something for the caller.
    Item(T),
    /// Finished, or failed with a message.
    End(Result<(), String>),
}

/// The supervised thread's way to report.
pub(crate) struct Reporter<T>(SyncSender<Report<T>>);

/// The caller has given up.
pub(crate) struct Abandoned;

impl<T> Reporter<T> {
    /// Says that work goes on.
    pub(crate) fn alive(&self) -> Result<(), Abandoned> {
        self.0.send(Report::Alive).map_err(|_| Abandoned)
    }

    /// Hands over a result.
    pub(crate) fn item(&self, item: T) -> Result<(), Abandoned> {
        self.0.send(Report::Item(item)).map_err(|_| Abandoned)
    }
}

/// Items in flight: one being taken while the next is made.
const IN_FLIGHT: usize = 1;

/// Runs `work` on a thread and passes each of its items to `receive`.
///
/// # Errors
/// What `work` answered, its panic, or which of the two deadlines passed.
pub(crate) fn supervise<T: Send + 'static>(
    per_report: Duration,
    whole: Duration,
    work: impl FnOnce(&Reporter<T>) -> Result<(), String> + Send + 'static,
    receive: impl FnMut(T),
) -> Result<(), String> {
    let (sender, receiver) = sync_channel(IN_FLIGHT);
    let body = move || {
        let reporter = Reporter(sender);
        let result = catch_unwind(AssertUnwindSafe(|| work(&reporter)));
        let end = result.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("the decoder panicked: {}", text.unwrap_or_default()))
        });
        // A closed channel means that the caller has given up and needs no answer.
        let _ = reporter.0.send(Report::End(end));
    };
    let spawned = thread::Builder::new().name("video-decode".to_owned()).spawn(body);
    spawned.map_err(|error| format!("no thread for the decoder: {error}"))?;
    listen(&receiver, per_report, whole, receive)
}

fn listen<T>(
    receiver: &Receiver<Report<T>>,
    per_report: Duration,
    whole: Duration,
    mut receive: impl FnMut(T),
) -> Result<(), String> {
    let start = Instant::now();
    let late = || format!("decoding took longer than {} s", whole.as_secs_f32());
    loop {
        let left = whole.checked_sub(start.elapsed()).ok_or_else(late)?;
        match receiver.recv_timeout(per_report.min(left)) {
            Ok(Report::Alive) => {}
            Ok(Report::Item(item)) => receive(item),
            Ok(Report::End(end)) => return end,
            Err(RecvTimeoutError::Timeout) if left < per_report => return Err(late()),
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("one picture took longer than {} s", per_report.as_secs_f32()));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the decoder ended without an answer".to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(100);

    #[test]
    fn items_arrive_in_order_and_the_answer_last() {
        let mut seen = Vec::new();
        let work = |reporter: &Reporter<u32>| {
            for value in 0..10 {
                reporter.alive().map_err(|_| "abandoned".to_owned())?;
                reporter.item(value).map_err(|_| "abandoned".to_owned())?;
            }
            Err("enough".to_owned())
        };
        let end = supervise(LONG, LONG, work, |value| seen.push(value));
        assert_eq!((end, seen), (Err("enough".to_owned()), (0..10).collect()));
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let end = supervise::<()>(LONG, LONG, |_| panic!("bad index {}", 7), |()| {});
        assert_eq!(end, Err("the decoder panicked: bad index 7".to_owned()));
    }

    #[test]
    fn silence_ends_at_the_deadline_and_the_thread_learns_of_it() {
        let (done, finished) = sync_channel(1);
        let work = move |reporter: &Reporter<()>| {
            thread::sleep(4 * SHORT);
            // The first report may find room in the channel; the caller is gone all the same.
            let told = reporter.alive().is_err() || reporter.alive().is_err();
            done.send(told).map_err(|error| error.to_string())
        };
        let end = supervise(SHORT, LONG, work, |()| {});
        assert_eq!(end, Err("one picture took longer than 0.1 s".to_owned()));
        assert_eq!(finished.recv_timeout(LONG), Ok(true));
    }

    #[test]
    fn endless_reports_end_at_the_whole_deadline() {
        let work = |reporter: &Reporter<()>| {
            while reporter.alive().is_ok() {}
            Ok(())
        };
        let end = supervise(LONG, SHORT, work, |()| {});
        assert_eq!(end, Err("decoding took longer than 0.1 s".to_owned()));
    }
}
