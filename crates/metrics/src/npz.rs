//! Reference statistics as EDM, pytorch-fid and ADM keep them: NumPy's `.npz` with `mu` (`[dimension]`) and `sigma`
//! (`[dimension, dimension]`), the sample covariance.
//!
//! Read as data, with a bound on every length. Written uncompressed, in float64, with no times in it.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, Write};
use std::path::Path;

use patchwork_core::{FileError, file_error};
use tch::{Kind, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::Gaussian;
use crate::error::MetricsError;

/// No extractor's features are wider.
const LARGEST_DIMENSION: usize = 16_384;

/// A header of an array is one line of a few dozen bytes; NumPy itself limits it to this.
const LARGEST_HEADER: usize = 10_000;

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads statistics.
///
/// `count` is how many images they are of; where nobody knows, the covariance is taken to have full rank.
///
/// # Errors
/// [`MetricsError::Statistics`] names the file and what is wrong with it or with its numbers.
pub fn read(path: &Path, count: Option<i64>) -> Result<Gaussian, MetricsError> {
    let refused = |reason: String| MetricsError::Statistics {
        path: path.to_owned(),
        reason,
    };
    let mut archive = open(path)?;
    let mean = array(&mut archive, "mu", None).map_err(refused)?;
    // A few bytes of an archive may unpack to gigabytes: what does not fit is not read.
    let widest = mean.shape.iter().copied().max();
    let covariance = array(&mut archive, "sigma", widest).map_err(refused)?;
    let dimension = match mean.shape[..] {
        [dimension] => dimension as i64,
        _ => {
            return Err(refused(format!(
                "`mu` has shape {:?}, not that of a vector",
                mean.shape
            )));
        }
    };
    if covariance.shape != [mean.shape[0]; 2] {
        let shape = &covariance.shape;
        return Err(refused(format!(
            "`sigma` has shape {shape:?}, and `mu` has {dimension} elements"
        )));
    }
    let mean = Tensor::from_slice(&mean.values);
    let covariance = Tensor::from_slice(&covariance.values).view([dimension, dimension]);
    let gaussian = Gaussian::new(&mean, &covariance, count.unwrap_or(dimension + 1))
        .map_err(|error| refused(error.to_string()))?;
    if !is_positive(gaussian.covariance()) {
        return Err(refused(
            "`sigma` is not a covariance: it has negative variances".to_owned(),
        ));
    }
    Ok(gaussian)
}

/// What a file is that is not an archive: other programs keep statistics in other ways.
fn other_kind(file: &mut File) -> std::io::Result<Option<&'static str>> {
    let mut head = Vec::new();
    Read::by_ref(file).take(6).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(match head[..] {
        [0x80, 2..=5, ..] => Some("a pickle, as EDM2 keeps its statistics"),
        _ if head == MAGIC => Some("a single array of NumPy"),
        _ => None,
    })
}

/// Whether a symmetric matrix has no negative eigenvalue, but for the rounding of numbers in float32.
fn is_positive(covariance: &Tensor) -> bool {
    let diagonal = covariance.diagonal(0, 0, 1);
    let largest = diagonal.abs().max().double_value(&[]);
    let identity = Tensor::eye(covariance.size()[0], (Kind::Double, covariance.device()));
    let raised = covariance + identity * (1e-4 * largest + f64::MIN_POSITIVE);
    let (_, problem) = raised.linalg_cholesky_ex(false, false);
    problem.int64_value(&[]) == 0
}

/// How wide the features are that the statistics are of, by the mean's shape alone.
///
/// # Errors
/// As [`read`].
pub fn width(path: &Path) -> Result<i64, MetricsError> {
    let mean = array(&mut open(path)?, "mu", None).map_err(|reason| MetricsError::Statistics {
        path: path.to_owned(),
        reason,
    })?;
    Ok(mean.values.len() as i64)
}

fn open(path: &Path) -> Result<ZipArchive<BufReader<File>>, MetricsError> {
    let refused = |reason: String| MetricsError::Statistics {
        path: path.to_owned(),
        reason,
    };
    let mut file = file_error::open(path)?;
    if let Some(kind) =
        other_kind(&mut file).map_err(|error| FileError::new("read", path, error))?
    {
        return Err(refused(format!(
            "it is not an `.npz` file but {kind}\n\
             hint: write its mean and covariance with `numpy.savez(\"statistics.npz\", mu=mu, sigma=sigma)`"
        )));
    }
    ZipArchive::new(BufReader::new(file))
        .map_err(|error| refused(format!("it is not an `.npz` file: {error}")))
}

/// The bytes of a file that NumPy, EDM's `fid.py` and pytorch-fid read.
pub fn to_bytes(gaussian: &Gaussian) -> Result<Vec<u8>, MetricsError> {
    archive([("mu", gaussian.mean()), ("sigma", gaussian.covariance())])
}

fn archive(arrays: [(&str, &Tensor); 2]) -> Result<Vec<u8>, MetricsError> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    for (name, tensor) in arrays {
        let values = Vec::<f64>::try_from(tensor.flatten(0, -1).to_kind(Kind::Double))?;
        writer
            .start_file(format!("{name}.npy"), options)
            .map_err(std::io::Error::from)
            .and_then(|()| writer.write_all(&header(&tensor.size())))
            .and_then(|()| {
                values
                    .iter()
                    .try_for_each(|value| writer.write_all(&value.to_le_bytes()))
            })
            .map_err(|cause| MetricsError::Archive { cause })?;
    }
    let bytes = writer.finish().map_err(|error| MetricsError::Archive {
        cause: error.into(),
    })?;
    Ok(bytes.into_inner())
}

/// NumPy's format 1.0: the array begins at a multiple of 64 bytes.
fn header(shape: &[i64]) -> Vec<u8> {
    let sides: Vec<String> = shape.iter().map(i64::to_string).collect();
    let shape = format!("{},", sides.join(", "));
    let mut text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}");
    let before = MAGIC.len() + 4;
    while !(before + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.bytes());
    bytes
}

#[derive(Debug)]
struct Array {
    shape: Vec<usize>,
    values: Vec<f64>,
}

fn array<R: Read + std::io::Seek>(
    archive: &mut ZipArchive<R>,
    name: &str,
    widest: Option<usize>,
) -> Result<Array, String> {
    const MOST_NAMED: usize = 10;
    let mut known: Vec<String> = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
        .take(MOST_NAMED)
        .collect();
    if archive.len() > known.len() {
        known.push(format!("{} more", archive.len() - known.len()));
    }
    let mut member = archive
        .by_name(&format!("{name}.npy"))
        .map_err(|_| format!("it holds no `{name}`, but {}", known.join(", ")))?;
    read_array(&mut member, widest).map_err(|reason| format!("`{name}` cannot be read: {reason}"))
}

/// No side of the array may be longer than `widest`.
fn read_array(reader: &mut dyn Read, widest: Option<usize>) -> Result<Array, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(text)?;
    if &start[..6] != MAGIC {
        return Err("it is not a NumPy array".to_owned());
    }
    let length = match start[6] {
        1 => {
            let mut length = [0; 2];
            reader.read_exact(&mut length).map_err(text)?;
            usize::from(u16::from_le_bytes(length))
        }
        2 | 3 => {
            let mut length = [0; 4];
            reader.read_exact(&mut length).map_err(text)?;
            u32::from_le_bytes(length) as usize
        }
        version => return Err(format!("its format {version} is not known")),
    };
    if length > LARGEST_HEADER {
        return Err(format!("its header claims {length} bytes"));
    }
    let mut header = vec![0; length];
    reader.read_exact(&mut header).map_err(text)?;
    let header = String::from_utf8_lossy(&header);
    let width = match field(&header, "descr") {
        Some("'<f8'") => 8,
        Some("'<f4'") => 4,
        other => return Err(format!("its elements are {}", other.unwrap_or("unnamed"))),
    };
    let shape = field(&header, "shape")
        .and_then(parse_shape)
        .ok_or("its shape is missing")?;
    let elements = shape.iter().try_fold(1_usize, |product, side| {
        product
            .checked_mul(*side)
            .filter(|_| *side <= LARGEST_DIMENSION)
    });
    let elements = elements
        .filter(|count| *count > 0 && shape.len() <= 2)
        .ok_or_else(|| format!("its shape is {shape:?}"))?;
    if let Some(widest) = widest
        && shape.iter().any(|side| *side > widest)
    {
        return Err(format!(
            "its shape is {shape:?}, and `mu` has {widest} elements"
        ));
    }
    // Rows or columns first is the same for a vector and for a symmetric matrix.
    let mut bytes = Vec::new();
    let expected = elements * width;
    reader
        .take(expected as u64)
        .read_to_end(&mut bytes)
        .map_err(text)?;
    if bytes.len() < expected {
        return Err(format!("it ends after {} of {expected} bytes", bytes.len()));
    }
    let values = if width == 8 {
        let eight = |chunk: &[u8]| f64::from_le_bytes(chunk.try_into().expect("chunks of 8 bytes"));
        bytes.chunks_exact(8).map(eight).collect()
    } else {
        let four = |chunk: &[u8]| f32::from_le_bytes(chunk.try_into().expect("chunks of 4 bytes"));
        bytes
            .chunks_exact(4)
            .map(|chunk| f64::from(four(chunk)))
            .collect()
    };
    Ok(Array { shape, values })
}

/// A value of the header's Python dictionary, as it is written there.
fn field<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    let rest = rest.trim_start();
    let end = if rest.starts_with('(') {
        rest.find(')')? + 1
    } else {
        rest.find([',', '}'])?
    };
    Some(rest[..end].trim_end())
}

fn parse_shape(text: &str) -> Option<Vec<usize>> {
    text.strip_prefix('(')?
        .strip_suffix(')')?
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty())
        .map(|side| side.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn gaussian() -> Gaussian {
        tch::manual_seed(0);
        let features = Tensor::randn([40, 5], (Kind::Double, Device::Cpu));
        let mut moments = crate::Moments::new(5);
        moments.accumulate(&features).unwrap();
        moments.gaussian().unwrap()
    }

    #[test]
    fn what_is_written_reads_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statistics.npz");
        let ours = gaussian();
        std::fs::write(&path, to_bytes(&ours).unwrap()).unwrap();
        let read = read(&path, Some(40)).unwrap();
        assert!(read.mean().equal(ours.mean()) && read.covariance().equal(ours.covariance()));
        assert_eq!(to_bytes(&ours).unwrap(), to_bytes(&read).unwrap());
    }

    #[test]
    fn broken_files_are_refused_with_the_cause() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("statistics.npz");
        let check = |bytes: &[u8], expected: &str| {
            std::fs::write(&path, bytes).unwrap();
            let message = read(&path, None).unwrap_err().to_string();
            assert!(message.contains(expected), "{message} / {expected}");
        };
        let bytes = to_bytes(&gaussian()).unwrap();
        check(b"mu", "not an `.npz` file");
        check(b"\x80\x04\x95 and so on", "a pickle, as EDM2");
        check(b"\x93NUMPY\x01\0", "a single array of NumPy");
        for (row, column, value, cause) in [
            (1, 1, f64::NAN, "statistics.npz"),
            (1, 2, 1e3, "asymmetric"),
            (1, 1, -1e3, "negative variances"),
        ] {
            let ours = gaussian();
            let covariance = ours.covariance().copy();
            let _ = covariance.get(row).get(column).fill_(value);
            let wrong = archive([("mu", ours.mean()), ("sigma", &covariance)]);
            check(&wrong.unwrap(), cause);
        }
        check(&bytes[..bytes.len() / 2], "not an `.npz` file");
        let edited = |from: &[u8], to: &[u8]| {
            assert_eq!(from.len(), to.len());
            let mut bytes = bytes.clone();
            while let Some(place) = bytes.windows(from.len()).position(|part| part == from) {
                bytes[place..place + to.len()].copy_from_slice(to);
            }
            bytes
        };
        check(&edited(b"sigma.npy", b"omega.npy"), "holds no `sigma`");
        check(&edited(b"'<f8'", b"'|O8'"), "its elements are '|O8'");
        check(&edited(b"(5, 5,), ", b"(9, 99999"), "its shape");
        // More elements than there are: the archive's checksum shows first that its content was changed.
        check(&edited(b"(5, 5,)", b"(9,999)"), "`sigma` cannot be read");
        check(&edited(b"(5,)", b"(9,)"), "`mu` cannot be read");
    }
}
