//! Tries a group: `cargo run --release -p patchwork-collectives --example group -- [cpu|cuda] [MIB]`, alone or under
//! `torchrun --no-python`; with `cuda` over NCCL. Prints what an all-reduce of so many mebibytes costs.

use std::error::Error;
use std::time::Duration;

use patchwork_collectives::{
    Backend, Group, Hosts, Identity, JoinOptions, Membership, Rendezvous, probe,
};
use tch::{Cuda, Device};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let device = arguments.next().unwrap_or_else(|| "cpu".to_owned());
    let mebibytes: i64 = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let variable = |name: &str| std::env::var(name).ok();
    let membership =
        Membership::of_launcher(variable)?.map_or(Membership::ALONE, |(_, membership)| membership);
    let folder = std::env::temp_dir().join(format!("patchwork-group-{}", std::process::id()));
    let rendezvous = Rendezvous::of_torchrun(variable)?.unwrap_or(Rendezvous::File {
        path: folder.join("rendezvous.json"),
        hosts: Hosts::This,
    });
    let (backend, device) = match device.as_str() {
        "cpu" => (Backend::Gloo { host: None }, Device::Cpu),
        "cuda" => {
            let index = membership.local_rank;
            println!("{} GPUs", Cuda::device_count());
            (
                Backend::Nccl { device: index },
                Device::Cuda(index as usize),
            )
        }
        other => return Err(format!("`{other}` is neither `cpu` nor `cuda`").into()),
    };
    let options = JoinOptions {
        backend,
        join_timeout: Duration::from_mins(1),
        timeout: Duration::from_mins(1),
        identity: Identity::default(),
    };
    std::fs::create_dir_all(&folder)?;
    let joined = Group::join(membership, &rendezvous, &options);
    std::fs::remove_dir_all(&folder)?;
    let group = joined?;
    let found = probe(&group, mebibytes << 18, device)?;
    if membership.rank == 0 {
        println!(
            "{} ranks: one number {:.3} ms, {mebibytes} MiB {:.1} ms, {:.2} GB/s",
            membership.ranks,
            found.latency.as_secs_f64() * 1e3,
            found.time.as_secs_f64() * 1e3,
            found.bytes_per_second() / 1e9
        );
    }
    group.leave()?;
    Ok(())
}
