//! The one place that makes bytes permanent.
//!
//! A file is written beside its place as `.NAME.partial`, synced, renamed, and its folder synced: after a
//! crash or a power cut a reader finds the old content or the new, never a part. A folder is published by
//! syncing everything in it and renaming it. Leftovers of a killed writer are recognised by their name; a download
//! resumes from them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;

use crate::fault;
use crate::file_error::{FileError, check_regular, flags};

const PARTIAL_SUFFIX: &str = ".partial";

/// Writes a file so that it is either complete and on disk, or as it was before.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = DurableFile::create(path)?;
    file.write_all(bytes)
        .map_err(|source| FileError::new("write", path, source))?;
    file.commit()
}

/// Appends whole lines to a file, which is made where there is none, and syncs it.
///
/// What fails leaves the file as it was, so that it can be tried again. A crash may cut the last line off; what is
/// appended later begins a line of its own.
pub fn append_lines(path: &Path, lines: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError::new("append to", path, source);
    fault::point("append to", path)?;
    let mut file = open_to_append(path)?;
    let before = file.metadata().map_err(failed)?.len();
    let mut append = || {
        if before > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        file.write_all(lines)
    };
    append()
        .map_err(failed)
        .and_then(|()| {
            fault::point("sync", path)?;
            file.sync_data()
                .map_err(|source| FileError::new("sync", path, source))
        })
        .inspect_err(|_| {
            let _ = file.set_len(before);
        })?;
    if before == 0 {
        sync_directory(parent(path))?;
    }
    Ok(())
}

/// Opens a regular file to append to, which is made where there is none; a link is not followed.
pub fn open_to_append(path: &Path) -> Result<File, FileError> {
    let open = || {
        let file = (File::options().read(true).append(true).create(true))
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(path)?;
        check_regular(&file.metadata()?)?;
        Ok(file)
    };
    open().map_err(|source| FileError::new("append to", path, source))
}

/// Writes a value as indented JSON with a final newline, durably.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|cause| {
        FileError::new(
            "write",
            path,
            io::Error::new(io::ErrorKind::InvalidData, cause),
        )
    })?;
    bytes.push(b'\n');
    write(path, &bytes)
}

/// A file on its way to its place: written beside it, then committed by one rename.
///
/// Dropped without [`commit`](Self::commit), it removes what it wrote.
#[derive(Debug)]
pub struct DurableFile {
    writer: Option<BufWriter<File>>,
    partial: PathBuf,
    path: PathBuf,
    /// Whether a later attempt may continue what this one wrote.
    kept: bool,
}

impl DurableFile {
    /// Starts a file that will appear at `path`, replacing what exists.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let partial = partial_path(path);
        fault::point("create", &partial)?;
        // Whatever lies there goes, and nothing is written through it: it may be a link to somebody's file.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new("remove", &partial, error));
            }
            _ => {}
        }
        let file = File::create_new(&partial)
            .map_err(|source| FileError::new("create", &partial, source))?;
        Ok(Self {
            writer: Some(BufWriter::with_capacity(1 << 18, file)),
            partial,
            path: path.to_owned(),
            kept: false,
        })
    }

    /// Resumes a file that an earlier attempt left unfinished, or starts it; also gives how many bytes it has.
    ///
    /// Dropped without [`commit`](Self::commit), it keeps what it wrote for the next attempt. Of two attempts at once
    /// neither knows of the other: the caller sees to it that there is one.
    pub fn resume(path: &Path) -> Result<(Self, u64), FileError> {
        let partial = partial_path(path);
        fault::point("create", &partial)?;
        let error = |source| FileError::new("create", &partial, source);
        if fs::symlink_metadata(&partial).is_ok_and(|entry| !entry.is_file()) {
            fs::remove_file(&partial).map_err(error)?;
        }
        let file = (File::options().create(true).append(true))
            .custom_flags(flags(OFlags::NOFOLLOW))
            .open(&partial)
            .map_err(error)?;
        let bytes = file.metadata().map_err(error)?.len();
        let writer = Some(BufWriter::with_capacity(1 << 18, file));
        let resumed = Self {
            writer,
            partial,
            path: path.to_owned(),
            kept: true,
        };
        Ok((resumed, bytes))
    }

    /// Where the unfinished content lies; all that was written is in it after a [`flush`](Write::flush).
    pub fn partial_path(&self) -> &Path {
        &self.partial
    }

    /// Forgets everything that was written.
    pub fn restart(&mut self) -> Result<(), FileError> {
        let error = |source| FileError::new("write", &self.path, source);
        let writer = self
            .writer
            .as_mut()
            .expect("the writer exists until commit consumes the file");
        writer.flush().map_err(error)?;
        writer.get_ref().set_len(0).map_err(error)?;
        writer.rewind().map_err(error)
    }

    /// Removes what was written.
    pub fn discard(mut self) {
        self.kept = false;
    }

    /// Syncs the content, renames it into place and syncs the folder.
    pub fn commit(mut self) -> Result<(), FileError> {
        let writer = self
            .writer
            .take()
            .expect("a file is committed once, since commit consumes it");
        let result = fault::point("write", &self.path)
            .and_then(|()| {
                writer
                    .into_inner()
                    .map_err(|error| FileError::new("write", &self.path, error.into_error()))
            })
            .and_then(|file| {
                fault::point("sync", &self.path)?;
                file.sync_all()
                    .map_err(|source| FileError::new("sync", &self.path, source))
            })
            .and_then(|()| rename(&self.partial, &self.path))
            .and_then(|()| sync_directory(parent(&self.path)));
        if result.is_err() {
            // The first error is the one to report; a leftover is removed at the next start.
            let _ = fs::remove_file(&self.partial);
        }
        result
    }

    fn writer(&mut self) -> &mut BufWriter<File> {
        self.writer
            .as_mut()
            .expect("the writer exists until commit consumes the file")
    }
}

impl Drop for DurableFile {
    fn drop(&mut self) {
        if self.writer.take().is_some() && !self.kept {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

impl Write for DurableFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writer().write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer().flush()
    }
}

impl Seek for DurableFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.writer().seek(position)
    }
}

/// Makes a folder and its missing parents, and syncs the folder that holds the first new one.
pub fn create_dir_all(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_dir_all(above)?;
    }
    fault::point("create the folder", path)?;
    match fs::create_dir(path) {
        Ok(()) => sync_directory(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(source) => Err(FileError::new("create the folder", path, source)),
    }
}

/// Makes a folder that is not there yet, and syncs the folder that holds it.
///
/// # Errors
/// One of the kind [`io::ErrorKind::AlreadyExists`] for whatever lies at `path`, a link to nowhere included.
pub fn create_new_dir(path: &Path) -> Result<(), FileError> {
    fault::point("create the folder", path)?;
    fs::create_dir(path).map_err(|source| FileError::new("create the folder", path, source))?;
    sync_directory(parent(path))
}

/// Syncs everything in a folder, then renames it to its final place: the rename is the commit.
///
/// The final place must not exist yet; its parent must.
pub fn publish_directory(from: &Path, to: &Path) -> Result<(), FileError> {
    sync_tree(from)?;
    rename(from, to)?;
    sync_directory(parent(to))?;
    sync_directory(parent(from))
}

/// Makes a symbolic link at `path` to what lies at `target`, replacing an existing link.
pub fn link(target: &Path, path: &Path) -> Result<(), FileError> {
    let partial = partial_path(path);
    remove_file(&partial)?;
    fault::point("link", &partial)?;
    std::os::unix::fs::symlink(target, &partial)
        .map_err(|source| FileError::new("link", &partial, source))?;
    rename(&partial, path)?;
    sync_directory(parent(path))
}

/// Syncs a finished file and renames it on its disk, durably; what stands at the new place is replaced.
pub fn rename_file(from: &Path, to: &Path) -> Result<(), FileError> {
    fault::point("sync", from)?;
    File::open(from)
        .and_then(|file| file.sync_all())
        .map_err(|source| FileError::new("sync", from, source))?;
    rename(from, to)?;
    sync_directory(parent(to))
}

/// Removes a file if it exists.
pub fn remove_file(path: &Path) -> Result<(), FileError> {
    fault::point("remove", path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Removes a folder and everything in it, if it exists.
pub fn remove_dir_all(path: &Path) -> Result<(), FileError> {
    fault::point("remove the folder", path)?;
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(FileError::new("remove the folder", path, error))
        }
        _ => Ok(()),
    }
}

/// Removes a folder that is empty.
pub fn remove_empty_dir(path: &Path) -> Result<(), FileError> {
    fault::point("remove the folder", path)?;
    fs::remove_dir(path).map_err(|source| FileError::new("remove the folder", path, source))
}

/// Gives a file another name beside its own, as a copy where the disk knows no second names.
pub fn keep_as(path: &Path, other: &Path) -> Result<(), FileError> {
    fault::point("keep a copy of", path)?;
    fs::hard_link(path, other)
        .or_else(|_| fs::copy(path, other).map(|_| ()))
        .map_err(|source| FileError::new("keep a copy of", path, source))?;
    sync_directory(parent(other))
}

/// Renames what lies at `path`, a link itself and not where it leads, to `aside` on the same disk.
pub fn move_aside(path: &Path, aside: &Path) -> Result<(), FileError> {
    fault::point("move aside", path)?;
    fs::rename(path, aside).map_err(|source| FileError::new("move aside", path, source))?;
    sync_directory(parent(path))
}

/// Removes a folder so that its readers find it whole or not at all: it is renamed to `aside`, on the same disk,
/// before anything in it goes. What a killed process left at `aside` is removed first.
pub fn discard_directory(path: &Path, aside: &Path) -> Result<(), FileError> {
    remove_dir_all(aside)?;
    fault::point("move aside the folder", path)?;
    match fs::rename(path, aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(FileError::new("move aside the folder", path, source)),
        Ok(()) => sync_directory(parent(path))?,
    }
    remove_dir_all(aside)
}

/// Removes the files and folders that killed writers left in a folder (not below it) and says how many there were.
pub fn remove_partials(directory: &Path) -> Result<usize, FileError> {
    let mut removed = 0;
    for entry in list(directory)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') && name.ends_with(PARTIAL_SUFFIX) {
            if is_real_dir(&entry) {
                remove_dir_all(&entry)?;
            } else {
                remove_file(&entry)?;
            }
            removed += 1;
        }
    }
    Ok(removed)
}

/// The paths in a folder, sorted by name.
pub fn list(directory: &Path) -> Result<Vec<PathBuf>, FileError> {
    let error = |source| FileError::new("list the folder", directory, source);
    let mut paths = fs::read_dir(directory)
        .map_err(error)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(error)?;
    paths.sort_unstable();
    Ok(paths)
}

/// Whether a folder lies there, and no link to one.
pub fn is_real_dir(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir())
}

fn sync_tree(directory: &Path) -> Result<(), FileError> {
    for path in list(directory)? {
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            fault::point("sync", &path)?;
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|source| FileError::new("sync", &path, source))?;
        }
    }
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> Result<(), FileError> {
    fault::point("sync the folder", directory)?;
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|source| FileError::new("sync the folder", directory, source))
}

fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fault::point("rename a finished file to", to)?;
    fs::rename(from, to).map_err(|source| FileError::new("rename a finished file to", to, source))
}

fn partial_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{PARTIAL_SUFFIX}"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value.txt");
        write(&path, b"old").unwrap();

        let mut abandoned = DurableFile::create(&path).unwrap();
        abandoned.write_all(b"new, unfinished").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(abandoned);
        assert_eq!(list(folder.path()).unwrap(), std::slice::from_ref(&path));

        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn lines_that_are_appended_stay_whole_after_one_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        append_lines(&path, b"1\n2\n").unwrap();
        fs::write(&path, b"1\n2\n3 is cut").unwrap();
        append_lines(&path, b"4\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"1\n2\n3 is cut\n4\n");
        assert!(append_lines(folder.path(), b"1\n").is_err());
    }

    #[test]
    fn nothing_is_written_through_a_link_at_the_place_of_unfinished_content() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        fs::write(place("precious"), b"precious").unwrap();
        for target in ["precious", "not-there"] {
            let plant = || std::os::unix::fs::symlink(place(target), place(".x.partial")).unwrap();
            plant();
            write(&place("x"), b"ours").unwrap();
            assert_eq!(fs::read(place("x")).unwrap(), b"ours");
            plant();
            let (mut file, bytes) = DurableFile::resume(&place("x")).unwrap();
            assert_eq!(bytes, 0);
            file.write_all(b"more").unwrap();
            file.commit().unwrap();
            assert_eq!(fs::read(place("x")).unwrap(), b"more");
        }
        for target in ["precious", "not-there"] {
            let lines = place(&format!("lines-to-{target}"));
            std::os::unix::fs::symlink(place(target), &lines).unwrap();
            assert!(append_lines(&lines, b"more\n").is_err());
        }
        assert_eq!(fs::read(place("precious")).unwrap(), b"precious");
        assert!(!place("not-there").exists());
    }

    #[test]
    fn leftovers_of_a_killed_writer_are_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept.partial");
        fs::write(&kept, b"").unwrap();
        fs::write(folder.path().join(".shard.parquet.partial"), b"").unwrap();
        fs::create_dir_all(folder.path().join(".png.partial/0")).unwrap();
        assert_eq!(remove_partials(folder.path()).unwrap(), 2);
        assert_eq!(list(folder.path()).unwrap(), [kept]);
    }

    #[test]
    fn a_folder_is_published_once() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("work/a"), folder.path().join("a"));
        create_dir_all(&from).unwrap();
        fs::write(from.join("x"), b"1").unwrap();
        publish_directory(&from, &to).unwrap();
        assert_eq!(fs::read(to.join("x")).unwrap(), b"1");

        create_dir_all(&from).unwrap();
        fs::write(from.join("x"), b"2").unwrap();
        let error = publish_directory(&from, &to).unwrap_err();
        assert!(
            error.to_string().contains("rename a finished file to"),
            "{error}"
        );
        assert_eq!(fs::read(to.join("x")).unwrap(), b"1");
    }
}
