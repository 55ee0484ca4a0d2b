//! CelebA as distributed: `img_align_celeba.zip` (or its folder), with `list_eval_partition.txt` for the splits and
//! `list_attr_celeba.txt` for the attributes beside it or in the folders `Eval` and `Anno`. The comma-separated form
//! of the lists, with a heading, is read too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use patchwork_core::file_error;

use super::detect::{Look, PathKind, first_images_are};
use super::files::{Member, Selection, UNLABELLED};
use super::format::{Request, SourceFormat};
use super::settings::{Format, Labels, Split};
use super::store::Store;
use crate::error::DatasetError;

/// The folder that holds the images, in the archive too.
const FOLDER: &str = "img_align_celeba";

const PARTITION: &str = "list_eval_partition";
const ATTRIBUTES: &str = "list_attr_celeba";

/// The most attributes that make classes together.
const MOST_ATTRIBUTES: usize = 6;

pub(super) struct CelebA;

impl SourceFormat for CelebA {
    fn format(&self) -> Format {
        Format::CelebA
    }

    fn labels(&self) -> &'static [Labels] {
        &[Labels::None, Labels::Attributes]
    }

    fn splits(&self) -> &'static [Split] {
        Split::ALL
    }

    fn is_at(&self, look: &Look<'_>) -> Result<bool, DatasetError> {
        let is_called_so = look.path.file_name().is_some_and(|name| name == FOLDER);
        Ok(matches!(look.kind, PathKind::Folder) && is_called_so
            || self.places().iter().any(|place| look.has(place)))
    }

    fn is_in(&self, _place: &Path, store: &dyn Store) -> bool {
        first_images_are(store, |name| name.split('/').any(|part| part == FOLDER))
    }

    fn is_recognised_by_names(&self) -> bool {
        true
    }

    fn places(&self) -> &'static [&'static str] {
        &["img_align_celeba.zip", "Img/img_align_celeba.zip", FOLDER]
    }

    fn select(&self, request: &Request<'_>, store: &dyn Store) -> Result<Selection, DatasetError> {
        let settings = request.settings;
        let attributes = match settings.labels {
            Labels::Attributes => &settings.attributes[..],
            _ => &[],
        };
        let lists = Lists::find(&request.place, settings.split, attributes)?;
        let selection = lists.select(store, settings.split, attributes)?;
        Ok(selection.with_lists(lists.paths()))
    }
}

/// The lists that are needed, and where they were found.
#[derive(Debug, Default)]
struct Lists {
    partition: Option<PathBuf>,
    attributes: Option<PathBuf>,
}

impl Lists {
    /// Finds the lists that the settings need near the images.
    fn find(
        source: &Path,
        split: Option<Split>,
        attributes: &[String],
    ) -> Result<Self, DatasetError> {
        let find = |wanted: bool, stem: &str, setting: &'static str| {
            if !wanted {
                return Ok(None);
            }
            locate(source, stem).map(Some).ok_or_else(|| {
                DatasetError::NoSuchSource {
                    source_name: format!("{stem}.txt"),
                    problem: format!(
                        "`{setting}` of CelebA needs it\nhint: put it beside `{}`; it is distributed with the images, \
                         in the folders Anno and Eval",
                        source.display()
                    ),
                }
            })
        };
        Ok(Self {
            partition: find(
                split.is_some_and(|split| split != Split::All),
                PARTITION,
                "split",
            )?,
            attributes: find(!attributes.is_empty(), ATTRIBUTES, "attributes")?,
        })
    }

    /// The files that the data set depends on beside the images.
    fn paths(&self) -> Vec<(String, PathBuf)> {
        let mut paths = Vec::new();
        if let Some(path) = &self.partition {
            paths.push((PARTITION.to_owned(), path.clone()));
        }
        if let Some(path) = &self.attributes {
            paths.push((ATTRIBUTES.to_owned(), path.clone()));
        }
        paths
    }

    /// The images of the split, with classes by the attributes.
    fn select(
        &self,
        store: &dyn Store,
        split: Option<Split>,
        attributes: &[String],
    ) -> Result<Selection, DatasetError> {
        let mut selection = Selection::all(store);
        // The images are distributed as PNG files too, which the lists name by the JPEG files' endings.
        let number = |member: &Member| {
            let name = store.name(member.file as usize);
            let file = name.rsplit('/').next().unwrap_or(name);
            file.rsplit_once('.').map_or(file, |(number, _)| number)
        };
        if let (Some(path), Some(split)) = (&self.partition, split) {
            let table = Table::read(path)?;
            let wanted = match split {
                Split::Train => "0",
                Split::Validation => "1",
                Split::Test => "2",
                Split::All => "",
            };
            selection.retain("of another split", |member| {
                table
                    .row(number(member))
                    .is_some_and(|row| row.first() == Some(&wanted))
            });
        }
        if let Some(path) = &self.attributes {
            let table = Table::read(path)?;
            let columns = attributes
                .iter()
                .map(|attribute| table.column(path, attribute))
                .collect::<Result<Vec<usize>, _>>()?;
            for member in &mut selection.members {
                let row = table.row(number(member));
                member.label = row.map_or(UNLABELLED, |row| {
                    columns.iter().fold(0, |class, column| {
                        let has = row.get(*column) == Some(&"1");
                        2 * class + i32::from(has)
                    })
                });
            }
            selection.class_names = class_names(attributes)?;
        }
        Ok(selection)
    }
}

/// A name for each combination of attributes, the first one counting most: `not Male, Smiling`.
fn class_names(attributes: &[String]) -> Result<Vec<String>, DatasetError> {
    if attributes.len() > MOST_ATTRIBUTES {
        return Err(DatasetError::Setting {
            setting: "attributes",
            value: format!("{} attributes", attributes.len()),
            problem: format!("at most {MOST_ATTRIBUTES} make classes together"),
        });
    }
    let count = attributes.len();
    Ok((0..1usize << count)
        .map(|class| {
            let parts: Vec<String> = attributes
                .iter()
                .enumerate()
                .map(
                    |(position, attribute)| match class >> (count - 1 - position) & 1 {
                        1 => attribute.clone(),
                        _ => format!("not {attribute}"),
                    },
                )
                .collect();
            parts.join(", ")
        })
        .collect())
}

/// A list in the folder of the images, in the one above, or in their folders `Anno` and `Eval`.
fn locate(source: &Path, stem: &str) -> Option<PathBuf> {
    let folders = source.ancestors().take(3);
    folders
        .flat_map(|folder| [folder.to_owned(), folder.join("Anno"), folder.join("Eval")])
        .flat_map(|folder| ["txt", "csv"].map(|ending| folder.join(format!("{stem}.{ending}"))))
        .find(|path| path.is_file())
}

/// A list: a row an image, by its file name without the ending; columns separated by spaces or commas.
struct Table {
    text: String,
    /// Names of the columns after the file's, where the list has a heading.
    heading: Vec<String>,
    rows: HashMap<String, (usize, usize)>,
}

impl Table {
    fn read(path: &Path) -> Result<Self, DatasetError> {
        let text = file_error::read_to_string(path)?;
        let mut heading = Vec::new();
        let mut rows = HashMap::new();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let mut cells = cells(line);
            let first = cells.next().unwrap_or_default();
            let number = [".jpg", ".png"]
                .iter()
                .find_map(|ending| first.strip_suffix(ending));
            if let Some(number) = number {
                rows.insert(number.to_owned(), (start, start + line.len()));
            } else if rows.is_empty() {
                // The number of images, or a heading with or without a name for the files' column.
                let rest: Vec<String> = cells.map(str::to_owned).collect();
                if !rest.is_empty() {
                    heading = match first {
                        "image_id" => rest,
                        _ => std::iter::once(first.to_owned()).chain(rest).collect(),
                    };
                }
            }
            start += line.len();
        }
        if rows.is_empty() {
            return Err(DatasetError::Archive {
                path: path.to_owned(),
                problem: "it lists no images".to_owned(),
            });
        }
        Ok(Self {
            text,
            heading,
            rows,
        })
    }

    fn row(&self, number: &str) -> Option<Vec<&str>> {
        let (start, end) = self.rows.get(number)?;
        Some(cells(&self.text[*start..*end]).skip(1).collect())
    }

    fn column(&self, path: &Path, name: &str) -> Result<usize, DatasetError> {
        self.heading
            .iter()
            .position(|column| column == name)
            .ok_or_else(|| {
                let known = self.heading.iter().map(String::as_str);
                let otherwise = format!("the attributes are listed in `{}`", path.display());
                DatasetError::unknown_name("attribute of CelebA", name, known, &otherwise)
            })
    }
}

fn cells(line: &str) -> impl Iterator<Item = &str> {
    line.split(|letter: char| letter == ',' || letter.is_whitespace())
        .filter(|cell| !cell.is_empty())
}
