use super::*;
use crate::base::clock::Timestamp;
use crate::media::frame::Plane;

const AT: Timestamp = Timestamp::from_nanos(77);

/// What OpenCV makes of some colours: `tests/colorspace_reference.py`.
const REFERENCE: &str = include_str!("../../tests/data/colorspaces.txt");

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits = hexadecimal.as_bytes().as_chunks::<2>().0;
    digits.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Colours as blue, green, red, and OpenCV's results in `space`.
fn reference(space: Colorspace) -> Vec<([u8; 3], Vec<u8>)> {
    let mut lines = REFERENCE.lines().skip_while(|line| line.starts_with('#'));
    let column = lines.next().unwrap().split(' ').position(|name| name == space.name()).unwrap();
    let colours = lines.map(|line| {
        let cells: Vec<&str> = line.split(' ').collect();
        (bytes(cells[0]).try_into().unwrap(), bytes(cells[column]))
    });
    colours.collect()
}

/// Limited-range BT.601 of a colour.
fn yuv_of([blue, green, red]: [u8; 3]) -> [u8; 3] {
    let colour = super::super::canvas::Colour::from_rgb([red, green, blue].map(|level| f32::from(level) / 255.0));
    [colour.y, colour.u, colour.v]
}

fn plain_frame((width, height): (usize, usize), [y, u, v]: [u8; 3]) -> Frame {
    let mut memory = vec![0; packed_size(PixelFormat::I420, (width, height))];
    for (plane, value) in split(&mut memory, (width, height)).into_iter().zip([y, u, v]) {
        plane.fill(value);
    }
    Frame::packed(PixelFormat::I420, (width, height), AT, Box::new(memory)).unwrap()
}

fn recoloured(space: Colorspace, frame: Frame) -> Frame {
    Recolour::new(space, FramePool::new(2)).apply(frame).unwrap()
}

#[test]
fn every_space_is_opencvs_within_one_level() {
    for space in Colorspace::ALL {
        let Some(conversion) = Conversion::new(space) else { continue };
        let (colours, expected): (Vec<_>, Vec<_>) = reference(space).into_iter().unzip();
        assert_eq!(colours.len(), 240);
        let mut pixels: Vec<Pixel> = colours.iter().map(|[b, g, r]| [*b, *g, *r, 255]).collect();
        conversion.apply(&mut pixels);
        for ((colour, pixel), expected) in colours.iter().zip(&pixels).zip(&expected) {
            let is_near = pixel.iter().zip(expected).all(|(one, other)| one.abs_diff(*other) <= 1);
            assert!(is_near, "{space} of {colour:?} is {pixel:?}, OpenCV's {expected:?}");
        }
    }
}

#[test]
fn grey_is_opencvs_within_one_level() {
    for (colour, expected) in reference(Colorspace::Gray) {
        let frame = recoloured(Colorspace::Gray, plain_frame((2, 2), yuv_of(colour)));
        let [luma, _, _] = yuv_of([expected[0]; 3]);
        assert!(frame.plane(0)[3].abs_diff(luma) <= 1, "{colour:?} {:?} {luma}", frame.plane(0));
        assert_eq!((frame.plane(1), frame.plane(2)), (&[128][..], &[128][..]));
    }
}

#[test]
fn whole_pictures_show_the_channels_as_blue_green_and_red() {
    // Colours that I420 keeps well, and whose hue stays put when it does not.
    for colour in [[40, 60, 200], [200, 90, 30], [60, 180, 70], [128, 128, 128], [235, 235, 235]] {
        let place = |space| {
            let mut pixels = [[colour[0], colour[1], colour[2], 0]];
            Conversion::new(space).unwrap().apply(&mut pixels);
            yuv_of([pixels[0][0], pixels[0][1], pixels[0][2]])
        };
        let is_grey = colour[0] == colour[1] && colour[1] == colour[2];
        for space in Colorspace::ALL.into_iter().filter(|space| *space != Colorspace::Gray) {
            // Grey has no hue: a level more or less of blue makes any.
            if is_grey && space.name().starts_with('h') {
                continue;
            }
            let frame = recoloured(space, plain_frame((38, 36), yuv_of(colour)));
            for (plane, expected) in place(space).into_iter().enumerate() {
                let found = frame.plane(plane);
                let is_near = found.iter().all(|level| level.abs_diff(expected) <= 4);
                assert!(is_near, "{space} of {colour:?}: plane {plane} is {:?}, not {expected}", &found[..4]);
            }
        }
    }
}

#[test]
fn rows_keep_their_places_whatever_the_size_and_padding() {
    for (width, height) in [(1, 1_usize), (2, 2), (35, 33), (16, 50), (64_usize, 16)] {
        let stride = width + 7;
        let half_stride = width.div_ceil(2) + 3;
        let half_rows = height.div_ceil(2);
        let luma = stride * height;
        let chroma = half_stride * half_rows;
        let mut memory = vec![128; luma + 2 * chroma];
        for (row, bytes) in memory[..luma].chunks_exact_mut(stride).enumerate() {
            bytes.fill(u8::try_from(16 + row * 3).unwrap());
        }
        let planes = [
            Plane { offset: 0, stride, rows: height },
            Plane { offset: luma, stride: half_stride, rows: half_rows },
            Plane { offset: luma + chroma, stride: half_stride, rows: half_rows },
        ];
        for space in [Colorspace::Gray, Colorspace::Rgb] {
            let frame = Frame::new(PixelFormat::I420, (width, height), AT, &planes, Box::new(memory.clone())).unwrap();
            let frame = recoloured(space, frame);
            assert_eq!((frame.width(), frame.height(), frame.captured_at()), (width, height, AT));
            // Greys stay what they are when red and blue change places.
            for (row, bytes) in frame.plane(0).chunks_exact(width).enumerate() {
                let is_near = bytes.iter().all(|luma| usize::from(*luma).abs_diff(16 + row * 3) <= 1);
                assert!(is_near, "{space} {width}×{height}: row {row} is {bytes:?}");
            }
            assert!(frame.plane(1).iter().chain(frame.plane(2)).all(|chroma| chroma.abs_diff(128) <= 1));
        }
    }
}

#[test]
fn only_whole_i420_frames_are_taken() {
    let frame = Frame::packed(PixelFormat::Nv12, (4, 4), AT, Box::new(vec![0; 24])).unwrap();
    let mut recolour = Recolour::new(Colorspace::Gray, FramePool::new(1));
    assert!(matches!(recolour.apply(frame), Err(ConvertError::Layout(PixelFormat::Nv12, _))));
    let planes = [Plane { offset: 0, stride: 2, rows: 4 }; 3];
    for size in [(4, 4), (2, 8), (0, 4)] {
        let frame = Frame::new(PixelFormat::I420, size, AT, &planes, Box::new(vec![0; 8])).unwrap();
        let error = recolour.apply(frame).unwrap_err().to_string();
        assert!(error.starts_with("cannot convert a I420 frame: plane 0 has 4 rows of 2 bytes"), "{error}");
    }
}

#[test]
fn names_are_taken_in_perchs_and_vidgears_spelling() {
    for space in Colorspace::ALL {
        assert_eq!(space.name().parse(), Ok(space));
        assert_eq!(format!("COLOR_BGR2{}", space.name().to_uppercase()).parse(), Ok(space));
    }
    for (name, space) in [
        ("COLOR_BGR2YCrCb", Colorspace::YCrCb),
        ("COLOR_BGR2YCR_CB", Colorspace::YCrCb),
        ("color_bgr2Lab", Colorspace::Lab),
        ("BGR2GRAY", Colorspace::Gray),
        (" HSV ", Colorspace::Hsv),
    ] {
        assert_eq!(name.parse(), Ok(space), "{name}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_ones_there_are() {
    let error = "COLOR_BGR2HSVFULL".parse::<Colorspace>().unwrap_err().to_string();
    assert!(
        error.starts_with(r#""COLOR_BGR2HSVFULL" is no colorspace (is it hsv_full?); there are gray, hsv, "#),
        "{error}"
    );
    let error = "sepia".parse::<Colorspace>().unwrap_err().to_string();
    assert!(error.starts_with(r#""sepia" is no colorspace; there are gray, hsv, "#), "{error}");
}

#[test]
fn settings_hold_the_name() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Settings {
        colorspace: Colorspace,
    }
    let read = |text| toml::from_str::<Settings>(text).map_err(|error| error.message().to_string());
    let settings = read("colorspace = 'COLOR_BGR2HLS_FULL'").unwrap();
    assert_eq!(settings.colorspace, Colorspace::HlsFull);
    assert_eq!(toml::to_string(&settings).unwrap(), "colorspace = \"hls_full\"\n");
    assert!(read("colorspace = 'sepia'").unwrap_err().contains("is no colorspace"));
}
