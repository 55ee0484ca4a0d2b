//! The program as a user runs it: pipelines from the command line, killed and started again, and asked afterwards.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

mod absent;
mod architecture;
mod browser;
mod checkpoint;
mod circumstances;
mod commands;
mod continued;
mod crash;
mod dataset;
mod dirty_home;
mod distances;
mod documented;
mod earlier;
mod endurance;
mod evaluation;
mod experiments;
mod faults;
mod gpu_check;
mod imported;
mod init;
mod keeping;
mod killed;
mod latents;
mod launched;
mod lost_ranks;
mod machines;
mod mistakes;
mod notice;
mod open_page;
mod pages;
mod program;
mod ranks;
#[path = "../support/readers.rs"]
mod readers;
mod resume;
mod sampling;
mod serve;
mod shapes;
mod smoke;
mod sources;
mod standalone;
mod tables;
mod training;
mod tutorial;
