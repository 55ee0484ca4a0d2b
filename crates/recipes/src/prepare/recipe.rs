//! What a stage that prepares a data set reads, and what must hold.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{Labels, SkinTones, Transform};

use super::PrepareSettings;
use crate::graph::Needed;
use crate::lists::in_order;
use crate::recipe::Recipe;
use crate::shards;

/// What a source that ships with the program is called by.
const BUILTIN_PREFIX: &str = "builtin:";
const TWEMOJI: &str = "builtin:twemoji";

impl Recipe for PrepareSettings {
    fn reads(&self) -> &'static [Needed] {
        &[]
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        self.settle_source(section)?;
        self.check_labels(section)?;
        self.check_size(section)?;
        self.images_per_shard = shards::fitting(
            section,
            self.images_per_shard,
            self.image_size(),
            self.channels.count(),
        )?;
        Ok(())
    }

    fn put_below(&mut self, folder: &Path) {
        if self.emoji.is_none() {
            self.source = folder.join(&self.source).to_string_lossy().into_owned();
        }
    }
}

impl PrepareSettings {
    fn settle_source(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        let source = &self.source;
        let is_emoji = source == TWEMOJI;
        if source.is_empty() {
            return Err(section.invalid("source", "must name a folder or a built-in source"));
        }
        if source.starts_with(BUILTIN_PREFIX) && !is_emoji {
            let problem = format!("`{source}` is not built in; the only one is `{TWEMOJI}`");
            return Err(section.invalid("source", problem));
        }
        if self.emoji.is_some() && !is_emoji {
            let problem = format!("chooses emoji, but `source` is `{source}`, not `{TWEMOJI}`");
            return Err(section.invalid("emoji", problem));
        }
        if !is_emoji {
            return Ok(());
        }
        let emoji = self.emoji.get_or_insert_default();
        // The same groups in another order are the same data set.
        emoji.groups = in_order(&emoji.groups);
        if emoji.groups.is_empty() {
            let table = section.table("emoji")?;
            let table = table.as_ref().unwrap_or(section);
            return Err(table.invalid("groups", "must name at least one group"));
        }
        Ok(())
    }

    fn check_size(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let (width, height) = (self.resolution, self.height.unwrap_or(self.resolution));
        let problem = match self.transform {
            Transform::CenterCropWide if height > width => "is for images wider than high",
            Transform::CenterCropDhariwal if height != width => "gives square images only",
            _ => return Ok(()),
        };
        let problem = format!("`{}` {problem}, not {width} x {height}", self.transform);
        Err(section.invalid("transform", problem))
    }

    fn check_labels(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let labels = self.labels;
        match (labels, &self.emoji) {
            (Labels::Folder | Labels::Source | Labels::Attributes, Some(_)) => {
                let problem = format!(
                    "`{labels}` is for image files; `{TWEMOJI}` has `group` and `skin-tone`"
                );
                Err(section.invalid("labels", problem))
            }
            (Labels::Group | Labels::SkinTone, None) => {
                let problem = format!(
                    "`{labels}` is for `{TWEMOJI}`; image files have `folder` and `source`"
                );
                Err(section.invalid("labels", problem))
            }
            (Labels::SkinTone, Some(emoji)) if emoji.skin_tones == SkinTones::None => {
                let problem = "`skin-tone` gives one class only while `emoji.skin_tones` is `none`";
                Err(section.invalid("labels", problem))
            }
            (Labels::Attributes, None) if self.attributes.is_empty() => {
                let problem = "`attributes` needs the key `attributes`, such as [\"Smiling\"]";
                Err(section.invalid("labels", problem))
            }
            (other, None) if other != Labels::Attributes && !self.attributes.is_empty() => {
                let problem = "make classes only with `labels` = \"attributes\"";
                Err(section.invalid("attributes", problem))
            }
            _ => Ok(()),
        }
    }
}
