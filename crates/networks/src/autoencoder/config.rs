//! The settings of a KL autoencoder: diffusers' `config.json`.

use serde_json::{Map, Value, json};

use crate::error::NetworkError;

/// The class that `_class_name` has to name.
const CLASS: &str = "AutoencoderKL";
const DOWN_BLOCK: &str = "DownEncoderBlock2D";
const UP_BLOCK: &str = "UpDecoderBlock2D";

/// Most levels, which halve the image 9 times.
const MAX_LEVELS: usize = 10;

/// Stable Diffusion's factor, and diffusers' default.
pub(super) const STABLE_DIFFUSION_SCALE: f64 = 0.18215;

/// A KL autoencoder's settings; defaults are diffusers'.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoencoderConfig {
    /// Channels of the images that are encoded.
    pub in_channels: i64,
    /// Channels of the images that are decoded.
    pub out_channels: i64,
    /// Channels of the latents.
    pub latent_channels: i64,
    /// Channels of each level, from full resolution down; each level but the last halves the image.
    pub block_out_channels: Vec<i64>,
    /// Residual blocks a level of the encoder; the decoder has one more.
    pub layers_per_block: i64,
    /// Groups of every group normalisation.
    pub norm_num_groups: i64,
    /// Side of the images that it was trained on, where the file says so.
    pub sample_size: Option<i64>,
    /// What its makers multiply latents by to bring their standard deviation to about 1.
    pub scaling_factor: f64,
    /// What its makers subtract from latents before that.
    pub shift_factor: Option<f64>,
    /// Whether a 1×1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the lowest level has self-attention.
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            latent_channels: 4,
            block_out_channels: vec![64],
            layers_per_block: 1,
            norm_num_groups: 32,
            sample_size: None,
            scaling_factor: STABLE_DIFFUSION_SCALE,
            shift_factor: None,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl AutoencoderConfig {
    /// Stable Diffusion's autoencoder, `kl-f8`: 83,653,863 parameters.
    pub fn stable_diffusion() -> Self {
        Self {
            block_out_channels: vec![128, 256, 512, 512],
            layers_per_block: 2,
            sample_size: Some(256),
            ..Self::default()
        }
    }

    /// Number of levels.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Pixels along a side of an image for one latent.
    pub fn factor(&self) -> i64 {
        1 << (self.levels() - 1)
    }

    /// Reads the settings out of the JSON object of a `config.json`.
    ///
    /// # Errors
    /// [`NetworkError::Autoencoder`] with key and value of a setting that is unknown, impossible or not implemented.
    pub fn from_json(settings: &Value) -> Result<Self, NetworkError> {
        let Value::Object(settings) = settings else {
            return Err(refused("config", settings, "it is not an object"));
        };
        let mut reader = Reader {
            settings: settings.clone(),
        };
        let default = Self::default();
        if let Some(class) = reader.take("_class_name")
            && class != CLASS
        {
            return Err(refused(
                "_class_name",
                &class,
                "only `AutoencoderKL` is implemented",
            ));
        }
        let config = Self {
            in_channels: reader.integer("in_channels")?.unwrap_or(3),
            out_channels: reader.integer("out_channels")?.unwrap_or(3),
            latent_channels: reader.integer("latent_channels")?.unwrap_or(4),
            block_out_channels: reader
                .integers("block_out_channels")?
                .unwrap_or(default.block_out_channels),
            layers_per_block: reader.integer("layers_per_block")?.unwrap_or(1),
            norm_num_groups: reader.integer("norm_num_groups")?.unwrap_or(32),
            sample_size: reader.integer("sample_size")?,
            scaling_factor: reader
                .number("scaling_factor")?
                .unwrap_or(default.scaling_factor),
            shift_factor: reader.number("shift_factor")?,
            use_quant_conv: reader.flag("use_quant_conv")?.unwrap_or(true),
            use_post_quant_conv: reader.flag("use_post_quant_conv")?.unwrap_or(true),
            mid_block_add_attention: reader.flag("mid_block_add_attention")?.unwrap_or(true),
        };
        // How its makers advise to run it: everything is float32 here.
        reader.flag("force_upcast")?;
        reader.only("act_fn", &["silu", "swish"])?;
        reader.blocks("down_block_types", DOWN_BLOCK, config.levels())?;
        reader.blocks("up_block_types", UP_BLOCK, config.levels())?;
        for key in ["latents_mean", "latents_std"] {
            if let Some(value) = reader.take(key) {
                return Err(refused(
                    key,
                    &value,
                    "statistics of latents in an autoencoder's settings are not implemented",
                ));
            }
        }
        reader.finish()?;
        config.validate()?;
        Ok(config)
    }

    /// The settings as the JSON object of a `config.json` that diffusers reads.
    pub fn to_json(&self) -> Value {
        json!({
            "_class_name": CLASS,
            "act_fn": "silu",
            "block_out_channels": self.block_out_channels,
            "down_block_types": vec![DOWN_BLOCK; self.levels()],
            "in_channels": self.in_channels,
            "latent_channels": self.latent_channels,
            "layers_per_block": self.layers_per_block,
            "mid_block_add_attention": self.mid_block_add_attention,
            "norm_num_groups": self.norm_num_groups,
            "out_channels": self.out_channels,
            "sample_size": self.sample_size,
            "scaling_factor": self.scaling_factor,
            "shift_factor": self.shift_factor,
            "up_block_types": vec![UP_BLOCK; self.levels()],
            "use_post_quant_conv": self.use_post_quant_conv,
            "use_quant_conv": self.use_quant_conv,
        })
    }

    /// Checks every rule within and between the settings.
    ///
    /// # Errors
    /// [`NetworkError::Autoencoder`] with key and value.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let limits = [
            ("in_channels", self.in_channels, 1 << 12),
            ("out_channels", self.out_channels, 1 << 12),
            ("latent_channels", self.latent_channels, 1 << 12),
            ("layers_per_block", self.layers_per_block, 1 << 6),
            ("norm_num_groups", self.norm_num_groups, 1 << 14),
            ("sample_size", self.sample_size.unwrap_or(1), 1 << 16),
        ];
        for (key, value, limit) in limits {
            if !(1..=limit).contains(&value) {
                let problem = format!("it is not in 1 to {limit}");
                return Err(refused(key, &json!(value), problem));
            }
        }
        let channels = &self.block_out_channels;
        let refuse = |problem: String| refused("block_out_channels", &json!(channels), problem);
        if channels.is_empty() || channels.len() > MAX_LEVELS {
            return Err(refuse(format!("1 to {MAX_LEVELS} levels are possible")));
        }
        for count in channels {
            if !(1..=1 << 14).contains(count) || count % self.norm_num_groups != 0 {
                return Err(refuse(format!(
                    "each has to be a multiple of `norm_num_groups` = {}, at most {}",
                    self.norm_num_groups,
                    1 << 14
                )));
            }
        }
        if !(self.scaling_factor.is_finite() && self.scaling_factor > 0.0) {
            let value = json!(self.scaling_factor);
            return Err(refused("scaling_factor", &value, "it is not above 0"));
        }
        Ok(())
    }
}

/// Takes settings out of an object one by one.
struct Reader {
    settings: Map<String, Value>,
}

impl Reader {
    /// A value that is present and not null.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.settings.remove(key).filter(|value| !value.is_null())
    }

    fn typed<T>(
        &mut self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, NetworkError> {
        self.take(key)
            .map(|value| read(&value).ok_or_else(|| refused(key, &value, wanted)))
            .transpose()
    }

    fn integer(&mut self, key: &str) -> Result<Option<i64>, NetworkError> {
        self.typed(key, "it is not an integer", Value::as_i64)
    }

    fn integers(&mut self, key: &str) -> Result<Option<Vec<i64>>, NetworkError> {
        self.typed(key, "it is not a list of integers", |value| {
            value.as_array()?.iter().map(Value::as_i64).collect()
        })
    }

    fn number(&mut self, key: &str) -> Result<Option<f64>, NetworkError> {
        self.typed(key, "it is not a number", Value::as_f64)
    }

    fn flag(&mut self, key: &str) -> Result<Option<bool>, NetworkError> {
        self.typed(key, "it is neither true nor false", Value::as_bool)
    }

    /// A text of which only some values are implemented.
    fn only(&mut self, key: &str, values: &[&str]) -> Result<(), NetworkError> {
        match self.take(key) {
            Some(value) if !values.iter().any(|known| value == *known) => {
                let problem = format!("only `{}` is implemented", values[0]);
                Err(refused(key, &value, problem))
            }
            _ => Ok(()),
        }
    }

    /// The kinds of blocks, one a level, of which one is implemented.
    fn blocks(&mut self, key: &str, kind: &str, levels: usize) -> Result<(), NetworkError> {
        let Some(value) = self.take(key) else {
            return Ok(());
        };
        let Some(kinds) = value.as_array() else {
            return Err(refused(key, &value, "it is not a list"));
        };
        if let Some(other) = kinds.iter().find(|other| *other != kind) {
            let problem = format!("only `{kind}` is implemented");
            return Err(refused(key, other, problem));
        }
        if kinds.len() != levels {
            let problem = format!("`block_out_channels` has {levels} levels");
            return Err(refused(key, &value, problem));
        }
        Ok(())
    }

    /// Refuses what is left, but for diffusers' notes about the file.
    fn finish(mut self) -> Result<(), NetworkError> {
        for note in ["_diffusers_version", "_name_or_path"] {
            self.settings.remove(note);
        }
        match self.settings.into_iter().next() {
            Some((key, value)) => Err(refused(&key, &value, "it is not implemented")),
            None => Ok(()),
        }
    }
}

fn refused(key: &str, value: &Value, problem: impl Into<String>) -> NetworkError {
    NetworkError::Autoencoder {
        key: key.to_owned(),
        value: value.to_string(),
        problem: problem.into(),
    }
}
