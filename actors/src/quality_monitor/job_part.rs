// Upstream: command_router, quality_monitor
// Downstream: domain, messages
// Role: A command as part of its job.

use std::sync::Arc;

use actix::prelude::*;

use crate::domain::JobKey;
use crate::quality_monitor::{JobCommandBegun, JobCommandEnded};

/// A command's part in its job. However the command ends, dropping this says so.
pub struct JobPart {
    job: Arc<JobKey>,
    ended: Recipient<JobCommandEnded>,
}

impl JobPart {
    /// The command begins.
    pub fn begin(job: JobKey, begun: &Recipient<JobCommandBegun>, ended: Recipient<JobCommandEnded>) -> Self {
        let job = Arc::new(job);
        begun.do_send(JobCommandBegun(job.clone()));
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
