//! Runs in a browser: `patchwork serve`, and pages as files: `patchwork report`.
//!
//! A read-only view of a home folder. It knows the registry's views and the artifacts' files, not how stages work; no
//! request changes anything. Everything that a page needs is in the program: HTML by `maud`, charts by uPlot
//! (`assets/`), nothing from a network.
//!
//! The way of a request: [`guard`](mod@guard) (who may ask) → `routes` → a page of `pages`, or the same as JSON from
//! `api` → what both say (`listing`, `comparison`, `data`, `pictures`, …) → `home` (the registry, kept open, and the files
//! of artifacts that it names).
//!
//! Must not know: how stages run, what settings mean, how to write.

mod address;
mod api;
mod assets;
mod comparison;
mod data;
mod error;
mod files;
mod guard;
mod home;
mod listing;
mod live;
mod neighbours;
mod pages;
mod patches;
mod pictures;
mod recorded;
mod report;
mod routes;
mod text;

pub use error::DashboardError;
pub use guard::Access;
pub use report::report;
pub use routes::{Server, bind};
