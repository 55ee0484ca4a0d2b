//! TensorBoard event files: curves and pictures for people who watch a training.
//!
//! A folder holds one file an attempt. [`EventWriter::open`] repairs what a killed attempt left behind and says in the
//! new file which steps of the earlier ones no longer hold, so that TensorBoard shows every step once.
//!
//! Must not know what is measured.

mod message;
mod record;
mod writer;

pub use writer::EventWriter;
