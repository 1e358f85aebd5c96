//! Whether a camera may have been plugged in, or made usable, since the last look.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::v4l2;

/// A device node, and when it was made or its rights changed (`udev` gives them to the group `video` a little later).
type Node = (PathBuf, i64, i64);

/// The video devices of the last look.
#[derive(Debug)]
pub struct Arrivals {
    folder: PathBuf,
    nodes: Vec<Node>,
}

impl Arrivals {
    /// Looks for the first time.
    #[must_use]
    pub fn new() -> Self {
        Self::within(Path::new("/dev"))
    }

    fn within(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), nodes: nodes(folder) }
    }

    /// The device nodes of the last look, in order of their numbers.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.nodes.iter().map(|(path, ..)| path.as_path())
    }

    /// Looks again: whether anything is different.
    pub fn changed(&mut self) -> bool {
        let nodes = nodes(&self.folder);
        let changed = nodes != self.nodes;
        self.nodes = nodes;
        changed
    }
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::new()
    }
}

fn nodes(folder: &Path) -> Vec<Node> {
    let with_time = |path: PathBuf| {
        let metadata = fs::symlink_metadata(&path).ok()?;
        Some((path, metadata.ctime(), metadata.ctime_nsec()))
    };
    v4l2::nodes(folder).into_iter().filter_map(with_time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn nodes_that_come_change_their_rights_or_go_are_noticed_once() {
        let folder = std::env::temp_dir().join(format!("perch-arrivals-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let node = folder.join("video0");
        let mut arrivals = Arrivals::within(&folder);
        fs::write(folder.join("sda"), "").unwrap();
        assert!(!arrivals.changed());
        fs::write(&node, "").unwrap();
        assert!(arrivals.changed() && !arrivals.changed());
        // The file system's clock ticks every few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::set_permissions(&node, Permissions::from_mode(0o640)).unwrap();
        assert!(arrivals.changed() && !arrivals.changed());
        fs::remove_file(&node).unwrap();
        assert!(arrivals.changed() && !arrivals.changed());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn nodes_are_in_order_of_their_numbers() {
        let folder = std::env::temp_dir().join(format!("perch-nodes-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for name in ["video10", "video2", "video", "videos", "media0"] {
            fs::write(folder.join(name), "").unwrap();
        }
        let arrivals = Arrivals::within(&folder);
        assert!(arrivals.paths().eq([folder.join("video2"), folder.join("video10")]));
        fs::remove_dir_all(&folder).unwrap();
    }
}
