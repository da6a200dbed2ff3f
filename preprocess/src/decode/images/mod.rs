//! A folder of pictures as a video: one picture, one frame.
//!
//! - Pictures are the files whose names end in [`ENDINGS`], in natural order: `frame2.jpg` before `frame10.jpg`. Files
//!   of other names, hidden ones and folders are passed over.
//! - All have the same size, after being turned as their EXIF data says; a picture that differs is an error that names
//!   it. With [`VideoOptions::autorotate`] off they are left, and compared, as they are coded.
//! - PNG and WebP become the RGB bytes that Pillow's `convert("RGB")` gives: grey is repeated, palettes are looked up,
//!   of 16 bits the upper 8 are kept, and an alpha channel is dropped, not blended.
//! - JPEG is not exact by its standard. Against libjpeg-turbo, which Pillow and OpenCV use, a level differs by up to 4,
//!   and one in ten does at all when colours have half the resolution.
//! - A folder tells no frame rate: without [`VideoOptions::frame_rate`] times count the frames.
//!
//! Only the pictures asked for are decoded, on as many threads as the machine has cores. When the folder is opened the
//! header of each is read, for its size.

mod order;
mod picture;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use self::picture::Header;
use super::supervise::{Reporter, supervise};
use super::yuv::{Picture, RgbFrame};
use super::{Limits, Orientation, VideoInfo, VideoOptions, VideoReader, distinct};
use crate::{Error, Result};

/// What names of pictures end in, in small or capital letters.
pub(super) const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Reads the pictures of a folder.
struct FolderReader {
    options: VideoOptions,
    info: VideoInfo,
    files: Arc<Vec<PathBuf>>,
}

/// Opens a folder: lists its pictures and compares their sizes.
pub(super) fn open(folder: &Path, options: VideoOptions) -> Result<Box<dyn VideoReader>> {
    let files = list(folder)?;
    let mut headers = Vec::with_capacity(files.len());
    let limits = options.limits;
    let scanned = files.clone();
    let scan = move |reporter: &Reporter<Result<Header>>| {
        for file in &scanned {
            reporter
                .item(picture::header(file, &limits))
                .map_err(|_| "the caller has given up".to_owned())?;
        }
        Ok(())
    };
    let end = supervise(limits.per_picture, limits.per_read, scan, |header| headers.push(header));
    let damaged = |detail| Error::DamagedVideo { path: folder.to_owned(), container: "picture", detail };
    end.map_err(|cause| {
        damaged(format!("{}: {cause}", files[headers.len().min(files.len() - 1)].display()))
    })?;
    let headers = headers.into_iter().collect::<Result<Vec<_>>>()?;
    let (width, height) = same_size(&files, &headers, options.autorotate)?;
    let mut codecs: Vec<&str> = headers.iter().map(|header| header.codec.name()).collect();
    codecs.sort_unstable();
    codecs.dedup();
    let info = VideoInfo {
        path: folder.to_owned(),
        decoder: "builtin".to_owned(),
        container: "folder".to_owned(),
        codec: codecs.join(" and "),
        num_frames: files.len(),
        width,
        height,
        // Each picture is turned by itself when it is decoded.
        orientation: Orientation::UPRIGHT,
        colour: None,
        frame_rate: options.frame_rate,
        duration: options.frame_rate.map(|rate| files.len() as f64 / rate),
    };
    Ok(Box::new(FolderReader { options, info, files: Arc::new(files) }))
}

/// The pictures in a folder, in order.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let (mut files, mut others) = (Vec::new(), 0);
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if hidden || !path.is_file() || !ENDINGS.contains(&&*ending) {
            others += 1;
        } else {
            files.push(path);
        }
    }
    if files.is_empty() {
        let looked_for = ENDINGS.map(|ending| format!(".{ending}")).join(", ");
        let found =
            format!("a folder without pictures: none of its {others} entries is a file in {looked_for}");
        return Err(Error::NotAVideo { path: folder.to_owned(), found });
    }
    files.sort_by(|a, b| order::natural(&a.to_string_lossy(), &b.to_string_lossy()));
    Ok(files)
}

/// The size of all pictures.
fn same_size(files: &[PathBuf], headers: &[Header], autorotate: bool) -> Result<(usize, usize)> {
    let size = |header: &Header| header.shown(autorotate);
    let expected = size(&headers[0]);
    match files.iter().zip(headers).find(|(_, header)| size(header) != expected) {
        None => Ok(expected),
        Some((file, header)) => Err(Error::InFile {
            path: file.clone(),
            source: Box::new(Error::Shape {
                what: "picture",
                expected: format!(
                    "{}×{} pixels as {}",
                    expected.0,
                    expected.1,
                    files[0].file_name().unwrap_or_default().display()
                ),
                found: format!("{}×{}", size(header).0, size(header).1),
            }),
        }),
    }
}

impl VideoReader for FolderReader {
    fn info(&self) -> &VideoInfo {
        &self.info
    }

    fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn times(&self) -> Vec<f64> {
        let rate = self.options.frame_rate.unwrap_or(1.0);
        (0..self.files.len()).map(|index| index as f64 / rate).collect()
    }

    fn read_pictures(&mut self, indices: &[usize], each: &mut dyn FnMut(usize, &Picture)) -> Result<()> {
        let wanted = distinct(&self.info.path, indices, self.files.len())?;
        let requested = wanted.len();
        let limits = self.options.limits;
        let mut decoded = 0;
        let receive = |(index, frame)| {
            each(index, &Picture::Rgb(frame));
            decoded += 1;
        };
        let job = Arc::new(Job {
            files: Arc::clone(&self.files),
            wanted,
            next: AtomicUsize::new(0),
            size: (self.info.width, self.info.height),
            options: self.options,
        });
        let end =
            supervise(limits.per_picture, limits.per_read, move |reporter| run(&job, reporter), receive);
        end.map_err(|cause| Error::FramesMissing { path: self.info.path.clone(), decoded, requested, cause })
    }
}

/// Decoding some of the pictures.
struct Job {
    files: Arc<Vec<PathBuf>>,
    wanted: Vec<usize>,
    /// The place in `wanted` of the picture that the next idle thread takes.
    next: AtomicUsize,
    size: (usize, usize),
    options: VideoOptions,
}

/// What a thread says of a picture.
type Decoded = std::result::Result<(usize, RgbFrame), String>;

/// Decodes the pictures on several threads and reports each, in whatever order they come.
fn run(job: &Arc<Job>, reporter: &Reporter<(usize, RgbFrame)>) -> std::result::Result<(), String> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(job.wanted.len());
    // Room for none: a thread that is ahead waits, so that no more pictures are in memory than there are threads.
    let (sender, receiver) = mpsc::sync_channel::<Decoded>(0);
    for _ in 0..threads {
        let (job, sender) = (Arc::clone(job), sender.clone());
        let work = move || {
            while let Some(&index) = job.wanted.get(job.next.fetch_add(1, Ordering::Relaxed)) {
                // A closed channel means that another picture failed.
                if sender.send(job.decode(index)).is_err() {
                    return;
                }
            }
        };
        let spawned = thread::Builder::new().name("picture-decode".to_owned()).spawn(work);
        spawned.map_err(|error| format!("no thread for the decoder: {error}"))?;
    }
    drop(sender);
    let mut left = job.wanted.len();
    while left > 0 {
        // The threads end without having sent everything only if one of them panicked.
        let decoded = receiver.recv().map_err(|_| "the decoder panicked".to_owned())?;
        reporter.item(decoded?).map_err(|_| "the caller has given up".to_owned())?;
        left -= 1;
    }
    Ok(())
}

impl Job {
    fn decode(&self, index: usize) -> Decoded {
        let file = &self.files[index];
        let frame = picture::decode(file, &self.options).map_err(|error| error.to_string())?;
        match (frame.width, frame.height) == self.size {
            true => Ok((index, frame)),
            false => Err(format!("{}: the file has changed", file.display())),
        }
    }
}
