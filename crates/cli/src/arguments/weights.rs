//! Published weights.

use clap::Subcommand;

use super::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum WeightsCommand {
    /// Fetch a published file of weights.
    ///
    /// Downloads it from its publisher, or takes another address or a file. Its SHA-256 has to be the published one. The
    /// same command resumes an interrupted download.
    #[command(
        after_help = "Names: `inception` (Inception-v3 of 2015-12-05 for FID, 95 MB, by pytorch-fid), `inception-torchscript` (the \
        same network by NVIDIA, as a TorchScript program), `efficientnet-lite0` (from a file; `./justw setup` fetches it), `sd-vae-ft-ema` and `sd-vae-ft-mse` (Stable \
        Diffusion's autoencoder, 335 MB each, by Stability AI; their encoders are the same, their decoders differ).\n\n\
        Examples:\n  patchwork weights get inception\n  \
        patchwork weights get inception --from ~/Downloads/pt_inception-2015-12-05-6726825d.pth"
    )]
    Get {
        /// Which weights: `inception`, `inception-torchscript`, `efficientnet-lite0`, `sd-vae-ft-ema`, `sd-vae-ft-mse`.
        name: String,
        /// A file, or an http:// or https:// address, instead of the publisher's address.
        #[arg(long, value_name = "FILE|URL")]
        from: Option<String>,
    },
    /// List published weights, where each belongs, and whether it is installed.
    List {
        /// Output format.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}
