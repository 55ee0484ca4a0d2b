//! Server-sent events: one whenever the registry or a log has changed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;

use crate::home::Home;

/// How often the registry is asked; a question of some microseconds.
const INTERVAL: Duration = Duration::from_secs(1);

/// An event `change` now and at each change.
pub(crate) fn changes(home: Arc<Home>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = futures_util::stream::unfold(None, move |known| {
        let home = home.clone();
        async move {
            loop {
                let now = version(&home).await;
                if known.as_ref() != Some(&now) {
                    let event = Event::default().event("change").data(now.clone());
                    return Some((Ok(event), Some(now)));
                }
                tokio::time::sleep(INTERVAL).await;
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

async fn version(home: &Home) -> String {
    match home.registry().await {
        Ok(registry) => match registry.data_version().await {
            Ok(version) => version.to_string(),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    }
}
