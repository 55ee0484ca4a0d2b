//! What a file is by its name: an image, none, or unknown.

/// What a file is by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ByName {
    /// It ends as images' names do.
    Image,
    /// It is not an image, for this reason.
    PassedOver(String),
    /// Only the content decides; if that is not an image, this is the reason.
    Unknown(String),
}

/// Endings of images. Some are of formats that are not read, so that their files are rejected and not passed over.
const IMAGES: &[&[u8]] = &[
    b"png", b"apng", b"jpg", b"jpeg", b"jpe", b"jfif", b"jfi", b"jif", b"pjpeg", b"pjp", b"webp",
    b"bmp", b"dib", b"gif", b"tif", b"tiff", b"tga", b"ppm", b"pgm", b"pbm", b"pnm", b"pam",
    b"avif", b"heic", b"heif", b"jxl", b"jp2",
];

/// Endings of files that are not looked into: what usually lies beside images, and what holds a picture without being
/// one, such as cameras' raw files, of which a reader of TIFF sees a thumbnail.
const OTHERS: &[&[u8]] = &[
    b"txt",
    b"md",
    b"rst",
    b"json",
    b"jsonl",
    b"ndjson",
    b"csv",
    b"tsv",
    b"xml",
    b"html",
    b"htm",
    b"yaml",
    b"yml",
    b"toml",
    b"ini",
    b"log",
    b"py",
    b"ipynb",
    b"sh",
    b"js",
    b"css",
    b"pdf",
    b"doc",
    b"docx",
    b"xls",
    b"xlsx",
    b"ppt",
    b"pptx",
    b"zip",
    b"tar",
    b"gz",
    b"tgz",
    b"bz2",
    b"xz",
    b"zst",
    b"7z",
    b"rar",
    b"parquet",
    b"arrow",
    b"feather",
    b"npy",
    b"npz",
    b"pt",
    b"pth",
    b"pkl",
    b"pickle",
    b"safetensors",
    b"mat",
    b"mdb",
    b"db",
    b"sqlite",
    b"mp4",
    b"avi",
    b"mov",
    b"mkv",
    b"webm",
    b"wav",
    b"mp3",
    b"flac",
    b"ogg",
    b"m4a",
    b"aac",
    b"xmp",
    b"aae",
    b"url",
    b"lnk",
    b"cls",
    b"caption",
    b"md5",
    b"sha1",
    b"sha256",
    b"cr2",
    b"cr3",
    b"crw",
    b"nef",
    b"nrw",
    b"arw",
    b"srf",
    b"sr2",
    b"dng",
    b"orf",
    b"rw2",
    b"raf",
    b"pef",
    b"srw",
    b"svg",
    b"svgz",
    b"psd",
    b"xcf",
];

/// Longer endings are none, such as that of `a.whole sentence`.
const LONGEST_ENDING: usize = 12;

/// What a file is, by the last part of its path and the folders above.
pub(super) fn by_name(name: &[u8]) -> ByName {
    let parts = || name.split(|byte| *byte == b'/');
    let file = parts().next_back().unwrap_or(name);
    if file.starts_with(b"._") || parts().any(|part| part == b"__MACOSX") {
        return ByName::PassedOver("resource forks of macOS".to_owned());
    }
    let is_hidden = |part: &[u8]| part.starts_with(b".") && part != b"." && part != b"..";
    if parts().any(is_hidden) {
        return ByName::PassedOver("hidden".to_owned());
    }
    let ending = match file.iter().rposition(|byte| *byte == b'.') {
        Some(dot) => &file[dot + 1..],
        None => return ByName::Unknown("without an ending".to_owned()),
    };
    let is_of = |known: &[&[u8]]| known.iter().any(|known| ending.eq_ignore_ascii_case(known));
    if is_of(IMAGES) {
        return ByName::Image;
    }
    let is_plain = !ending.is_empty()
        && ending.len() <= LONGEST_ENDING
        && ending
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        && !ending.iter().all(u8::is_ascii_digit);
    let reason = match std::str::from_utf8(ending) {
        Ok(ending) if is_plain => format!(".{}", ending.to_ascii_lowercase()),
        _ => "of other endings".to_owned(),
    };
    if is_of(OTHERS) {
        ByName::PassedOver(reason)
    } else {
        ByName::Unknown(reason)
    }
}

/// Whether a name is an image's.
pub(super) fn is_image_name(name: &[u8]) -> bool {
    by_name(name) == ByName::Image
}

/// The names of an earlier version: what has another name is new to the data set, and is part of its digest.
pub(super) fn was_image_name(name: &[u8]) -> bool {
    const ENDINGS: [&[u8]; 15] = [
        b"png", b"jpg", b"jpeg", b"jpe", b"webp", b"bmp", b"gif", b"tif", b"tiff", b"ppm", b"pgm",
        b"avif", b"heic", b"jxl", b"jp2",
    ];
    let ending = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
    is_image_name(name)
        && ENDINGS
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &ByName) {
        assert_eq!(by_name(name.as_bytes()), *expected, "{name}");
    }

    #[test]
    fn names_tell_images_others_or_nothing() {
        for name in [
            "a.png",
            "b/c.JPEG",
            "d/e.f.webp",
            "../x.png",
            "x.jfif",
            "x.PJPEG",
            "./x.dib",
            "x.apng",
        ] {
            check(name, &ByName::Image);
        }
        for (name, reason) in [
            ("a.txt", ".txt"),
            ("a.CR2", ".cr2"),
            (".a.png", "hidden"),
            (".git/a.png", "hidden"),
            ("__MACOSX/a.png", "resource forks of macOS"),
            ("cat/._1.png", "resource forks of macOS"),
        ] {
            check(name, &ByName::PassedOver(reason.to_owned()));
        }
        for (name, reason) in [
            ("png", "without an ending"),
            ("cat/j", "without an ending"),
            ("h.jpg_large", ".jpg_large"),
            ("k.jpg.1", "of other endings"),
            ("l.jpg~", "of other endings"),
            ("a.", "of other endings"),
        ] {
            check(name, &ByName::Unknown(reason.to_owned()));
        }
    }
}
