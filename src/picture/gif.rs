//! Animations that can be watched while they grow.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::gif::{Encoder, Frame, Repeat};
use image::RgbImage;

use super::caption::stamp;
use super::palette::palette;
use super::save::{Place, check_writable, temporary_in};
use crate::{Error, Result};

/// What ends a GIF. A player ignores everything behind it.
const TRAILER: u8 = 0x3B;

/// The delay follows the block's introducer, label, size and flags (the graphic control extension, which opens
/// every frame that we write).
const DELAY_AT: u64 = 4;

/// An animated GIF, written frame by frame: no frame is kept in memory, and the file is whole after each.
///
/// An older file of that name stays until the first frame, which takes its place at once. A run that is killed between
/// or in the middle of frames, or drops the writer without [`finish`](Self::finish), leaves an animation of all frames
/// so far, and so does a disk that is full. Each frame has its own 256 colours, chosen
/// from its pixels and dithered; a frame with at most 256 colours keeps them exactly. A frame of 224 × 224 takes
/// some 60 milliseconds and 50 KB.
#[derive(Debug)]
pub(crate) struct GifWriter {
    path: PathBuf,
    /// There is none before the first frame.
    file: Option<Box<dyn Medium>>,
    delay: Duration,
    last_delay: Option<Duration>,
    forever: bool,
    /// Where the trailer stands, once there is a frame.
    end: u64,
    /// Where the last frame starts.
    last_frame: u64,
    frames: usize,
    /// Width and height, once there is a frame.
    size: Option<(u32, u32)>,
}

/// What an animation is written to.
trait Medium: Write + Seek + fmt::Debug + Send + Sync {
    /// Waits until all is on the disk.
    fn sync(&self) -> io::Result<()>;
}

impl Medium for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

impl GifWriter {
    /// A GIF to be written. The path is tried, but nothing is there before the first frame.
    ///
    /// Frames follow each other in 100 ms, and the animation repeats for ever, unless set otherwise before the
    /// first frame.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] unless the name ends in `.gif`; [`Error::Io`] if the target is a folder or
    /// can't be written.
    pub(crate) fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gif")) {
            let expected = "one that ends in .gif";
            return Err(Error::invalid("the name of an animation", expected, path.display()));
        }
        check_writable(path)?;
        Ok(Self {
            path: path.to_owned(),
            file: None,
            delay: Duration::from_millis(100),
            last_delay: None,
            forever: true,
            end: 0,
            last_frame: 0,
            frames: 0,
            size: None,
        })
    }

    /// How long each frame is shown, rounded to hundredths of a second within 20 ms (browsers slow anything faster
    /// down to 100 ms) and 655 s. For the frames to come.
    #[must_use]
    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// How long the last frame is shown, so that the result can be looked at before the animation starts again;
    /// unset, as long as the others. Takes effect at [`finish`](Self::finish).
    #[must_use]
    pub(crate) fn last_delay(mut self, delay: Duration) -> Self {
        self.last_delay = Some(delay);
        self
    }

    /// Plays the animation once and stops at the last frame, instead of repeating it for ever. To be set before
    /// the first frame.
    #[must_use]
    pub(crate) fn play_once(mut self) -> Self {
        self.forever = false;
        self
    }

    /// Adds a frame, which must be as large as the first.
    ///
    /// # Errors
    /// [`Error::Shape`] for another size than the first frame's, an empty frame, or more than 65535 pixels a side;
    /// [`Error::Io`] if the disk is full. The frames before stay.
    pub(crate) fn frame(&mut self, picture: &RgbImage) -> Result<()> {
        let (width, height) = self.check(picture)?;
        self.append(picture, width, height).map_err(Error::io("write", &self.path))
    }

    /// Adds a frame with a number in its top left corner, as [`frame`](Self::frame).
    ///
    /// # Errors
    /// As [`frame`](Self::frame).
    pub(crate) fn numbered_frame(&mut self, picture: &RgbImage, step: usize) -> Result<()> {
        let mut picture = picture.clone();
        stamp(&mut picture, &step.to_string());
        self.frame(&picture)
    }

    /// The number of frames written so far.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// Ends the animation: gives the last frame its own delay, and makes sure that all is on the disk.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] if there is no frame, and so no file; [`Error::Io`] if the disk is full.
    pub(crate) fn finish(mut self) -> Result<()> {
        if self.frames == 0 {
            return Err(Error::invalid("an animation", "given at least one frame", "none"));
        }
        self.close().map_err(Error::io("write", &self.path))
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Some(delay) = self.last_delay {
            file.seek(SeekFrom::Start(self.last_frame + DELAY_AT))?;
            file.write_all(&hundredths(delay).to_le_bytes())?;
        }
        file.sync()
    }

    fn check(&self, picture: &RgbImage) -> Result<(u16, u16)> {
        let size = picture.dimensions();
        let expected = match self.size {
            Some(first) if first != size => format!("[{}, {}], as the first frame", first.1, first.0),
            _ => match (u16::try_from(size.0), u16::try_from(size.1)) {
                (Ok(width @ 1..), Ok(height @ 1..)) => return Ok((width, height)),
                _ => "1 to 65535 pixels a side".to_owned(),
            },
        };
        let what = format!("frame {} of {}", self.frames, self.path.display());
        Err(Error::Shape { what, expected, got: vec![size.1 as usize, size.0 as usize] })
    }

    /// Puts a frame in the place of the trailer, and a trailer behind it.
    ///
    /// The old trailer is overwritten last, by one byte: until then the file ends where it did, and from then on
    /// all of the frame is there, whenever the process is killed.
    fn append(&mut self, picture: &RgbImage, width: u16, height: u16) -> io::Result<()> {
        let mut encoder = Encoder::new(Vec::new(), width, height, &[]).map_err(io::Error::other)?;
        let repeat = if self.forever { Repeat::Infinite } else { Repeat::Finite(0) };
        encoder.set_repeat(repeat).map_err(io::Error::other)?;
        let head = encoder.get_ref().len();
        let (colors, indices) = palette(picture);
        let mut frame = Frame::from_palette_pixels(width, height, indices, colors, None);
        frame.delay = hundredths(self.delay);
        encoder.write_frame(&frame).map_err(io::Error::other)?;
        let bytes = encoder.get_ref();
        // The head of the file goes with the first frame.
        let (bytes, head) = if self.frames == 0 { (&bytes[..], head) } else { (&bytes[head..], 0) };

        match &mut self.file {
            None => self.file = Some(begin(&self.path, &[bytes, &[TRAILER]].concat())?),
            Some(file) => {
                file.seek(SeekFrom::Start(self.end + 1))?;
                file.write_all(&[&bytes[1..], &[TRAILER]].concat())?;
                file.seek(SeekFrom::Start(self.end))?;
                file.write_all(&bytes[..1])?;
            }
        }
        self.last_frame = self.end + head as u64;
        self.end += bytes.len() as u64;
        self.frames += 1;
        self.size = Some(picture.dimensions());
        Ok(())
    }
}

/// Puts an animation of one frame in the place of whatever is there, in one go.
fn begin(path: &Path, bytes: &[u8]) -> io::Result<Box<dyn Medium>> {
    match Place::of(path)? {
        Place::Device(device) => {
            let mut file = File::options().write(true).open(device)?;
            file.write_all(bytes)?;
            Ok(Box::new(file))
        }
        Place::File { target, folder } => {
            let mut temporary = temporary_in(&folder)?;
            temporary.write_all(bytes)?;
            Ok(Box::new(temporary.persist(target)?))
        }
    }
}

fn hundredths(delay: Duration) -> u16 {
    (delay.as_secs_f64() * 100.0).round().clamp(2.0, f64::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::gif::{ColorOutput, DecodeOptions};
    use image::Rgb;

    struct Decoded {
        frames: Vec<RgbImage>,
        delays: Vec<u16>,
        repeat: Repeat,
    }

    fn decode(bytes: &[u8]) -> Decoded {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        let mut decoder = options.read_info(bytes).unwrap();
        let (width, height) = (u32::from(decoder.width()), u32::from(decoder.height()));
        let (mut frames, mut delays) = (Vec::new(), Vec::new());
        // An error here means that the file is cut off or has no trailer.
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            assert_eq!((u32::from(frame.width), u32::from(frame.height)), (width, height));
            let rgb = frame.buffer.chunks(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
            frames.push(RgbImage::from_raw(width, height, rgb).unwrap());
            delays.push(frame.delay);
        }
        Decoded { frames, delays, repeat: decoder.repeat() }
    }

    /// Smooth, with far more than 256 colours.
    fn colourful(step: u32) -> RgbImage {
        RgbImage::from_fn(80, 60, |x, y| Rgb([(x * 3) as u8, (y * 4) as u8, (x + y + step * 20) as u8]))
    }

    fn few_colours(step: u32) -> RgbImage {
        RgbImage::from_fn(12, 9, |x, y| Rgb([(x + step) as u8 * 9, y as u8 * 20, 7]))
    }

    #[test]
    fn the_file_is_a_whole_animation_after_every_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.gif");
        let mut writer = GifWriter::create(&path).unwrap();
        for step in 0..5 {
            writer.frame(&few_colours(step)).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes.last(), Some(&TRAILER));
            assert_eq!(decode(&bytes).frames, (0..=step).map(few_colours).collect::<Vec<_>>());
        }
        drop(writer);
        assert_eq!(decode(&std::fs::read(&path).unwrap()).frames.len(), 5);
    }

    #[test]
    fn a_process_killed_while_a_frame_is_written_leaves_the_frames_before_it() {
        // The states the file goes through: the new frame's bytes but the first, from the front, behind the old
        // trailer; then that byte over the trailer.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.gif");
        let mut writer = GifWriter::create(&path).unwrap();
        writer.frame(&few_colours(0)).unwrap();
        let before = std::fs::read(&path).unwrap();
        writer.frame(&few_colours(1)).unwrap();
        let after = std::fs::read(&path).unwrap();
        for written in before.len()..=after.len() {
            let killed = [&before, &after[before.len()..written]].concat();
            assert_eq!(decode(&killed).frames, [few_colours(0)], "after {written} bytes");
        }
        assert_eq!(decode(&after).frames.len(), 2);
    }

    #[test]
    fn many_colours_are_shown_closely() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.gif");
        let mut writer = GifWriter::create(&path).unwrap();
        writer.frame(&colourful(0)).unwrap();
        writer.finish().unwrap();
        let shown = decode(&std::fs::read(&path).unwrap()).frames.remove(0);
        let wanted = colourful(0);
        let squares = shown.iter().zip(wanted.iter()).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
        let noise = (squares.sum::<f64>() / shown.len() as f64).sqrt();
        // 256 colours on a surface of about 240 × 240 are about 16 apart, so the nearest is off by 16/√12 ≈ 4.6 in
        // each direction, and dithering, which adds its neighbours' errors, by some two times that.
        assert!(noise < 12.0, "off by {noise} of 255");
    }

    #[test]
    fn delays_and_repetition_are_as_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.GIF");
        let mut writer = GifWriter::create(&path)
            .unwrap()
            .delay(Duration::from_millis(84))
            .last_delay(Duration::from_secs(2))
            .play_once();
        (0..3).for_each(|step| writer.frame(&few_colours(step)).unwrap());
        assert_eq!(writer.frames(), 3);
        writer.finish().unwrap();
        let once = decode(&std::fs::read(&path).unwrap());
        assert_eq!((once.delays, once.repeat), (vec![8, 8, 200], Repeat::Finite(0)));

        let mut writer = GifWriter::create(&path).unwrap().delay(Duration::ZERO).last_delay(Duration::MAX);
        writer.frame(&few_colours(0)).unwrap();
        writer.frame(&few_colours(1)).unwrap();
        writer.finish().unwrap();
        let forever = decode(&std::fs::read(&path).unwrap());
        assert_eq!((forever.delays, forever.repeat), (vec![2, u16::MAX], Repeat::Infinite));
    }

    #[test]
    fn a_frame_of_another_size_is_refused_and_the_animation_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.gif");
        let mut writer = GifWriter::create(&path).unwrap();
        for size in [(0, 5), (65536, 1)] {
            assert!(matches!(writer.frame(&RgbImage::new(size.0, size.1)), Err(Error::Shape { .. })));
        }
        writer.frame(&few_colours(0)).unwrap();
        let error = writer.frame(&colourful(0)).unwrap_err().to_string();
        assert!(error.contains("frame 1") && error.contains("[60, 80], expected [9, 12]"), "{error}");
        writer.frame(&few_colours(2)).unwrap();
        writer.finish().unwrap();
        assert_eq!(decode(&std::fs::read(&path).unwrap()).frames, [few_colours(0), few_colours(2)]);
    }

    #[test]
    fn what_can_not_be_written_is_refused_at_creation() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("folder.gif");
        std::fs::create_dir(&directory).unwrap();
        for path in [directory.clone(), folder.path().join("missing/run.gif")] {
            let error = GifWriter::create(&path).unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
        assert!(directory.is_dir());
        let error = GifWriter::create(folder.path().join("run")).unwrap_err();
        assert!(matches!(error, Error::InvalidParameter { .. }), "{error}");
    }

    #[test]
    fn an_animation_without_frames_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.gif");
        drop(GifWriter::create(&path).unwrap());
        assert!(!path.exists());
        assert!(matches!(GifWriter::create(&path).unwrap().finish(), Err(Error::InvalidParameter { .. })));
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_older_animation_stays_until_there_is_a_frame_of_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.gif");
        let frames = || decode(&std::fs::read(&path).unwrap()).frames;
        let mut older = GifWriter::create(&path).unwrap();
        (0..2).for_each(|step| older.frame(&few_colours(step)).unwrap());
        older.finish().unwrap();

        drop(GifWriter::create(&path).unwrap());
        assert!(GifWriter::create(&path).unwrap().finish().is_err());
        let mut newer = GifWriter::create(&path).unwrap();
        assert!(newer.frame(&RgbImage::new(0, 0)).is_err());
        assert_eq!(frames().len(), 2, "the older one");
        newer.frame(&colourful(0)).unwrap();
        assert_eq!(frames().len(), 1);
        newer.frame(&colourful(1)).unwrap();
        assert_eq!(frames().len(), 2);
        assert_eq!(frames()[0].dimensions(), (80, 60), "the newer one");
        // Neither a temporary file nor anything else is left beside it.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// A file on a disk with room for this many bytes.
    #[derive(Debug)]
    struct Filling(File, u64);

    impl Write for Filling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1.saturating_sub(self.0.stream_position()?) as usize;
            match room.min(bytes.len()) {
                0 if !bytes.is_empty() => Err(io::Error::new(io::ErrorKind::StorageFull, "no space left")),
                fitting => self.0.write(&bytes[..fitting]),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl Seek for Filling {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    impl Medium for Filling {
        fn sync(&self) -> io::Result<()> {
            self.0.sync_all()
        }
    }

    #[test]
    fn a_disk_that_fills_after_some_frames_keeps_them_as_an_animation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.gif");
        let mut writer = GifWriter::create(&path).unwrap();
        let mut ends = Vec::new();
        for step in 0..4 {
            writer.frame(&few_colours(step)).unwrap();
            ends.push(writer.end + 1);
        }
        drop(writer);
        // A disk that is full within the fourth frame, wherever that is.
        for room in ends[2]..ends[3] {
            let mut writer = GifWriter::create(&path).unwrap();
            writer.frame(&few_colours(0)).unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            writer.file = Some(Box::new(Filling(file, room)));
            (1..3).for_each(|step| writer.frame(&few_colours(step)).unwrap());
            let error = writer.frame(&few_colours(3)).unwrap_err().to_string();
            assert!(error.contains("run.gif") && error.contains("no space left"), "{error}");
            assert_eq!(writer.frames(), 3);
            let kept = decode(&std::fs::read(&path).unwrap()).frames;
            assert_eq!(kept, (0..3).map(few_colours).collect::<Vec<_>>(), "room for {room} bytes");
        }
    }

    #[test]
    fn a_numbered_frame_differs_only_in_its_corner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.gif");
        let grey = RgbImage::from_pixel(100, 100, Rgb([90; 3]));
        let mut writer = GifWriter::create(&path).unwrap();
        writer.numbered_frame(&grey, 12).unwrap();
        writer.finish().unwrap();
        let shown = decode(&std::fs::read(&path).unwrap()).frames.remove(0);
        let changed: Vec<_> = shown.enumerate_pixels().filter(|(_, _, pixel)| pixel[0] != 90).collect();
        assert!(!changed.is_empty() && changed.iter().all(|(x, y, _)| *x < 50 && *y < 25));
    }
}
