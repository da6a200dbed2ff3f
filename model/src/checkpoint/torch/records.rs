//! The zip container of `torch.save`: a pickle, and one record for each storage.
//!
//! Torch stores records as they are, so that they can be mapped. Nothing here decompresses: a bomb is refused by its
//! first compressed entry.

use std::{collections::BTreeMap, ops::Range};

use rawzip::{CompressionMethod, ZipArchive, ZipSliceArchive, crc32};

use super::Fault;

/// VideoMAE-huge with the optimiser's state takes half a megabyte.
pub(super) const MAX_PICKLE: usize = 16 << 20;

/// Where things lie in a file.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) pickle: Range<usize>,
    /// By the name that the pickle uses.
    pub(super) storages: BTreeMap<String, Range<usize>>,
}

/// How a zip file begins.
pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Finds and checks every record, and reads none but the pickle.
pub(super) fn read(bytes: &[u8]) -> Result<Records, Fault> {
    let broken = |error: rawzip::Error| Fault::new("a whole zip file", error.to_string());
    let archive = ZipArchive::from_slice(bytes).map_err(broken)?;
    let mut entries = archive.entries();
    let mut found = BTreeMap::new();
    let mut count = 0;
    while let Some(header) = entries.next_entry().map_err(broken)? {
        count += 1;
        let name = String::from_utf8_lossy(header.file_path().as_bytes()).into_owned();
        if header.compression_method() != CompressionMethod::STORE || header.flags().is_encrypted() {
            let method = header.compression_method();
            return Err(Fault::new(
                "records stored as they are, as torch stores them",
                format!("{name} by method {method:?}"),
            ));
        }
        let entry = archive.get_entry(header.wayfinder()).map_err(|error| {
            Fault::new("a whole zip file", format!("no record {name} where it should lie: {error}"))
        })?;
        let (start, end) = entry.compressed_data_range();
        if end - start != header.uncompressed_size_hint() {
            let expected = format!("{} bytes of {name}", header.uncompressed_size_hint());
            return Err(Fault::new(expected, (end - start).to_string()));
        }
        let crc = entry.claim_verifier().crc;
        // Both fit an address, since the record lies in `bytes`.
        let range = start as usize..end as usize;
        if found.insert(name.clone(), (range, crc)).is_some() {
            return Err(Fault::new("every record once", format!("{name} twice")));
        }
    }
    if count != archive.entries_hint() {
        return Err(Fault::new(format!("{} records", archive.entries_hint()), count.to_string()));
    }
    check_overlaps(&found, &archive)?;
    sort(bytes, &found)
}

type Found = BTreeMap<String, (Range<usize>, u32)>;

/// Records that share bytes could make a small file look large.
fn check_overlaps(found: &Found, archive: &ZipSliceArchive<&[u8]>) -> Result<(), Fault> {
    let mut ranges: Vec<_> = found.iter().map(|(name, (range, _))| (range.clone(), name)).collect();
    ranges.sort_by_key(|(range, _)| (range.start, range.end));
    for pair in ranges.windows(2) {
        let [(first, a), (second, b)] = pair else { continue };
        if first.end > second.start {
            return Err(Fault::new("records that share no bytes", format!("{a} and {b} overlapping")));
        }
    }
    match ranges.last() {
        Some((last, name)) if last.end as u64 > archive.directory_offset() => {
            Err(Fault::new("records before the directory", format!("{name} overlapping it")))
        }
        _ => Ok(()),
    }
}

/// Tells the records apart by their names, which begin with one folder.
fn sort(bytes: &[u8], found: &Found) -> Result<Records, Fault> {
    let roots: Vec<&str> = found
        .keys()
        .filter_map(|name| name.strip_suffix("/data.pkl"))
        .filter(|root| !root.contains('/'))
        .collect();
    let [root] = roots[..] else {
        return Err(Fault::new("one record FOLDER/data.pkl, as torch.save writes", roots.len().to_string()));
    };
    if found.contains_key(&format!("{root}/constants.pkl")) {
        return Err(Fault::new(
            "weights saved by torch.save",
            "a TorchScript program; save its state_dict()",
        ));
    }
    if let Some((range, _)) = found.get(&format!("{root}/byteorder"))
        && &bytes[range.clone()] != b"little"
    {
        let found = String::from_utf8_lossy(&bytes[range.clone()]).into_owned();
        return Err(Fault::new("little-endian storages", format!("byteorder {found:?}")));
    }
    let (pickle, crc) = found[&format!("{root}/data.pkl")].clone();
    if pickle.len() > MAX_PICKLE {
        return Err(Fault::new(format!("a pickle of at most {MAX_PICKLE} bytes"), pickle.len().to_string()));
    }
    let computed = crc32(&bytes[pickle.clone()]);
    if computed != crc {
        return Err(Fault::new(format!("data.pkl with checksum {crc:08x}"), format!("{computed:08x}")));
    }
    let folder = format!("{root}/data/");
    let storages = found
        .iter()
        .filter_map(|(name, (range, _))| Some((name.strip_prefix(&folder)?.to_owned(), range.clone())))
        .collect();
    Ok(Records { pickle, storages })
}
