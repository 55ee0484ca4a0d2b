//! Data sets: where images come from, what becomes of them, what they are written as.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::word::words;

words! {
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
        /// WebDataset: tar archives with a label beside each image.
        WebDataset = "webdataset",
    }
}

words! {
    /// A split of a data set.
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

words! {
    /// Where class labels come from.
    pub enum Labels default None {
        /// Images have no class.
        None = "none",
        /// The first folder of an image's path.
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

words! {
    /// How an image comes to the wanted size.
    pub enum Transform default CenterCrop {
        /// The largest centred part of the wanted proportions is cut out, then scaled by the Lanczos filter.
        CenterCrop = "center-crop",
        /// The same for a size that is wider than high, on a black square of its width.
        CenterCropWide = "center-crop-wide",
        /// As Dhariwal and Nichol (arXiv 2105.05233): halved by averaging, scaled by a bicubic filter, then the centre.
        CenterCropDhariwal = "center-crop-dhariwal",
        /// The whole image is scaled by the Lanczos filter, without regard to its proportions.
        Stretch = "stretch",
    }
}

words! {
    /// A group of emoji, in Unicode's order and by its names.
    pub enum EmojiGroup {
        /// Faces, hearts and feelings.
        SmileysAndEmotion = "smileys-and-emotion",
        /// People, hands and gestures.
        PeopleAndBody = "people-and-body",
        /// Animals and plants.
        AnimalsAndNature = "animals-and-nature",
        /// Food, drink and dishes.
        FoodAndDrink = "food-and-drink",
        /// Places, vehicles, sky and weather.
        TravelAndPlaces = "travel-and-places",
        /// Events, sports, games and arts.
        Activities = "activities",
        /// Things.
        Objects = "objects",
        /// Signs and letters.
        Symbols = "symbols",
        /// Flags of countries and others.
        Flags = "flags",
    }
}

words! {
    /// Whether emoji in five skin tones are images of their own.
    pub enum SkinTones default None {
        /// Only the neutral, yellow picture.
        None = "none",
        /// The neutral picture and each skin tone.
        All = "all",
    }
}

words! {
    /// What sampled images are written as besides shards.
    pub enum Export default None {
        /// Nothing.
        None = "none",
        /// A folder of PNG files, numbered from 0 in the order of the seeds, in a folder a class where images have one.
        Folder = "folder",
        /// A zip of PNG files, uncompressed, with the labels in `dataset.json`, as EDM's tools read it.
        Zip = "zip",
    }
}

/// What a pixel of an image holds, one byte a channel. Written as the number of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum Channels {
    /// Luma: 1.
    Grey,
    /// Red, green and blue: 3.
    #[default]
    Rgb,
}

/// A number of channels that images do not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is {0}; images have 3 channels (red, green and blue) or 1 (grey)")]
pub struct UnknownChannels(u32);

impl Channels {
    /// How many there are, which is the bytes of a pixel.
    pub const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }

    /// Whether these are the channels of images that do not say.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl JsonSchema for Channels {
    fn schema_name() -> Cow<'static, str> {
        "Channels".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "integer", "enum": [1, 3]})
    }
}

impl From<Channels> for u32 {
    fn from(channels: Channels) -> Self {
        channels.count() as Self
    }
}

impl TryFrom<u32> for Channels {
    type Error = UnknownChannels;

    fn try_from(count: u32) -> Result<Self, UnknownChannels> {
        match count {
            1 => Ok(Self::Grey),
            3 => Ok(Self::Rgb),
            other => Err(UnknownChannels(other)),
        }
    }
}
