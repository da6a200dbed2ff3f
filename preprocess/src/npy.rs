//! Frames from `.npy` files: `(T, H, W, 3)` bytes, the format of NumPy.
//!
//! A file is the magic `\x93NUMPY`, a version, the length of a header, the header, and the array. The header is the
//! text of a Python dictionary with the entries `descr`, `fortran_order` and `shape`
//! (`numpy.lib.format`, versions 1 to 3).

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::{Error, Frames, Result};

const MAGIC: &[u8] = b"\x93NUMPY";

/// NumPy's own limit for headers of files that are not trusted.
const MAX_HEADER: usize = 10_000;

/// Frames of one file: 4 GiB are 682 frames of 1920×1080.
const MAX_BYTES: u64 = 4 << 30;

/// Reads a file of shape `(T, H, W, 3)` and type `uint8`.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::InFile`] with an [`Error::Npy`] when it is no such array.
pub fn read_npy(path: impl AsRef<Path>) -> Result<Frames> {
    let path = path.as_ref();
    let io = |source| Error::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    let in_file = |source| Error::InFile { path: path.to_owned(), source: Box::new(source) };
    let len = file.metadata().map_err(io)?.len();
    if len > MAX_BYTES {
        return Err(in_file(invalid("file", format!("at most {MAX_BYTES} bytes"), format!("{len} bytes"))));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    parse_npy(bytes).map_err(in_file)
}

/// As [`read_npy`], from the bytes of a file.
///
/// # Errors
/// [`Error::Npy`] when `bytes` is no such array.
pub fn parse_npy(mut bytes: Vec<u8>) -> Result<Frames> {
    let header = header_range(&bytes)?;
    let text = std::str::from_utf8(&bytes[header.clone()])
        .map_err(|_| invalid("header", "text", "bytes that are no UTF-8"))?;
    let Header { descr, fortran_order, shape } = Header::parse(text)?;
    if !matches!(descr.as_str(), "|u1" | "<u1" | ">u1" | "u1" | "B") {
        return Err(invalid("type", "uint8 (|u1)", descr));
    }
    let &[num_frames, height, width, 3] = shape.as_slice() else {
        return Err(invalid("shape", "(T, H, W, 3)", format!("{shape:?}")));
    };
    if fortran_order {
        return Err(invalid("order", "C order (fortran_order False)", "fortran_order True"));
    }
    let size = [num_frames, height, width, 3].iter().try_fold(1usize, |n, &edge| n.checked_mul(edge));
    let found = bytes.len() - header.end;
    if size != Some(found) || found == 0 {
        let expected = size.map_or("fewer".to_owned(), |n| format!("{n} bytes, at least one"));
        return Err(invalid("array", format!("{expected} for shape {shape:?}"), format!("{found} bytes")));
    }
    bytes.drain(..header.end);
    Frames::new(bytes, num_frames, height, width)
}

/// Writes `frames` in version 1 of the format, whole or not at all.
///
/// # Errors
/// [`Error::Io`] when that fails.
pub fn write_npy(path: impl AsRef<Path>, frames: &Frames) -> Result<()> {
    let path = path.as_ref();
    let io = |source| Error::Io { path: path.to_owned(), source };
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(io)?;
    let [t, h, w] = [frames.num_frames(), frames.height(), frames.width()];
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({t}, {h}, {w}, 3), }}");
    // The array starts at a multiple of 64 after 10 bytes of preamble; the header ends with a line feed.
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    for part in [MAGIC, &[1, 0], &length[..], header.as_bytes(), frames.as_bytes()] {
        file.write_all(part).map_err(io)?;
    }
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// Where the text of the header lies; the array begins at its end.
fn header_range(bytes: &[u8]) -> Result<std::ops::Range<usize>> {
    if bytes.get(..6) != Some(MAGIC) {
        return Err(invalid("magic", "\\x93NUMPY at the start", format!("{} other bytes", bytes.len())));
    }
    let (start, len) = match *bytes {
        [_, _, _, _, _, _, 1, 0, a, b, ..] => (10, usize::from(u16::from_le_bytes([a, b]))),
        [_, _, _, _, _, _, 2 | 3, 0, a, b, c, d, ..] => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        [_, _, _, _, _, _, major, minor, ..] if !(1..=3).contains(&major) || minor != 0 => {
            return Err(invalid("version", "1.0, 2.0 or 3.0", format!("{major}.{minor}")));
        }
        _ => {
            return Err(invalid("header", "a version and a length", format!("{} bytes in all", bytes.len())));
        }
    };
    if len > MAX_HEADER || len > bytes.len() - start {
        let most = MAX_HEADER.min(bytes.len() - start);
        return Err(invalid("header", format!("at most {most} bytes"), format!("a length of {len}")));
    }
    Ok(start..start + len)
}

/// The three entries of a header.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Result<Self> {
        let mut scanner = Scanner { rest: text };
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        scanner.expect('{')?;
        while !scanner.eat('}') {
            let key = scanner.string()?;
            scanner.expect(':')?;
            let repeated = match key {
                "descr" => descr.replace(scanner.string()?.to_owned()).is_some(),
                "fortran_order" => fortran_order.replace(scanner.boolean()?).is_some(),
                "shape" => shape.replace(scanner.tuple()?).is_some(),
                other => return Err(invalid("header", "the entries descr, fortran_order and shape", other)),
            };
            if repeated {
                return Err(invalid("header", "each entry once", format!("{key} twice")));
            }
            if !scanner.eat(',') {
                scanner.expect('}')?;
                break;
            }
        }
        scanner.end()?;
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => Ok(Self { descr, fortran_order, shape }),
            _ => Err(invalid("header", "the entries descr, fortran_order and shape", text.trim_end())),
        }
    }
}

/// Reads the few forms of Python text that a header may have.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn eat(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start_matches([' ', '\n']);
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.unexpected(&format!("'{token}'"))) }
    }

    fn string(&mut self) -> Result<&'a str> {
        let quote = if self.eat('\'') { '\'' } else { '"' };
        if quote == '"' {
            self.expect('"')?;
        }
        let (text, rest) = self.rest.split_once(quote).ok_or_else(|| self.unexpected("a closing quote"))?;
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool> {
        self.rest = self.rest.trim_start_matches(' ');
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err(self.unexpected("True or False"))
    }

    fn tuple(&mut self) -> Result<Vec<usize>> {
        self.expect('(')?;
        let mut values = Vec::new();
        while !self.eat(')') {
            values.push(self.number()?);
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        Ok(values)
    }

    fn number(&mut self) -> Result<usize> {
        self.rest = self.rest.trim_start_matches(' ');
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let value = self.rest[..end].parse().map_err(|_| self.unexpected("a size"))?;
        self.rest = &self.rest[end..];
        Ok(value)
    }

    fn end(&self) -> Result<()> {
        if self.rest.trim_end_matches([' ', '\n']).is_empty() {
            Ok(())
        } else {
            Err(self.unexpected("the end"))
        }
    }

    fn unexpected(&self, expected: &str) -> Error {
        let found: String = self.rest.chars().take(20).collect();
        invalid("header", expected, format!("{found:?}"))
    }
}

fn invalid(part: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Npy { part, expected: expected.into(), found: found.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(header: &str, array: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length[..], header.as_bytes(), array].concat()
    }

    fn message(header: &str, array: &[u8]) -> String {
        parse_npy(file(header, array)).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let frames = Frames::new((0..90).collect(), 2, 3, 5).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("clip.npy");
        write_npy(&path, &frames).unwrap();
        assert_eq!(read_npy(&path).unwrap(), frames);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 128 + 90);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn all_versions_and_spellings_are_read() {
        let array = [7; 6];
        let text = r#"{"shape": (1,2,1,3), "descr": "|u1", "fortran_order": False}"#;
        assert_eq!(parse_npy(file(text, &array)).unwrap().height(), 2);
        for version in [2, 3] {
            let length = (text.len() as u32).to_le_bytes();
            let bytes = [MAGIC, &[version, 0], &length[..], text.as_bytes(), &array].concat();
            assert_eq!(parse_npy(bytes).unwrap().width(), 1);
        }
    }

    #[test]
    fn errors_say_what_was_expected_and_found() {
        let header = |descr, order, shape| {
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n")
        };
        let good = header("|u1", "False", "(1, 1, 1, 3)");
        assert_eq!(
            message(&good, &[0; 2]),
            "npy array: expected 3 bytes, at least one for shape [1, 1, 1, 3], found 2 bytes"
        );
        assert!(message(&good, &[0; 4]).ends_with("found 4 bytes"));
        assert_eq!(
            message(&header("<f4", "False", "(1, 1, 1, 3)"), &[0; 12]),
            "npy type: expected uint8 (|u1), found <f4"
        );
        assert_eq!(
            message(&header("|u1", "False", "(1, 3)"), &[0; 3]),
            "npy shape: expected (T, H, W, 3), found [1, 3]"
        );
        assert!(message(&header("|u1", "True", "(1, 1, 1, 3)"), &[0; 3]).starts_with("npy order: "));
        assert!(message(&header("|u1", "False", "(0, 1, 1, 3)"), &[]).starts_with("npy array: "));
        let huge = "(9999999999, 9999999999, 9999999999, 3)";
        assert!(message(&header("|u1", "False", huge), &[0; 3]).starts_with("npy array: expected fewer"));
        assert!(message(&header("|u1", "False", "(99999999999999999999, 1, 1, 3)"), &[]).contains("a size"));
        assert!(message("{'descr': '|u1'}", &[]).starts_with("npy header: expected the entries"));
        assert!(message("{'descr': '|u1', 'descr': '|u1'}", &[]).contains("twice"));
        assert!(message("{'other': 1}", &[]).ends_with("found other"));
        assert!(message("", &[]).contains("'{'"));
    }

    #[test]
    fn truncated_preambles_are_errors() {
        let whole = file("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 3), }", &[1, 2, 3]);
        assert!(parse_npy(whole.clone()).is_ok());
        for len in 0..whole.len() {
            let error = parse_npy(whole[..len].to_vec()).unwrap_err();
            assert!(matches!(error, Error::Npy { .. }), "{len}: {error}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, version in 0u8..5, header: String) {
            let _ = parse_npy(bytes.clone());
            let _ = parse_npy([MAGIC, &[version, 0], &bytes].concat());
            let _ = parse_npy(file(&header, &bytes));
        }

        #[test]
        fn a_changed_byte_is_an_error_or_a_valid_file(position in 0usize..75, byte: u8) {
            let mut bytes = file("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 1, 3), }", &[5; 6]);
            bytes[position] = byte;
            if let Ok(frames) = parse_npy(bytes) {
                prop_assert_eq!(frames.as_bytes(), [5; 6]);
            }
        }
    }
}
