//! Numbers that all sessions together count.

use crate::base::metrics::{Counter, Histogram};

/// The sessions' counters; each name is the metric's without `perch_`.
#[derive(Debug, Default)]
pub struct SessionMetrics {
    /// Offers that came in.
    pub offers: Counter,
    /// Offers that were refused.
    pub offers_refused: Counter,
    /// Sessions that were answered.
    pub sessions_opened: Counter,
    /// Sessions that have ended.
    pub sessions_closed: Counter,
    /// Access units sent, to all viewers together.
    pub units_sent: Counter,
    /// Access units that a viewer missed because it or its link was too slow.
    pub units_skipped: Counter,
    /// RTP packets sent, without resends.
    pub packets_sent: Counter,
    /// Bytes of RTP payload sent, without resends.
    pub bytes_sent: Counter,
    /// From capture to the last packet's being handed to the network.
    pub capture_to_send: Histogram,
}
