//! The boxes of an MP4 file that lead to a track's samples. Pure: bytes in, table out; no length is trusted.

use std::iter;

use crate::media::annex_b::AvcConfig;

/// More pictures than a day at 30 fps has.
const MOST_SAMPLES: usize = 4_000_000;

/// Where a picture lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub offset: u64,
    pub size: u32,
    /// In the track's timescale.
    pub duration: u32,
}

/// A video track.
#[derive(Debug)]
pub struct Track {
    pub id: u32,
    pub timescale: u32,
    pub avc: AvcConfig,
    pub samples: Vec<Sample>,
    default_duration: u32,
    default_size: u32,
}

/// Boxes that follow each other in `bytes`.
#[derive(Clone, Copy)]
pub struct Boxes<'a>(&'a [u8]);

impl<'a> Boxes<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn iter(self) -> impl Iterator<Item = ([u8; 4], &'a [u8])> {
        let mut rest = self.0;
        iter::from_fn(move || {
            let (header, after) = rest.split_first_chunk::<8>()?;
            let [a, b, c, d, kind @ ..] = *header;
            let length = match u32::from_be_bytes([a, b, c, d]) {
                0 => after.len(),
                length => usize::try_from(length).ok()?.checked_sub(8)?,
            };
            let (payload, next) = after.split_at_checked(length)?;
            rest = next;
            Some((kind, payload))
        })
    }

    fn find(self, kind: &[u8; 4]) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| found == kind).map(|(_, payload)| payload)
    }

    fn inside(self, path: &[&[u8; 4]]) -> Option<Self> {
        path.iter().try_fold(self, |boxes, kind| boxes.find(kind).map(Boxes))
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The 32-bit numbers of a full box's table, behind version, flags and a count.
fn table(payload: Option<&[u8]>, at: usize) -> impl Iterator<Item = u32> {
    let words = payload.and_then(|payload| payload.get(at..)).unwrap_or_default();
    words.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word))
}

impl Track {
    /// The first H.264 track in the contents of a `moov` box. `Err` names another codec, if there is video at all.
    pub fn find(moov: Boxes<'_>) -> Result<Self, Option<String>> {
        let mut other = None;
        for (_, trak) in moov.iter().filter(|(kind, _)| kind == b"trak") {
            match Self::read(Boxes(trak), moov) {
                Some(Ok(track)) => return Ok(track),
                Some(Err(codec)) => other = Some(codec),
                None => {}
            }
        }
        Err(other)
    }

    fn read(trak: Boxes<'_>, moov: Boxes<'_>) -> Option<Result<Self, String>> {
        let mdia = trak.inside(&[b"mdia"])?;
        if mdia.find(b"hdlr")?.get(8..12)? != b"vide" {
            return None;
        }
        // Version 1 of these boxes has 64-bit times before the fields.
        let versioned =
            |payload: &[u8], v0: usize, v1: usize| u32_at(payload, if payload.first() == Some(&1) { v1 } else { v0 });
        let id = versioned(trak.find(b"tkhd")?, 12, 20)?;
        let timescale = versioned(mdia.find(b"mdhd")?, 12, 20)?;
        let stbl = mdia.inside(&[b"minf", b"stbl"])?;
        let entries = Boxes(stbl.find(b"stsd")?.get(8..)?);
        let (codec, entry) = entries.iter().next()?;
        // VisualSampleEntry: 78 bytes of fields, then boxes.
        let avc = entry.get(78..).and_then(|boxes| Boxes(boxes).find(b"avcC")).and_then(AvcConfig::parse);
        let (b"avc1" | b"avc3", Some(avc)) = (&codec, avc) else {
            return Some(Err(codec.escape_ascii().to_string()));
        };
        let trex = moov.inside(&[b"mvex"]).and_then(|mvex| {
            mvex.iter().find(|(kind, trex)| kind == b"trex" && u32_at(trex, 4) == Some(id)).map(|(_, trex)| trex)
        });
        let default = |at| trex.and_then(|trex| u32_at(trex, at)).unwrap_or(0);
        let samples = samples(stbl);
        Some(Ok(Self { id, timescale, avc, samples, default_duration: default(12), default_size: default(16) }))
    }
}

/// The sample table (14496-12, 8.6 and 8.7). Ends where one of its parts ends.
fn samples(stbl: Boxes<'_>) -> Vec<Sample> {
    let stsz = stbl.find(b"stsz");
    let same_size = stsz.and_then(|stsz| u32_at(stsz, 4)).unwrap_or(0);
    let count = stsz.and_then(|stsz| u32_at(stsz, 8)).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    let each = table(stsz, 12).chain(iter::repeat_with(move || same_size).take(if same_size == 0 { 0 } else { count }));
    let sizes = each.take(count.min(MOST_SAMPLES));

    let runs: Vec<u32> = table(stbl.find(b"stts"), 8).collect();
    let runs = runs.as_chunks::<2>().0.to_vec().into_iter();
    let last = runs.as_slice().last().map_or(0, |run| run[1]);
    let durations =
        runs.flat_map(|[count, duration]| iter::repeat_n(duration, count as usize)).chain(iter::repeat(last));

    let chunks: Vec<u64> = match stbl.find(b"stco") {
        Some(stco) => table(Some(stco), 8).map(u64::from).collect(),
        None => {
            let words: Vec<u32> = table(stbl.find(b"co64"), 8).collect();
            words.as_chunks::<2>().0.iter().map(|[high, low]| u64::from(*high) << 32 | u64::from(*low)).collect()
        }
    };
    // first_chunk (from 1), samples_per_chunk, sample_description_index
    let words: Vec<u32> = table(stbl.find(b"stsc"), 8).collect();
    let groups = words.as_chunks::<3>().0;
    let mut sized = sizes.zip(durations);
    let mut samples = Vec::new();
    let mut group = 0;
    for (number, &chunk) in (1_u32..).zip(&chunks) {
        while groups.get(group + 1).is_some_and(|next| next[0] <= number) {
            group += 1;
        }
        let mut offset = chunk;
        for _ in 0..groups.get(group).map_or(0, |group| group[1]) {
            let Some((size, duration)) = sized.next() else { return samples };
            samples.push(Sample { offset, size, duration });
            offset = offset.saturating_add(size.into());
        }
    }
    samples
}

/// The contents of a `moof` box that begins at `start`.
pub struct Fragment<'a> {
    pub start: u64,
    pub payload: &'a [u8],
}

impl Fragment<'_> {
    /// Appends this fragment's samples of `track` (14496-12, 8.8).
    pub fn append_to(&self, track: &mut Track) {
        for (_, traf) in Boxes(self.payload).iter().filter(|(kind, _)| kind == b"traf") {
            let _ = self.append_traf(Boxes(traf), track);
        }
    }

    fn append_traf(&self, traf: Boxes<'_>, track: &mut Track) -> Option<()> {
        let tfhd = traf.find(b"tfhd")?;
        let mut fields = Fields { flags: u32_at(tfhd, 0)?, bytes: tfhd.get(8..)? };
        if u32_at(tfhd, 4)? != track.id {
            return None;
        }
        let base = match (fields.optional(0x1), fields.optional(0x1)) {
            (Some(high), Some(low)) => u64::from(high) << 32 | u64::from(low),
            _ => self.start,
        };
        fields.optional(0x2);
        let default_duration = fields.optional(0x8).unwrap_or(track.default_duration);
        let default_size = fields.optional(0x10).unwrap_or(track.default_size);
        let mut offset = base;
        for (_, trun) in traf.iter().filter(|(kind, _)| kind == b"trun") {
            let count = u32_at(trun, 4)?;
            let mut fields = Fields { flags: u32_at(trun, 0)?, bytes: trun.get(8..)? };
            if let Some(data_offset) = fields.optional(0x1) {
                offset = base.saturating_add_signed(data_offset.cast_signed().into());
            }
            fields.optional(0x4);
            let is_long = fields.flags & 0xf00 != 0;
            if !is_long && default_size == 0 {
                // Neither they nor what tells of them would take a byte, and the count could be anything.
                return None;
            }
            for _ in 0..count {
                if (is_long && fields.bytes.is_empty()) || track.samples.len() >= MOST_SAMPLES {
                    return None;
                }
                let duration = fields.optional(0x100).unwrap_or(default_duration);
                let size = fields.optional(0x200).unwrap_or(default_size);
                fields.optional(0x400);
                fields.optional(0x800);
                track.samples.push(Sample { offset, size, duration });
                offset = offset.saturating_add(size.into());
            }
        }
        Some(())
    }
}

/// Fields that are there if a flag says so.
struct Fields<'a> {
    flags: u32,
    bytes: &'a [u8],
}

impl Fields<'_> {
    fn optional(&mut self, flag: u32) -> Option<u32> {
        if self.flags & flag == 0 {
            return None;
        }
        let (word, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(u32::from_be_bytes(*word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        [&u32::try_from(payload.len() + 8).unwrap().to_be_bytes()[..], kind, payload].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn samples_follow_each_other_within_their_chunks() {
        let stbl = [
            boxed(b"stsz", &words(&[0, 0, 5, 10, 20, 30, 40, 50])),
            boxed(b"stts", &words(&[0, 2, 3, 100, 2, 200])),
            boxed(b"stco", &words(&[0, 3, 1000, 2000, 3000])),
            boxed(b"stsc", &words(&[0, 2, 1, 2, 1, 3, 1, 1])),
        ]
        .concat();
        let samples = samples(Boxes(&stbl));
        let flat: Vec<_> = samples.iter().map(|s| (s.offset, s.size, s.duration)).collect();
        assert_eq!(flat, [(1000, 10, 100), (1010, 20, 100), (2000, 30, 100), (2030, 40, 200), (3000, 50, 200)]);
    }

    #[test]
    fn counts_that_promise_too_much_give_what_is_there() {
        let stbl = [
            boxed(b"stsz", &words(&[0, 7, u32::MAX])),
            boxed(b"stts", &words(&[0, 1, u32::MAX, 1])),
            boxed(b"stco", &words(&[0, 9, 1000])),
            boxed(b"stsc", &words(&[0, 1, 1, 3, 1])),
        ]
        .concat();
        assert_eq!(samples(Boxes(&stbl)).len(), 3);
        assert!(samples(Boxes(&stbl[..20])).is_empty());
    }

    #[test]
    fn a_run_of_pictures_without_bytes_is_none() {
        let avc = AvcConfig { length_size: 4, parameter_sets: Vec::new() };
        for (size, expected) in [(0, 0), (9, MOST_SAMPLES)] {
            let mut track = Track {
                id: 1,
                timescale: 1,
                avc: avc.clone(),
                samples: vec![],
                default_duration: 1,
                default_size: size,
            };
            let traf = [boxed(b"tfhd", &words(&[0, 1])), boxed(b"trun", &words(&[0, u32::MAX]))].concat();
            Fragment { start: 0, payload: &boxed(b"traf", &traf) }.append_to(&mut track);
            assert_eq!(track.samples.len(), expected, "of {size} bytes each");
        }
    }

    #[test]
    fn a_box_longer_than_its_surroundings_ends_the_list() {
        let bytes = [boxed(b"free", &[]), words(&[100]), b"moov".to_vec()].concat();
        assert_eq!(Boxes(&bytes).iter().count(), 1);
    }
}
