//! What a pipeline file says of a source.

use super::twemoji::EmojiFilter;

/// Declares a choice whose values have names in pipeline files.
macro_rules! named {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident { $($(#[$variant_attribute:meta])* $variant:ident = $word:literal,)+ }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_attribute])* $variant,)+ }

        impl $name {
            /// Every choice.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in pipeline files.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The choice of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|choice| choice.name() == name)
            }
        }
    };
}

named! {
    /// What gives an image its class.
    pub enum Labels {
        /// Images have no class.
        None = "none",
        /// The first folder of the path.
        Folder = "folder",
        /// What the data set itself says: `dataset.json`, CIFAR's and MNIST's labels, a label column, a class list.
        Source = "source",
        /// The attributes of CelebA that are named.
        Attributes = "attributes",
        /// The Unicode group of an emoji.
        Group = "group",
        /// The skin tone of an emoji; `default` for those that have none.
        SkinTone = "skin-tone",
    }
}

named! {
    /// How a data set lies on disk.
    pub enum Format {
        /// A folder, zip or tar archive of image files.
        Images = "images",
        /// CelebA's aligned and cropped images.
        CelebA = "celeba",
        /// AFHQv2.
        AfhqV2 = "afhqv2",
        /// Oxford Flowers-102.
        Flowers102 = "flowers102",
        /// A database of LMDB, such as LSUN's.
        Lmdb = "lmdb",
        /// CIFAR-10, python or binary version.
        Cifar10 = "cifar10",
        /// CIFAR-100, python or binary version.
        Cifar100 = "cifar100",
        /// MNIST, FashionMNIST and others in IDX files.
        Mnist = "mnist",
        /// Parquet files with a column of images.
        Parquet = "parquet",
    }
}

named! {
    /// A part of a data set.
    pub enum Split {
        /// Every image.
        All = "all",
        /// For training.
        Train = "train",
        /// For validation.
        Validation = "validation",
        /// For testing.
        Test = "test",
    }
}

/// Which images to take, and what their classes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// `builtin:twemoji`, or the path of a folder or file.
    pub source: String,
    /// How it lies on disk; none = what its content looks like.
    pub format: Option<Format>,
    /// The part to take; none = what the format's users take: see `docs/reference/data-sets.md`.
    pub split: Option<Split>,
    /// What gives an image its class.
    pub labels: Labels,
    /// The attributes of CelebA that make classes.
    pub attributes: Vec<String>,
    /// The classes to keep, by name; none = all.
    pub classes: Option<Vec<String>>,
    /// Which emoji to take; of no meaning for others.
    pub emoji: EmojiFilter,
}

impl SourceSettings {
    /// The part to take of a data set of this format.
    pub(super) fn part(&self, format: Format) -> Split {
        self.split.unwrap_or(match format {
            Format::AfhqV2 | Format::Cifar10 | Format::Cifar100 | Format::Mnist => Split::Train,
            Format::Images
            | Format::CelebA
            | Format::Flowers102
            | Format::Lmdb
            | Format::Parquet => Split::All,
        })
    }
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            source: String::new(),
            format: None,
            split: None,
            labels: Labels::None,
            attributes: Vec::new(),
            classes: None,
            emoji: EmojiFilter::default(),
        }
    }
}
