//! The files of an autoencoder that settings name: a published one, a diffusers folder, or a file of weights.

use std::path::{Path, PathBuf};

use patchwork_core::Digest;
use patchwork_dataset::{DatasetError, SourceCache};
use patchwork_weights::{SD_VAE_FT_EMA, SD_VAE_FT_MSE, WeightsFile};

/// The published autoencoders that `patchwork weights get` fetches.
const PUBLISHED: [&WeightsFile; 2] = [&SD_VAE_FT_EMA, &SD_VAE_FT_MSE];

/// The settings' file of a diffusers folder.
const CONFIG: &str = "config.json";

/// The weights' files of diffusers folders.
const WEIGHTS: [&str; 4] = [
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.fp16.bin",
];

/// The published autoencoder of that name.
pub(crate) fn published(named: &str) -> Option<&'static WeightsFile> {
    PUBLISHED.into_iter().find(|file| file.name == named)
}

/// Where what a setting names lies.
pub(crate) fn place(named: &str, weights_folder: &Path) -> PathBuf {
    match published(named) {
        Some(file) => weights_folder.join(file.file_name),
        None => PathBuf::from(named),
    }
}

/// A relative path below a folder; a published name stays.
pub(crate) fn below(folder: &Path, named: &str) -> String {
    match published(named) {
        Some(_) => named.to_owned(),
        None => folder.join(named).to_string_lossy().into_owned(),
    }
}

/// Why a path has no autoencoder, by its file names; none where it may have one.
pub(crate) fn missing(path: &Path) -> Option<String> {
    let problem = if path.is_dir() && files(path).is_empty() {
        format!("neither it nor its folder `vae` has `{CONFIG}` and weights")
    } else if matches!(path.try_exists(), Ok(false)) {
        "nothing is at that path".to_owned()
    } else {
        return None;
    };
    let published = PUBLISHED.map(|file| format!("`{}`", file.name)).join(", ");
    Some(format!(
        "there is no autoencoder at `{}`: {problem}\nhint: `autoencoder` names a diffusers folder, a file of weights, or \
         {published}",
        path.display()
    ))
}

/// The digest of the files at a path.
pub(crate) fn digest(path: &Path, cache: &SourceCache) -> Result<Digest, DatasetError> {
    let files = if path.is_dir() {
        files(path)
    } else {
        // A file out of a diffusers folder has its settings beside it.
        let config = path.with_file_name(CONFIG);
        let is_diffusers = WEIGHTS.iter().any(|name| path.ends_with(name));
        [path.to_owned()]
            .into_iter()
            .chain((is_diffusers && config.is_file()).then_some(config))
            .collect()
    };
    let keyed: Vec<(String, PathBuf)> = files
        .into_iter()
        .map(|file| {
            let name = file.file_name().unwrap_or_default();
            // A lone file is the same wherever it lies and whatever it is called.
            let key = match (path.is_dir(), file == path) {
                (false, true) => "weights".to_owned(),
                _ => name.to_string_lossy().into_owned(),
            };
            (key, file)
        })
        .collect();
    cache.digest(path, &keyed)
}

/// What is read of a diffusers folder, or of the folder `vae` in that of a pipeline; empty where there is none.
fn files(folder: &Path) -> Vec<PathBuf> {
    let of = |folder: PathBuf| -> Option<Vec<PathBuf>> {
        let config = folder.join(CONFIG);
        let weights = WEIGHTS
            .iter()
            .map(|name| folder.join(name))
            .find(|file| file.is_file())?;
        config.is_file().then(|| vec![config, weights])
    };
    let folders = [folder.to_owned(), folder.join("vae")];
    folders.into_iter().find_map(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoencoder_is_told_by_what_its_files_hold() {
        let root = tempfile::tempdir().unwrap();
        let cache = SourceCache::default();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        let config = write("one/config.json", "{}");
        let one = config.parent().unwrap();
        assert!(missing(one).unwrap().contains("`config.json`"));
        let weights = write("one/diffusion_pytorch_model.bin", "weights");
        assert_eq!(missing(one), None);
        write("pipeline/vae/config.json", "{}");
        write("pipeline/vae/diffusion_pytorch_model.bin", "weights");
        let of = |path: &Path| digest(path, &cache).unwrap();
        assert_eq!(of(one), of(&root.path().join("pipeline")));
        // A lone file has settings of another kind, unless they lie beside it.
        let lone = write("lone.bin", "weights");
        let renamed = write("renamed.ckpt", "weights");
        assert_eq!(of(&lone), of(&renamed));
        assert_ne!(of(&lone), of(&weights));
        let before = of(one);
        write("one/config.json", "{\"layers_per_block\": 1}");
        assert_ne!(before, of(one));
        assert!(
            missing(&root.path().join("nothing"))
                .unwrap()
                .contains("`sd-vae-ft-ema`")
        );
    }
}
