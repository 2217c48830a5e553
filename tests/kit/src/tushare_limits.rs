// Upstream: benches::pipeline, kit::bin::baostock_server, tests::it, tushare_server
// Downstream: none
// Role: Tushare's limits: each interface is counted by itself, per minute, hour or day.

use std::time::Duration;

/// The period in which the vendor counts calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// 60 seconds.
    Minute,
    /// 60 minutes.
    Hour,
    /// 24 hours.
    Day,
}

impl Window {
    pub(crate) fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        })
    }
}

/// The limit of one interface.
#[derive(Debug, Clone)]
pub struct InterfaceLimit {
    /// The interface, such as `daily`.
    pub interface: &'static str,
    /// The period.
    pub window: Window,
    /// Calls allowed in the period.
    pub calls: u32,
}

impl InterfaceLimit {
    /// A limit of this interface.
    pub fn new(interface: &'static str, window: Window, calls: u32) -> Self {
        Self { interface, window, calls }
    }

    /// The vendor's text for a call beyond the limit.
    pub(crate) fn text(&self) -> String {
        limit_text(self.window, self.calls)
    }
}

/// The vendor's text for too many calls, with the number of allowed calls.
pub(crate) fn limit_text(window: Window, calls: u32) -> String {
    let period = match window {
        Window::Minute => "每分钟",
        Window::Hour => "每小时",
        Window::Day => "每天",
    };
    format!("抱歉，您{period}最多访问该接口{calls}次，权限的具体详情访问：https://tushare.pro/document/1?doc_id=108。")
}
