//! What each stage costs: the pictures of Y4M files through one stage at a time, on one thread.
//!
//! `scripts/bench stages` holds these figures against OpenCV's for the same work on the same pictures.
//! `stage_costs FILE.y4m…` prints one JSON object: of each file, each stage's milliseconds of CPU time a picture (the
//! median), without those in which the stabiliser sees its first ones.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;
use std::time::Duration;

use perch::base::clock::{Timestamp, thread_cpu_time};
use perch::capture::file::Y4mReader;
use perch::media::frame::{Frame, PixelFormat};
use perch::process::privacy_mask::{Cover, PrivacyMask};
use perch::process::stages::{Settings, Stages};
use perch::process::{overlay, stabilizer};

/// Pictures that are not counted.
const WARM_UP: usize = 15;

/// What is asked for, by name.
fn stages() -> Result<Vec<(String, Settings)>, Box<dyn Error>> {
    let none = Settings::default;
    let mask = |cover| PrivacyMask { points: vec![[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]], cover };
    let overlay = overlay::Settings { text: "perch %H:%M:%S".into(), ..overlay::Settings::default() };
    let causal = stabilizer::Settings { causal: true, ..stabilizer::Settings::default() };
    let mut all = vec![
        ("hflip".into(), Settings { hflip: true, ..none() }),
        ("vflip".into(), Settings { vflip: true, ..none() }),
        ("rotation 90".into(), Settings { rotation: 90, ..none() }),
        ("rotation 180".into(), Settings { rotation: 180, ..none() }),
        ("scale 50 %".into(), Settings { frame_size_reduction: 50, ..none() }),
        ("scale 20 %".into(), Settings { frame_size_reduction: 20, ..none() }),
        ("stabilizer".into(), Settings { stabilize: true, ..none() }),
        ("stabilizer, causal".into(), Settings { stabilize: true, stabilizer: causal, ..none() }),
        ("mask, black".into(), Settings { privacy_masks: vec![mask(Cover::Black)], ..none() }),
        ("mask, pixelated".into(), Settings { privacy_masks: vec![mask(Cover::Pixelated)], ..none() }),
        ("overlay".into(), Settings { overlay, ..none() }),
    ];
    for name in ["gray", "hsv", "hls", "lab", "luv", "ycrcb", "xyz", "rgb"] {
        all.push((format!("colorspace {name}"), Settings { colorspace: Some(name.parse()?), ..none() }));
    }
    Ok(all)
}

/// Pictures without padding, and their size.
struct Clip {
    pictures: Vec<Vec<u8>>,
    size: (usize, usize),
}

/// All pictures of a file.
fn clip(path: &str) -> Result<Clip, Box<dyn Error>> {
    let mut reader = Y4mReader::new(BufReader::new(File::open(path)?))?;
    let size = reader.size();
    let mut pictures = Vec::new();
    while let Some(picture) = reader.read_frame()? {
        pictures.push(picture.to_vec());
    }
    Ok(Clip { pictures, size })
}

fn cost(settings: Settings, Clip { pictures, size }: &Clip) -> Result<f64, Box<dyn Error>> {
    let mut stages = Stages::new(settings, Arc::default()).ok_or("nothing is asked for")?;
    let mut spent = Vec::new();
    for (index, picture) in pictures.iter().enumerate() {
        let at = Timestamp::now().plus(Duration::from_nanos(index as u64));
        let frame = Frame::packed(PixelFormat::I420, *size, at, Box::new(Own(picture.clone())))?;
        let before = thread_cpu_time();
        drop(stages.apply(frame, true)?);
        spent.push(thread_cpu_time().saturating_sub(before));
    }
    let mut counted = spent.split_off(WARM_UP.min(spent.len()));
    counted.sort();
    Ok(counted.get(counted.len() / 2).ok_or("too few pictures")?.as_secs_f64() * 1000.0)
}

/// Memory that may be changed in place, as a decoder's is.
struct Own(Vec<u8>);

impl perch::media::frame::FrameMemory for Own {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.0)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut all = BTreeMap::new();
    for path in std::env::args().skip(1) {
        let clip = clip(&path)?;
        let costs = stages()?.into_iter().map(|(name, settings)| Ok((name, cost(settings, &clip)?)));
        all.insert(path, costs.collect::<Result<BTreeMap<_, _>, Box<dyn Error>>>()?);
    }
    println!("{}", serde_json::to_string(&all)?);
    Ok(())
}
