// Upstream: supervised_tests, supervision, supervisor
// Downstream: restart_policy, vitals
// Role: The future that runs one actor, catches its panics, restarts it and escalates when it keeps failing.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use actix::dev::{ContextFut, channel};
use actix::prelude::*;
use actix_rt::time::Sleep;

use crate::supervision::Vitals;
use crate::supervision::restart_policy::{FailureRecord, RestartPolicy};

/// An actor failed more often than its policy allows. The worker drains, reports and exits non-zero.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ActorGaveUp {
    /// The actor.
    pub actor: &'static str,
    /// The last failure in words.
    pub reason: String,
}

/// Room of a mailbox for `send` and `try_send`. `do_send` ignores it: producers are bounded by permits instead.
const MAILBOX_CAPACITY: usize = 16;

/// Starts an actor on an arbiter and keeps it running.
///
/// A panic in a handler, in a future spawned on the actor or in an interval is caught; the address and the queued
/// messages are kept; `Supervised::restarting` resets the state after a back-off; timers are set again by `started`.
/// The message at which it panicked is lost to the actor: what it carried reports that itself (see
/// `TaskGuard` and [`crate::ports::Delivery`]). `stopping` and `stopped` are not called for a panic.
pub fn supervise<A, F>(
    arbiter: &ArbiterHandle,
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
    let spawned = arbiter.spawn_fn(move || {
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
    });
    if !spawned {
        tracing::error!(actor = name, "the arbiter does not run any more; the actor is not started");
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

// Nothing in it is pinned structurally: the context's future is polled through a fresh `Pin::new`.
impl<A: Supervised + Actor<Context = Context<A>>> Unpin for SupervisedActor<A> {}

impl<A> SupervisedActor<A>
where
    A: Supervised + Actor<Context = Context<A>>,
{
    /// Sets the wait until the restart, or says that it is time to give up.
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
                tracing::error!(actor = actor.name, reason, "actor keeps failing; the worker gives up");
                Some(ActorGaveUp { actor: actor.name, reason: reason.to_owned() })
            }
        }
    }
}

impl<A> Future for SupervisedActor<A>
where
    A: Supervised + Actor<Context = Context<A>>,
{
    /// `None` when nobody holds an address any more, which is how an actor ends in order.
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
