// Upstream: command_router, quality_monitor
// Downstream: domain, messages
// Role: Reports the begin and the end of a command to the QualityMonitor, for the report of its job.

use std::sync::Arc;

use actix::prelude::*;

use crate::domain::JobKey;
use crate::quality_monitor::{JobCommandBegun, JobCommandEnded};

/// The membership of a command in its job. Dropping it reports the end of the command, however the command ends.
pub struct JobPart {
    job: Arc<JobKey>,
    ended: Recipient<JobCommandEnded>,
}

impl JobPart {
    /// Reports the begin of the command.
    pub fn begin(
        begun: JobCommandBegun,
        listener: &Recipient<JobCommandBegun>,
        ended: Recipient<JobCommandEnded>,
    ) -> Self {
        let job = begun.job.clone();
        listener.do_send(begun);
        Self { job, ended }
    }

    /// The job.
    pub fn job(&self) -> Arc<JobKey> {
        self.job.clone()
    }
}

impl Drop for JobPart {
    fn drop(&mut self) {
        self.ended.do_send(JobCommandEnded(self.job.clone()));
    }
}
