// Upstream: supervised_tests, supervision, supervisor
// Downstream: restart_policy, vitals
// Role: The future that runs one actor, catches its panics, restarts it and escalates after repeated failures.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use tokio::time::Instant;

use actix::dev::{ContextFut, channel};
use actix::prelude::*;
use actix_rt::time::Sleep;

use crate::supervision::Vitals;
use crate::supervision::restart_policy::{FailureRecord, RestartPolicy};

/// An actor failed more often than its policy allows. The worker drains, reports the error and exits with a non-zero
/// code.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ActorGaveUp {
    /// The actor's name.
    pub actor: &'static str,
    /// The text of the last failure.
    pub reason: String,
}

/// Mailbox capacity for `send` and `try_send`. `do_send` ignores it; permits limit the producers instead.
const MAILBOX_CAPACITY: usize = 16;

/// Starts an actor on an arbiter, or beside the caller if there is none, and keeps it running.
///
/// It catches a panic in a handler, in a future spawned on the actor or in an interval. The address and the queued
/// messages are kept. After a back-off, `Supervised::restarting` resets the state, and `started` sets the timers again.
/// The message that caused the panic is lost. Its contents report the loss when they are dropped (see `TaskGuard` and
/// [`crate::ports::Delivery`]). A panic does not call `stopping` and `stopped`.
pub fn supervise<A, F>(
    arbiter: Option<&ArbiterHandle>,
    vitals: Vitals,
    policy: RestartPolicy,
    escalation: Recipient<ActorGaveUp>,
    build: F,
) -> Addr<A>
where
    A: Supervised + Actor<Context = Context<A>>,
    F: FnOnce(Vitals) -> A + Send + 'static,
{
    let (sender, receiver) = channel::channel(MAILBOX_CAPACITY);
    let name = vitals.actor().name;
    let start = move || {
        let context = Context::with_receiver(receiver);
        let actor = build(vitals.clone());
        let supervised = SupervisedActor {
            running: context.into_future(actor),
            waiting: None,
            failures: FailureRecord::new(policy),
            vitals,
        };
        actix_rt::spawn(async move {
            if let Some(gave_up) = supervised.await {
                escalation.do_send(gave_up);
            }
        });
    };
    match arbiter {
        None => start(),
        Some(arbiter) => {
            if !arbiter.spawn_fn(start) {
                tracing::error!(actor = name, "actor not started: its arbiter has stopped");
            }
        }
    }
    Addr::new(sender)
}

struct SupervisedActor<A>
where
    A: Supervised + Actor<Context = Context<A>>,
{
    running: ContextFut<A, Context<A>>,
    waiting: Option<Pin<Box<Sleep>>>,
    failures: FailureRecord,
    vitals: Vitals,
}

// No field is structurally pinned: the context's future is polled through a new `Pin::new`.
impl<A: Supervised + Actor<Context = Context<A>>> Unpin for SupervisedActor<A> {}

impl<A> SupervisedActor<A>
where
    A: Supervised + Actor<Context = Context<A>>,
{
    /// Records a failure and starts the wait until the restart. Returns a value if the actor is given up.
    fn failed(&mut self, reason: &str) -> Option<ActorGaveUp> {
        let actor = self.vitals.actor();
        actor.set_down(true);
        self.vitals.board().record_error(&format!("actor {} failed: {reason}", actor.name));
        match self.failures.record(Instant::now()) {
            Some(delay) => {
                actor.restarts.add(1);
                tracing::error!(actor = actor.name, reason, restart_in = ?delay, "actor failed and will be restarted");
                self.waiting = Some(Box::pin(actix_rt::time::sleep(delay)));
                None
            }
            None => {
                tracing::error!(actor = actor.name, reason, "actor keeps failing; the worker stops");
                Some(ActorGaveUp { actor: actor.name, reason: reason.to_owned() })
            }
        }
    }
}

impl<A> Future for SupervisedActor<A>
where
    A: Supervised + Actor<Context = Context<A>>,
{
    /// `None` if no address of the actor exists any more; this is the regular end of an actor.
    type Output = Option<ActorGaveUp>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let outcome = if let Some(wait) = this.waiting.as_mut() {
                if wait.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.waiting = None;
                catch_unwind(AssertUnwindSafe(|| if this.running.restart() { Poll::Pending } else { Poll::Ready(()) }))
                    .map(|step| match step {
                        Poll::Pending => Step::Restarted,
                        Poll::Ready(()) => Step::Finished,
                    })
            } else {
                catch_unwind(AssertUnwindSafe(|| Pin::new(&mut this.running).poll(cx))).map(|step| match step {
                    Poll::Pending => Step::Waits,
                    Poll::Ready(()) => Step::Stopped,
                })
            };
            let gave_up = match outcome {
                Ok(Step::Waits) => return Poll::Pending,
                Ok(Step::Finished) => return Poll::Ready(None),
                Ok(Step::Restarted) => {
                    tracing::info!(actor = this.vitals.actor().name, "actor restarted");
                    None
                }
                Ok(Step::Stopped) => this.failed("the actor stopped by itself"),
                Err(panic) => this.failed(&panic_text(panic.as_ref())),
            };
            if gave_up.is_some() {
                return Poll::Ready(gave_up);
            }
        }
    }
}

enum Step {
    Waits,
    Restarted,
    Stopped,
    Finished,
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("(no text)"))
}
