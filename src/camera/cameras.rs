//! All cameras of one perch, by name. They share nothing: one that fails touches no other.

use std::sync::Arc;

use super::Camera;
use crate::base::one_or_more::OneOrMore;

/// The running cameras, in the order of the settings. Cheap to clone.
#[derive(Clone)]
pub struct Cameras(Arc<OneOrMore<Camera>>);

impl Cameras {
    /// These cameras.
    #[must_use]
    pub fn new(cameras: OneOrMore<Camera>) -> Self {
        Self(Arc::new(cameras))
    }

    /// The camera that is meant when none is named.
    #[must_use]
    pub fn first(&self) -> &Camera {
        self.0.first()
    }

    /// The camera called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Camera> {
        self.iter().find(|camera| camera.name() == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Camera> {
        self.0.iter()
    }
}
