//! What a stage that measures a data set reads, and what must hold.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::Kind;

use super::settings::KEPT_FEATURES;
use super::torchscript::INCEPTION;
use super::{ExtractorChoice, ReferenceSettings};
use crate::graph::Needed;
use crate::lists::in_order;
use crate::recipe::Recipe;

impl Recipe for ReferenceSettings {
    fn reads(&self) -> &'static [Needed] {
        const { &[Needed::one(&[Kind::Prepare])] }
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        if let Some(tables) = section.table("torchscript")? {
            for (name, settings) in &self.torchscript {
                if let Some(table) = tables.table(name)? {
                    settings.check(name, &table)?;
                }
            }
        }
        self.settle_extractors(section)?;
        self.crops = in_order(&self.crops);
        if !section.has("keep_features") && self.statistics.is_none() {
            self.keep_features = KEPT_FEATURES;
        }
        self.check_together(section)
    }

    fn put_below(&mut self, folder: &Path) {
        if let Some(statistics) = &mut self.statistics {
            *statistics = folder.join(&*statistics);
        }
    }
}

impl ReferenceSettings {
    fn settle_extractors(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        if !section.has("extractor") && self.statistics.is_some() {
            self.extractor = vec![ExtractorChoice::inception()];
        }
        let mut settled: Vec<ExtractorChoice> = Vec::new();
        for choice in std::mem::take(&mut self.extractor) {
            let choice = (choice.settled(&self.torchscript))
                .map_err(|problem| section.invalid("extractor", problem))?;
            if settled.contains(&choice) {
                return Err(section.invalid("extractor", format!("names `{choice}` twice")));
            }
            settled.push(choice);
        }
        if settled.is_empty() {
            return Err(section.invalid("extractor", "names no network"));
        }
        self.extractor = settled;
        Ok(())
    }

    fn check_together(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if let Some(unused) = (self.torchscript.keys())
            .find(|name| self.extractor.iter().all(|choice| choice.network != **name))
        {
            let problem = format!("describes `{unused}`, which `extractor` does not name");
            return Err(section.invalid("torchscript", problem));
        }
        let has_inception = (self.extractor.iter()).any(|choice| choice.network == INCEPTION);
        if self.spatial && !has_inception {
            let problem = format!("needs `{INCEPTION}` among the networks of `extractor`");
            return Err(section.invalid("spatial", problem));
        }
        if self.statistics.is_none() {
            if self.images.is_some() {
                return Err(section.invalid("images", "is only for external `statistics`"));
            }
            return Ok(());
        }
        if self.extractor.len() > 1 {
            let problem = "names several networks, but `statistics` are of one";
            return Err(section.invalid("extractor", problem));
        }
        let impossible = "is not possible with external `statistics`, which hold whole images' mean and covariance";
        if !self.crops.is_empty() {
            return Err(section.invalid("crops", impossible));
        }
        if self.spatial {
            return Err(section.invalid("spatial", impossible));
        }
        if self.keep_features > 0 {
            return Err(section.invalid("keep_features", impossible));
        }
        if self.images.is_some_and(|images| images < 2) {
            return Err(section.invalid("images", "are fewer than 2, which have no covariance"));
        }
        Ok(())
    }
}
