//! What perch itself adds to each frame, beside what the library under it takes for the same work.
//!
//! `cargo bench` prints both, one above the other; what matters is their ratio, in one run. How quick the whole of perch is,
//! from camera to browser, is measured by `scripts/bench`.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use perch::base::clock::Timestamp;
use perch::base::shutdown::Shutdown;
use perch::camera::{Camera, Kept, Received, Subscription};
use perch::capture::test_pattern::TestPattern;
use perch::capture::{CameraSource, CaptureError, Config, Opened, Resolution};
use perch::encode::{self, Encoder as _, OpenH264Encoder};
use perch::media::frame::{Frame, FramePool, PixelFormat};
use perch::process::convert::Converter;
use perch::process::jpeg::{JpegDecoder, encode_jpeg};

const SIZE: (usize, usize) = (1280, 720);

fn main() {
    divan::main();
}

/// A picture of the test pattern, as I420.
fn picture() -> Frame {
    let resolution = Resolution { width: SIZE.0, height: SIZE.1 };
    let mut pattern = TestPattern::new(resolution, 30);
    pattern.next_frame(Duration::from_secs(1)).unwrap().unwrap()
}

/// The same amount of picture as a webcam gives it without compression.
fn yuyv() -> Vec<u8> {
    picture().plane(0).iter().flat_map(|luma| [*luma, 128]).collect()
}

mod yuyv_to_i420 {
    use super::*;
    use yuv::{BufferStoreMut, YuvPackedImage, YuvPlanarImageMut, yuyv422_to_yuv420};

    #[divan::bench]
    fn perch(bencher: Bencher) {
        let frame = Frame::packed(PixelFormat::Yuyv, SIZE, Timestamp::now(), Box::new(yuyv())).unwrap();
        let mut converter = Converter::new(FramePool::new(2));
        bencher.bench_local(|| converter.i420_of(black_box(&frame)).unwrap());
    }

    #[divan::bench]
    fn library(bencher: Bencher) {
        let (width, height) = (1280, 720);
        let bytes = yuyv();
        let packed = YuvPackedImage { yuy: &bytes, yuy_stride: width * 2, width, height };
        let mut planes = [vec![0; SIZE.0 * SIZE.1], vec![0; SIZE.0 * SIZE.1 / 4], vec![0; SIZE.0 * SIZE.1 / 4]];
        bencher.bench_local(|| {
            let [y, u, v] = planes.each_mut().map(|plane| BufferStoreMut::Borrowed(plane));
            let (y_stride, u_stride, v_stride) = (width, width / 2, width / 2);
            let mut planar =
                YuvPlanarImageMut { y_plane: y, y_stride, u_plane: u, u_stride, v_plane: v, v_stride, width, height };
            yuyv422_to_yuv420(black_box(&mut planar), black_box(&packed)).unwrap();
        });
    }
}

/// perch's share is what makes planar 4:2:0 in limited range of the decoder's interleaved 4:4:4.
mod mjpeg_decode {
    use super::*;
    use zune_jpeg::zune_core::bytestream::ZCursor;
    use zune_jpeg::zune_core::colorspace::ColorSpace;
    use zune_jpeg::zune_core::options::DecoderOptions;

    fn jpeg() -> Bytes {
        encode_jpeg(&picture(), 85).unwrap()
    }

    #[divan::bench]
    fn perch(bencher: Bencher) {
        let jpeg = jpeg();
        let mut decoder = JpegDecoder::new(FramePool::new(2));
        bencher.bench_local(|| decoder.decode(black_box(&jpeg), Timestamp::now()).unwrap());
    }

    #[divan::bench]
    fn library(bencher: Bencher) {
        let jpeg = jpeg();
        let mut pixels = vec![0; SIZE.0 * SIZE.1 * 3];
        bencher.bench_local(|| {
            let options = DecoderOptions::new_fast().jpeg_set_out_colorspace(ColorSpace::YCbCr);
            let cursor = ZCursor::new(black_box(&*jpeg));
            let mut decoder = zune_jpeg::JpegDecoder::new_with_options(cursor, options);
            decoder.decode_into(black_box(&mut pixels)).unwrap();
        });
    }
}

/// One access unit to all readers: through a whole camera (its queue, its threads, its counters), and through the channel that
/// does the work. Both include waking the readers' thread.
mod fan_out {
    use super::*;

    /// A camera that compresses: it makes a picture whenever it is told to.
    struct OnDemand {
        keyframe: Bytes,
        wishes: Receiver<()>,
    }

    impl CameraSource for OnDemand {
        fn next_frame(&mut self, timeout: Duration) -> Result<Option<Frame>, CaptureError> {
            match self.wishes.recv_timeout(timeout) {
                Ok(()) => {
                    let memory = Box::new(self.keyframe.clone());
                    Ok(Frame::packed(PixelFormat::H264, SIZE, Timestamp::now(), memory).ok())
                }
                Err(RecvTimeoutError::Timeout) => Ok(None),
                Err(RecvTimeoutError::Disconnected) => Err(CaptureError::Ended),
            }
        }

        fn describe(&self) -> String {
            "pictures on demand".into()
        }
    }

    fn keyframe() -> Bytes {
        let mut encoder = OpenH264Encoder::new(SIZE, 30, 2_000_000).unwrap();
        encoder.encode(&Arc::new(picture()), true).unwrap().unwrap().data
    }

    fn camera(keyframe: Bytes) -> (Camera, SyncSender<()>, Shutdown) {
        let (wish, wishes) = sync_channel(1);
        let source = std::sync::Mutex::new(Some(OnDemand { keyframe, wishes }));
        let factory = Box::new(move || match source.lock().unwrap().take() {
            Some(source) => Ok(Opened { source: Box::new(source), is_live: true }),
            None => Err(CaptureError::Ended),
        });
        let shutdown = Shutdown::new();
        let (camera, _) = Camera::start(
            factory,
            Config::default(),
            encode::Config::default(),
            Arc::default(),
            Kept::default(),
            shutdown.clone(),
        )
        .unwrap();
        (camera, wish, shutdown)
    }

    async fn next(reader: &mut Subscription) {
        while !matches!(reader.receive().await, Received::Unit(_)) {}
    }

    #[divan::bench(args = [1, 16])]
    fn perch(bencher: Bencher, readers: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (camera, wish, shutdown) = camera(keyframe());
        let mut readers: Vec<_> = (0..readers).map(|_| camera.subscribe()).collect();
        bencher.bench_local(|| {
            wish.send(()).unwrap();
            runtime.block_on(async {
                for reader in &mut readers {
                    next(reader).await;
                }
            });
        });
        shutdown.request();
    }

    #[divan::bench(args = [1, 16])]
    fn library(bencher: Bencher, readers: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let keyframe = keyframe();
        let (sender, _) = tokio::sync::broadcast::channel(32);
        let mut readers: Vec<_> = (0..readers).map(|_| sender.subscribe()).collect();
        let (wish, wishes) = sync_channel(1);
        std::thread::spawn(move || {
            while wishes.recv() == Ok(()) {
                let _ = sender.send(Arc::new(keyframe.clone()));
            }
        });
        bencher.bench_local(|| {
            wish.send(()).unwrap();
            runtime.block_on(async {
                for reader in &mut readers {
                    black_box(reader.recv().await.unwrap());
                }
            });
        });
    }
}
