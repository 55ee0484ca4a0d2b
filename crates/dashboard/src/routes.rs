//! Addresses, and the server that answers them.

use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::error::DashboardError;
use crate::guard::{Access, guard};
use crate::home::Home;
use crate::{api, assets, files, live, pages};

/// A server that is bound to its address and not running yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    access: Access,
    router: Router,
}

/// Binds an address, of which the port may be 0 for any free one, and reads the list of runs, so that the first who asks
/// does not wait for it.
///
/// # Errors
/// [`DashboardError::Bind`] if it is taken or not this machine's.
pub async fn bind(home: &FilePath, host: &str, port: u16) -> Result<Server, DashboardError> {
    let failed = |source| DashboardError::Bind {
        address: format!("{host}:{port}"),
        source,
    };
    let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let access = Access::for_address(address)?;
    let home = Home::new(home);
    home.read_ahead().await;
    let router = router(home, access.clone());
    Ok(Server {
        listener,
        address,
        access,
        router,
    })
}

impl Server {
    /// The address to open, with the token where one is wanted.
    pub fn url(&self) -> String {
        match &self.access {
            Access::Loopback { .. } => format!("http://{}/", self.address),
            Access::Token(token) => format!("http://{}/?token={token}", self.address),
        }
    }

    /// Answers until `stop` is over.
    ///
    /// # Errors
    /// [`DashboardError::Serve`] if the listener fails.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), DashboardError> {
        // Pages that are open hold a connection for their events, which never ends by itself.
        let serve = axum::serve(self.listener, self.router);
        tokio::select! {
            result = async { serve.await } => result.map_err(DashboardError::Serve),
            () = stop => Ok(()),
        }
    }
}

fn router(home: Home, access: Access) -> Router {
    Router::new()
        .route("/", get(pages::runs::page))
        .route("/runs", get(pages::runs::page))
        .route("/runs/{name}", get(pages::run::page))
        .route("/runs/{name}/samples", get(pages::samples::page))
        .route("/compare", get(pages::compare::page))
        .route("/data/{fingerprint}", get(pages::data::page))
        .route("/data/{fingerprint}/images.png", get(pages::data::images))
        .route(
            "/data/{fingerprint}/patches.png",
            get(pages::data::patch_images),
        )
        .route("/files/{fingerprint}/{name}", get(file))
        .route("/events", get(events))
        .route("/api/runs", get(api::runs))
        .route("/api/runs/{name}", get(api::run))
        .route("/api/runs/{name}/pictures", get(api::run_pictures))
        .route("/api/runs/{name}/series", get(api::series))
        .route("/api/runs/{name}/log", get(api::log))
        .route("/api/compare", get(api::compare))
        .route("/api/data/{fingerprint}", get(api::data))
        .route("/assets/{name}", get(assets::answer))
        .fallback(missing)
        .layer(from_fn_with_state(Arc::new(access), guard))
        .with_state(Arc::new(home))
}

async fn missing() -> DashboardError {
    DashboardError::Absent("such page".to_owned())
}

async fn events(State(home): State<Arc<Home>>) -> impl IntoResponse {
    live::changes(home)
}

/// A file that the manifest of an artifact lists, or a picture of one in the making.
async fn file(
    State(home): State<Arc<Home>>,
    Path((fingerprint, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, DashboardError> {
    let absent = || DashboardError::Absent(format!("file `{name}` of artifact `{fingerprint}`"));
    match home.artifact(&fingerprint).await {
        Ok((_, folder)) => {
            let manifest = files::manifest(&folder).ok_or_else(absent)?;
            let listed = files::listed(&manifest);
            let known = listed.into_iter().find(|known| **known == name);
            let known = known
                .filter(|known| files::is_plain_name(known))
                .ok_or_else(absent)?;
            files::answer(&folder.join(known), &headers, true)
        }
        Err(DashboardError::Absent(_)) => {
            // Not finished: only a stage that the registry knows, and only its pictures.
            let runs = home.registry().await?.runs_with(&fingerprint, 1).await?;
            let folder = home.work(&fingerprint).filter(|_| !runs.is_empty());
            let folder = folder.ok_or_else(absent)?;
            let known = files::pictures_in_the_making(&folder);
            let known = known.into_iter().find(|known| *known == name);
            files::answer(&folder.join(known.ok_or_else(absent)?), &headers, false)
        }
        Err(error) => Err(error),
    }
}
