//! TFRecord framing: the length, its checksum, the content, its checksum; numbers are little-endian.

use std::io::{self, Read};

/// CRC-32C (Castagnoli).
const CHECKSUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// Longest record that is read: a torn length must not ask for all memory.
const LONGEST: u64 = 1 << 30;

/// A checksum as it is stored, so that checksums of data that holds checksums stay sound.
fn masked_checksum(bytes: &[u8]) -> u32 {
    CHECKSUM
        .checksum(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// A record of `content`.
pub(crate) fn frame(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(content.len() + 16);
    record.extend(length);
    record.extend(masked_checksum(&length).to_le_bytes());
    record.extend_from_slice(content);
    record.extend(masked_checksum(content).to_le_bytes());
    record
}

/// How many bytes from the start are whole records.
pub(crate) fn whole_bytes(mut file: impl Read) -> io::Result<u64> {
    let mut whole = 0;
    while let Some(length) = next_record(&mut file)? {
        whole += length;
    }
    Ok(whole)
}

/// The length of the next record with its frame; none where the file ends or is not a record.
fn next_record(file: &mut impl Read) -> io::Result<Option<u64>> {
    let mut length = [0; 8];
    let mut checksum = [0; 4];
    if !fill(file, &mut length)? || !fill(file, &mut checksum)? {
        return Ok(None);
    }
    let content_length = u64::from_le_bytes(length);
    if masked_checksum(&length) != u32::from_le_bytes(checksum) || content_length > LONGEST {
        return Ok(None);
    }
    let mut content = vec![0; content_length as usize];
    if !fill(file, &mut content)? || !fill(file, &mut checksum)? {
        return Ok(None);
    }
    let sound = masked_checksum(&content) == u32::from_le_bytes(checksum);
    Ok(sound.then_some(content_length + 16))
}

/// Whether there was enough to fill the buffer.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, appendix B.4: 32 bytes of zeros.
        assert_eq!(CHECKSUM.checksum(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn whole_records_are_told_from_torn_and_damaged_ones() {
        let first = frame(b"first");
        let both = [first.clone(), frame(b"second")].concat();
        for length in 0..=both.len() {
            let whole = match length {
                _ if length < first.len() => 0,
                _ if length < both.len() => first.len(),
                _ => both.len(),
            };
            assert_eq!(
                whole_bytes(&both[..length]).unwrap(),
                whole as u64,
                "{length}"
            );
        }
        for place in 0..both.len() {
            let mut damaged = both.clone();
            damaged[place] ^= 4;
            let whole = if place < first.len() { 0 } else { first.len() };
            assert_eq!(whole_bytes(&damaged[..]).unwrap(), whole as u64, "{place}");
        }
    }
}
