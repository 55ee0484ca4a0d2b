//! The pages: the frame around each, and what several share. Tables, pictures and small curves work without script;
//! charts, sliders and live changes are `assets/`.

mod charts;
pub(crate) mod compare;
mod cuts;
pub(crate) mod data;
pub(crate) mod frame;
mod parts;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod samples;
mod scatter;
