//! Finding the program, starting it and ending it.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::report::MAX_LINE;
use super::{Report, bounds};
use crate::decode::supervise::{Reporter, supervise};
use crate::decode::{Limits, VideoOptions};

/// The file that `variable` names, or else `ffmpeg` in one of the folders of `path`.
///
/// # Errors
/// What to do when there is none.
pub(crate) fn find(variable: Option<OsString>, path: Option<OsString>) -> Result<PathBuf, String> {
    let name = format!("ffmpeg{}", std::env::consts::EXE_SUFFIX);
    if let Some(program) = variable.filter(|value| !value.is_empty()).map(PathBuf::from) {
        return match program.is_file() {
            true => Ok(program),
            false => Err(format!("VIDEOMAE_FFMPEG names {}, where there is no file", program.display())),
        };
    }
    let folders = path.iter().flat_map(std::env::split_paths);
    // A relative folder in PATH would run whatever lies beside the video.
    let mut programs = folders.filter(|folder| folder.is_absolute()).map(|folder| folder.join(&name));
    programs.find(|program| program.is_file()).ok_or_else(|| {
        "no FFmpeg found: install it (apt install ffmpeg, brew install ffmpeg) or set \
         VIDEOMAE_FFMPEG=/path/to/ffmpeg"
            .to_owned()
    })
}

/// The program and the file it reads.
#[derive(Debug)]
pub(super) struct Program {
    program: PathBuf,
    input: OsString,
    autorotate: bool,
    limits: Limits,
    /// Stop at the first error instead of making something up.
    pub(super) strict: bool,
    /// The option that keeps frames from being repeated or dropped, which has changed its name.
    passthrough: &'static str,
    /// See [`MAX_SELECTED`].
    pub(super) max_selected: usize,
}

/// FFmpeg 5.1 and later, and 7.1 and earlier.
const PASSTHROUGH: [&str; 2] = ["-fps_mode", "-vsync"];

/// Demuxers of files that stand for themselves; playlists and lists of files are not among them.
pub(crate) const DEMUXERS: &str = "avi,mov,matroska,webm,mpegts,mpeg,mpegvideo,m4v,h264,hevc,flv,asf,ogg,gif,apng,ivf,rm,dv,mxf,nut,\
                        wtv,yuv4mpegpipe,image2,webp_pipe,av1,obu";

/// Frames of a selection expression; with more the program decodes all, and those not wanted are left out here.
const MAX_SELECTED: usize = 256;

impl Program {
    pub(super) fn new(program: PathBuf, path: &Path, options: &VideoOptions) -> Self {
        // The prefix keeps a name such as `concat:a` or `-y` from being more than a name.
        let mut input = OsString::from("file:");
        input.push(path);
        Self {
            program,
            input,
            autorotate: options.autorotate,
            limits: options.limits,
            strict: false,
            passthrough: PASSTHROUGH[0],
            max_selected: MAX_SELECTED,
        }
    }

    /// Decodes the whole file and reports its frames.
    pub(super) fn count(&mut self) -> Result<Report, String> {
        let mut report = self.count_once()?;
        if report.frames.is_empty() && report.unknown_option {
            self.passthrough = PASSTHROUGH[1];
            report = self.count_once()?;
        }
        match &report.failure {
            Some(failure) if report.frames.is_empty() => Err(failure.clone()),
            _ => Ok(report),
        }
    }

    fn count_once(&self) -> Result<Report, String> {
        let limits = &self.limits;
        let mut command = self.command("info", limits.pixels);
        command.args([self.passthrough, "passthrough", "-f", "framecrc", "-"]);
        let (mut running, output) = Running::start(command, &self.limits)?;
        let mut report = Report::default();
        // A line at a time, because each is a sign of life.
        let work = move |reporter: &Reporter<String>| {
            let mut lines = BufReader::new(output);
            loop {
                let mut line = Vec::new();
                let read = lines.by_ref().take(MAX_LINE as u64).read_until(b'\n', &mut line);
                if read.map_err(|error| error.to_string())? == 0 {
                    return Ok(());
                }
                let line = String::from_utf8_lossy(&line).into_owned();
                reporter.item(line).map_err(|_| "the caller has given up".to_owned())?;
            }
        };
        let mut bad = None;
        let receive = |line: String| {
            bad = bad.take().or_else(|| report.read_frame(line.trim_end()).err());
        };
        let end = supervise(limits.per_picture, limits.per_read, work, receive);
        let said = running.finish();
        end?;
        bad.map_or(Ok(()), Err)?;
        report.read_messages(&said);
        Ok(report)
    }

    /// Starts to decode the frames `wanted`, ascending, which come out one after the other.
    pub(super) fn frames(&self, wanted: &[usize], format: &str) -> Result<(Running, Frames), String> {
        // The sizes were checked when the file was opened.
        let mut command = self.command("error", usize::MAX);
        let selected = wanted.len() <= self.max_selected;
        if selected {
            let terms: Vec<String> = wanted.iter().map(|index| format!("eq(n,{index})")).collect();
            command.args(["-vf", &format!("select='{}'", terms.join("+"))]);
        }
        let count = if selected { wanted.len() } else { wanted.last().map_or(0, |last| last + 1) };
        command.args([self.passthrough, "passthrough", "-frames:v", &count.to_string()]);
        command.args(["-f", "rawvideo", "-pix_fmt", format, "-"]);
        let (running, output) = Running::start(command, &self.limits)?;
        let skipped = if selected { Vec::new() } else { gaps(wanted) };
        Ok((running, Frames { output, skipped }))
    }

    fn command(&self, level: &str, max_pixels: usize) -> Command {
        let mut command = Command::new(&self.program);
        command.env("AV_LOG_FORCE_NOCOLOR", "1");
        command.args(["-nostdin", "-v", level, "-threads", "1"]);
        command.args(["-protocol_whitelist", "file,pipe", "-format_whitelist", DEMUXERS]);
        // A gigabyte at once is an 8K picture many times over.
        command.args(["-max_alloc", "1073741824"]);
        if let Ok(pixels) = i32::try_from(max_pixels) {
            command.args(["-max_pixels", &pixels.to_string()]);
        }
        if self.strict {
            command.args(["-xerror", "-err_detect", "explode"]);
        }
        if !self.autorotate {
            command.arg("-noautorotate");
        }
        command.arg("-i").arg(&self.input).args(["-map", "0:v:0", "-an", "-sn", "-dn"]);
        command
    }
}

/// How many frames come before each wanted one that are not wanted.
fn gaps(wanted: &[usize]) -> Vec<usize> {
    let before = std::iter::once(None).chain(wanted.iter().copied().map(Some));
    wanted.iter().zip(before).map(|(&index, before)| index - before.map_or(0, |before| before + 1)).collect()
}

/// What the program writes: frames, some of which are left out.
pub(super) struct Frames {
    output: ChildStdout,
    /// How many to leave out before each that is kept; empty when all are kept.
    skipped: Vec<usize>,
}

/// Reads `count` frames of `size` bytes and reports each.
pub(super) fn read_frames(
    mut frames: Frames,
    size: usize,
    count: usize,
    reporter: &Reporter<Vec<u8>>,
) -> Result<(), String> {
    for number in 0..count {
        for _ in 0..frames.skipped.get(number).copied().unwrap_or(0) {
            let discarded = std::io::copy(&mut (&mut frames.output).take(size as u64), &mut std::io::sink());
            discarded.map_err(|error| error.to_string())?;
        }
        let mut bytes = vec![0; size];
        frames.output.read_exact(&mut bytes).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "there are fewer frames than were counted".to_owned(),
            _ => error.to_string(),
        })?;
        reporter.item(bytes).map_err(|_| "the caller has given up".to_owned())?;
    }
    Ok(())
}

/// A running program, which ends with this value.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    messages: Option<JoinHandle<String>>,
}

/// Of what the program says on standard error, this much is kept; the rest is read and dropped, so that it can go on.
const MAX_MESSAGES: usize = 1 << 16;

/// From its last frame to its last word a program that is not stuck takes a few milliseconds.
const GRACE: Duration = Duration::from_millis(200);

impl Running {
    fn start(mut command: Command, limits: &Limits) -> Result<(Self, ChildStdout), String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = command.get_program().to_owned();
        let mut child = command.spawn().map_err(|error| cannot_start(&name, &error))?;
        let output = child.stdout.take().expect("standard output is piped");
        let errors = child.stderr.take().expect("standard error is piped");
        let listen = move || {
            let mut kept = Vec::new();
            let mut errors = errors;
            // A pipe that breaks ends the text; the frames tell whether the program succeeded.
            let _ = (&mut errors).take(MAX_MESSAGES as u64).read_to_end(&mut kept);
            let _ = std::io::copy(&mut errors, &mut std::io::sink());
            String::from_utf8_lossy(&kept).into_owned()
        };
        let mut running = Self { child, messages: None };
        bounds::apply(&running.child, limits).map_err(|error| cannot_start(&name, &error))?;
        let messages = std::thread::Builder::new().name("ffmpeg-messages".to_owned()).spawn(listen);
        running.messages = Some(messages.map_err(|error| cannot_start(&name, &error))?);
        Ok((running, output))
    }

    /// Ends the program if it does not end by itself at once, and gives what it said.
    pub(super) fn finish(&mut self) -> String {
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.end();
        // A panic of the thread could only come from lack of memory.
        let said = self.messages.take().and_then(|messages| messages.join().ok()).unwrap_or_default();
        said.trim_end().to_owned()
    }

    fn end(&mut self) {
        // Both fail when the program has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn cannot_start(name: &OsStr, error: &std::io::Error) -> String {
    format!("{} cannot be started: {error}", name.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_before_the_path_and_must_name_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(format!("ffmpeg{}", std::env::consts::EXE_SUFFIX));
        let path = || Some(folder.path().as_os_str().to_owned());
        assert!(find(None, path()).unwrap_err().starts_with("no FFmpeg found: install it"));
        std::fs::write(&program, "").unwrap();
        assert_eq!(find(None, path()), Ok(program.clone()));
        assert_eq!(find(Some(program.clone().into()), None), Ok(program.clone()));
        assert_eq!(find(Some(OsString::new()), path()), Ok(program));
        assert!(find(Some("nowhere/ffmpeg".into()), path()).unwrap_err().ends_with("where there is no file"));
        // Never one that lies in the current folder.
        assert!(find(None, Some(".".into())).is_err());
    }

    #[test]
    fn gaps_count_what_lies_between() {
        assert_eq!(gaps(&[0, 1, 4, 9]), [0, 0, 2, 4]);
        assert_eq!(gaps(&[3]), [3]);
    }
}
