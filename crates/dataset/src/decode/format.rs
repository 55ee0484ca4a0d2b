//! The format of an image file, by its content.

/// The formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    WebP,
    Bmp,
    Gif,
    Tiff,
    /// A bitmap without the heading of a file.
    Dib,
    Netpbm,
    /// By its whole content: it has no mark at its start.
    Tga,
}

impl Format {
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Self::Jpeg,
            [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Self::Png,
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Self::Gif,
            [b'B', b'M', ..] => Self::Bmp,
            // The second pair is of BigTIFF.
            [b'I', b'I', b'*' | b'+', 0, ..] | [b'M', b'M', 0, b'*' | b'+', ..] => Self::Tiff,
            [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace() => Self::Netpbm,
            _ if is_bitmap(bytes) => Self::Dib,
            _ if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => Self::WebP,
            _ => return None,
        })
    }
}

/// Whether the first bytes of a file (32, if it has as many) are those of an image, so that it is one whatever it is called.
///
/// Formats that are not read count, so that their files are refused and not overlooked. Marks of two letters with which
/// texts may begin need more behind them.
pub(crate) fn is_image_head(head: &[u8]) -> bool {
    match Format::of(head) {
        // The size of the heading that follows.
        Some(Format::Bmp) => matches!(
            head.get(14..18),
            Some([12 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
        ),
        Some(Format::Netpbm) => head
            .get(3)
            .is_some_and(|next| next.is_ascii_digit() || *next == b'#'),
        Some(_) => true,
        None => {
            matches!(unread(head), Some("AVIF" | "HEIC" | "JPEG 2000"))
                || head.starts_with(b"\0\0\0\x0cJXL ")
        }
    }
}

/// Whether a file begins with the description of a bitmap, in the form of Windows 3, without a file's heading before it.
fn is_bitmap(bytes: &[u8]) -> bool {
    bytes.starts_with(&[40, 0, 0, 0])
        && bytes.get(12..14) == Some(&[1, 0])
        && matches!(bytes.get(14..16), Some([1 | 4 | 8 | 16 | 24 | 32, 0]))
}

/// Whether a file without a mark is one of Truevision: newer ones have it at their end, others a sound heading.
pub(super) fn is_tga(bytes: &[u8]) -> bool {
    if bytes.ends_with(b"TRUEVISION-XFILE.\0") {
        return true;
    }
    let Some(
        &[
            _,
            0 | 1,
            kind @ (1..=3 | 9..=11),
            ..,
            width_low,
            width_high,
            height_low,
            height_high,
            depth,
            _,
        ],
    ) = bytes.first_chunk::<18>()
    else {
        return false;
    };
    let size = u32::from(u16::from_le_bytes([width_low, width_high]))
        * u32::from(u16::from_le_bytes([height_low, height_high]));
    let whole = u64::from(size) * u64::from(depth).div_ceil(8);
    size > 0
        && matches!(depth, 8 | 15 | 16 | 24 | 32)
        && (kind >= 9 || bytes.len() as u64 >= 18 + whole)
}

/// The name of a format that is recognised and not read.
pub(super) fn unread(bytes: &[u8]) -> Option<&'static str> {
    let brand = bytes
        .get(4..12)
        .filter(|_| bytes.get(4..8) == Some(b"ftyp"));
    match (brand, bytes) {
        (Some(b"ftypavif" | b"ftypavis"), _) => Some("AVIF"),
        (Some(b"ftypheic" | b"ftypheix" | b"ftypmif1" | b"ftyphevc"), _) => Some("HEIC"),
        (_, [0, 0, 0, 0x0C, b'J', b'X', b'L', ..] | [0xFF, 0x0A, ..]) => Some("JPEG XL"),
        (_, [0, 0, 0, 0x0C, b'j', b'P', ..]) => Some("JPEG 2000"),
        (_, [b'P', b'K', 3, 4, ..]) => Some("a zip archive"),
        _ => None,
    }
}
