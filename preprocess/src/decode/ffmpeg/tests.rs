//! Against the real program where the machine has one, and against a script that plays its part.

use std::path::{Path, PathBuf};

use super::*;
use crate::decode::{Decoder, open_video_with, read_frames};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/video").join(name)
}

fn program() -> Option<PathBuf> {
    let found = find(None, std::env::var_os("PATH"));
    found.inspect_err(|_| eprintln!("skipped: there is no ffmpeg program here")).ok()
}

#[test]
fn the_program_gives_the_frames_that_the_builtin_decoder_gives() {
    let Some(program) = program() else { return };
    let options = VideoOptions { decoder: Decoder::Builtin, ..VideoOptions::default() };
    for name in [
        "high_b_frames.mp4",
        "interlaced.mp4",
        "high_b_frames.mkv",
        "full_range.mp4",
        "bt709_full.mp4",
        "rotated_90.mp4",
        "rotated_270.mp4",
        "mirrored.mp4",
        "variable_rate.mp4",
        "fragmented.mp4",
        "edit_from_middle.mp4",
        "cut_before_keyframe.mp4",
    ] {
        let mut expected = open_video_with(fixture(name), options).unwrap();
        let mut found = FfmpegReader::new(program.clone(), &fixture(name), options).unwrap();
        let (ours, theirs) = (expected.info().clone(), found.info().clone());
        let shape = |info: &VideoInfo| (info.num_frames, info.width, info.height);
        assert_eq!(shape(&theirs), shape(&ours), "{name}");
        let times = found.times().into_iter().zip(expected.times());
        for (index, (theirs, ours)) in times.enumerate() {
            assert!((theirs - ours).abs() < 1e-3, "{name}: frame {index} at {theirs} s, expected {ours} s");
        }
        let indices: Vec<usize> = (0..ours.num_frames).rev().step_by(3).collect();
        let theirs = read_frames(&mut found, &indices).unwrap();
        assert!(theirs == read_frames(&mut *expected, &indices).unwrap(), "{name}");
    }
}

#[test]
fn many_frames_are_counted_off_without_a_selection() {
    let Some(program) = program() else { return };
    let path = fixture("high_b_frames.mp4");
    let mut reader = FfmpegReader::new(program, &path, VideoOptions::default()).unwrap();
    let mut read = |max_selected| {
        reader.program.max_selected = max_selected;
        let mut seen = Vec::new();
        reader
            .read_pictures(&[0, 5, 6, 19], &mut |index, picture| seen.push((index, picture.clone())))
            .unwrap();
        seen
    };
    assert!(read(0) == read(usize::MAX));
}

#[test]
fn what_the_program_cannot_read_is_told_in_its_words() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("-y");
    // A playlist would make it read another file.
    for content in
        [&b"this is no video"[..], b"ffconcat version 1.0\nfile a.mp4\n", b"#EXTM3U\n#EXTINF:1,\na.ts\n"]
    {
        std::fs::write(&path, content).unwrap();
        let error = FfmpegReader::new(program.clone(), &path, VideoOptions::default()).unwrap_err();
        assert!(error.to_string().contains("ffmpeg cannot read it: "), "{error}");
    }
}

#[cfg(unix)]
mod played {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, Instant};

    use super::*;

    /// A script in place of the program; `count` answers when frames are counted, `frames` when they are asked for.
    fn reader(count: &str, frames: &str, limits: Limits) -> (tempfile::TempDir, Result<FfmpegReader>) {
        let folder = tempfile::tempdir().unwrap();
        let script = format!("#!/bin/sh\ncase \"$*\" in\n*framecrc*)\n{count}\n;;\n*)\n{frames}\n;;\nesac\n");
        let program = folder.path().join("ffmpeg");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = VideoOptions { limits, ..VideoOptions::default() };
        let reader = FfmpegReader::new(program, Path::new("a.avi"), options);
        (folder, reader)
    }

    /// Three frames of 2×2 pixels, 6 bytes each.
    const COUNT: &str = "echo 'ffmpeg version 7 Copyright
Input #0, avi, from a.avi:
  Stream #0:0: Video: mpeg4, yuv420p, 2x2
Output #0
  Stream #0:0: Video: rawvideo, yuv420p, 2x2' >&2
printf '#tb 0: 1/25\\n#dimensions 0: 2x2\\n0, 0, 0, 1, 6, 0\\n0, 1, 1, 1, 6, 0\\n0, 2, 2, 1, 6, 0\\n'";

    #[test]
    fn frames_are_taken_from_what_it_writes() {
        let (_folder, reader) = reader(COUNT, "printf 'abcdefghijkl'", Limits::default());
        let mut reader = reader.unwrap();
        let info = reader.info();
        assert_eq!((info.num_frames, info.codec.as_str(), info.decoder.as_str()), (3, "mpeg4", "ffmpeg 7"));
        assert_eq!(reader.times(), [0.0, 0.04, 0.08]);
        let mut seen = Vec::new();
        reader.read_pictures(&[2, 0], &mut |index, picture| seen.push((index, picture.clone()))).unwrap();
        let Picture::Yuv(frame) = &seen[1].1 else { panic!("no YUV") };
        assert_eq!((seen[0].0, seen[1].0), (0, 2));
        assert_eq!((&frame.y[..], &frame.u[..], &frame.v[..]), (&b"ghij"[..], &b"k"[..], &b"l"[..]));
    }

    #[test]
    fn fewer_frames_than_counted_are_an_error_with_its_words() {
        let (_folder, reader) = reader(COUNT, "printf 'abcdefgh'; echo 'bad block' >&2", Limits::default());
        let error = reader.unwrap().read_pictures(&[0, 1], &mut |_, _| {}).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.avi: 1 of 2 frames could be decoded: there are fewer frames than were counted; ffmpeg: bad block"
        );
    }

    #[test]
    fn one_that_hangs_is_killed() {
        let limits = Limits {
            per_picture: Duration::from_millis(300),
            per_read: Duration::from_millis(300),
            ..Limits::default()
        };
        let start = Instant::now();
        let (_folder, hung) = reader("exec sleep 60", "", limits);
        assert!(hung.unwrap_err().to_string().contains("took longer than 0.3 s"));
        let (_folder, hung) = reader(COUNT, "exec sleep 60", limits);
        let error = hung.unwrap().read_pictures(&[0], &mut |_, _| {}).unwrap_err();
        assert!(error.to_string().contains("took longer than 0.3 s"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20), "nobody waited for the end of the sleep");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_may_use_so_much_memory_and_time_and_write_no_file() {
        let limits = Limits { pixels: 1 << 20, per_read: Duration::from_secs(77), ..Limits::default() };
        // The bounds come right after the start.
        let told = "sleep 0.3; echo v $(ulimit -v) t $(ulimit -t) f $(ulimit -f) c $(ulimit -c) >&2; exit 1";
        let (_folder, refused) = reader(told, "", limits);
        // In units of 1024 bytes: 1 GiB and twenty pictures of 6 MiB.
        let expected = format!("ffmpeg cannot read it: v {} t 78 f 0 c 0", (1 << 20) + 20 * 6 * 1024);
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(&expected), "{error}");
    }

    #[test]
    fn an_older_program_is_asked_again_with_the_older_option() {
        let count = format!(
            "case \"$*\" in *fps_mode*) echo \"Unrecognized option 'fps_mode'.\" >&2; exit 1;; esac\n{COUNT}"
        );
        let (_folder, reader) = reader(&count, "", Limits::default());
        assert_eq!(reader.unwrap().info().num_frames, 3);
    }

    #[test]
    fn sizes_beyond_the_limits_and_empty_reports_are_refused() {
        let huge = COUNT.replace("dimensions 0: 2x2", "dimensions 0: 99999x2");
        let (_folder, refused) = reader(&huge, "", Limits::default());
        assert!(matches!(refused, Err(Error::VideoLimit { .. })));
        let (_folder, refused) = reader("echo 'a.avi: Invalid data' >&2; exit 1", "", Limits::default());
        assert!(refused.unwrap_err().to_string().contains("ffmpeg cannot read it: a.avi: Invalid data"));
        let (_folder, refused) = reader("echo 'not a number, at, all'", "", Limits::default());
        assert!(refused.unwrap_err().to_string().contains("ffmpeg reports a frame as"));
    }
}
