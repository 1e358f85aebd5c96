//! Who watches by which right: when the right is taken back, the picture goes.
//!
//! An offer is answered once and then pictures flow for hours; so what was allowed then is looked at again and again.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::auth::{Caller, Door, Who};
use crate::webrtc::{SessionId, Sessions};

/// How long somebody may watch on after their right is gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Which WebRTC session was opened by whom. Holds no more than there are sessions.
#[derive(Default)]
pub(super) struct Watching(Mutex<Vec<(Who, SessionId)>>);

impl Watching {
    /// `who` opened a session.
    pub(super) fn add(&self, who: &Who, id: SessionId, sessions: &Sessions) {
        if *who != Who::Anyone {
            let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            opened.retain(|(_, id)| sessions.contains(id));
            opened.push((who.clone(), id));
        }
    }

    /// Closes the sessions of those whom the door no longer knows.
    fn look(&self, door: &Door, sessions: &Sessions) {
        let mut opened = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|(who, id)| {
            let may = door.knows(who);
            if !may && sessions.close(id) {
                log::info!("a viewer may no longer watch: session {id} is closed");
            }
            may
        });
    }
}

/// Looks again and again, until `watching` is gone.
pub(super) async fn watch(watching: Weak<Watching>, door: Arc<Door>, sessions: Sessions) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(watching) = watching.upgrade() else { return };
        let (door, sessions) = (door.clone(), sessions.clone());
        // It may read a file.
        let _ = tokio::task::spawn_blocking(move || watching.look(&door, &sessions)).await;
    }
}

/// The right of one reader of a stream.
pub(super) struct Pass {
    door: Option<Arc<Door>>,
    who: Who,
    looked_at: Instant,
}

impl Pass {
    /// The right that `caller` has now.
    pub(super) fn new(door: Option<Arc<Door>>, caller: &Caller) -> Self {
        Self { door, who: caller.who.clone(), looked_at: Instant::now() }
    }

    /// Whether it is still there.
    pub(super) fn is_valid(&mut self) -> bool {
        let Some(door) = &self.door else { return true };
        if self.looked_at.elapsed() < LOOK_EVERY {
            return true;
        }
        self.looked_at = Instant::now();
        door.knows(&self.who)
    }
}
