//! Whether a network can draw a part of its canvas. Settings are checked against those of training before a run; here
//! against the network itself, which may come from elsewhere.

use patchwork_config::Region;
use patchwork_networks::NetworkConfig;

/// A region that a network does not draw.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegionError {
    #[error(
        "`region` needs a network that was trained with `position_channels`, and this one was not"
    )]
    NoCoordinates,
    #[error(
        "`region` of side {} at row {} and column {} does not lie in images of {width} x {height} pixels",
        .region.side, .region.row, .region.column
    )]
    Outside {
        region: Region,
        width: i64,
        height: i64,
    },
    #[error(
        "`region` has side {side}, but the network's levels need sides divisible by {multiple}"
    )]
    Side { side: u32, multiple: i64 },
}

pub(super) fn check(region: Region, config: &NetworkConfig) -> Result<(), RegionError> {
    let (width, height) = (config.width(), config.height());
    let Region { row, column, side } = region;
    let [row, column, pixels] = [row, column, side].map(i64::from);
    let multiple = config.size_multiple();
    if !config.position_channels {
        Err(RegionError::NoCoordinates)
    } else if row + pixels > height || column + pixels > width {
        Err(RegionError::Outside {
            region,
            width,
            height,
        })
    } else if pixels % multiple != 0 {
        Err(RegionError::Side { side, multiple })
    } else {
        Ok(())
    }
}
