//! Server-sent events: one whenever the registry or a log has changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use patchwork_registry::Activity;

use crate::error::DashboardError;
use crate::home::Home;

/// How often the registry is asked; a question of some microseconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// An event `change` now and at each change: what is running, as JSON.
pub(crate) fn changes(home: Arc<Home>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = futures_util::stream::unfold(None, move |known| {
        let home = home.clone();
        async move {
            loop {
                let now = state(&home).await;
                if known.as_ref() != Some(&now) {
                    let activity = activity(&home).await;
                    let event = Event::default().event("change").data(activity);
                    return Some((Ok(event), Some(now)));
                }
                tokio::time::sleep(INTERVAL).await;
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

/// Something that is another at each change.
async fn state(home: &Home) -> String {
    let version = async { Ok(home.registry().await?.data_version().await?) };
    let version: Result<i64, DashboardError> = version.await;
    version.map_or_else(|error| error.to_string(), |version| version.to_string())
}

/// Nothing is running in a registry that cannot be read.
async fn activity(home: &Home) -> String {
    let activity = async { Ok(home.registry().await?.activity().await?) };
    let activity: Result<Activity, DashboardError> = activity.await;
    serde_json::to_string(&activity.unwrap_or_default()).unwrap_or_default()
}
