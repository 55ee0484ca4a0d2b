//! Which rank a process is among several that work together, and how the programs that start them say so.

use serde::{Deserialize, Serialize};

/// What a launcher says makes no sense.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// A variable has no value that it could have.
    #[error("`{variable}` is `{value}`, not a number below {limit}")]
    Variable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it has to be below.
        limit: u64,
    },
    /// Only a part of what a launcher sets is set.
    #[error("`{present}` is set and `{missing}` is not; start all ranks with one launcher")]
    HalfSet {
        /// A variable that is set.
        present: &'static str,
        /// One that has to be set with it.
        missing: &'static str,
    },
}

/// Which rank of how many a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Its number, from 0.
    pub rank: u32,
    /// How many there are.
    pub ranks: u32,
    /// Its number among those of its machine, from 0: the index of its GPU.
    pub local_rank: u32,
}

/// A program that starts one process a rank and configures each by its environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// PyTorch's `torchrun`.
    Torchrun,
    /// `mpirun` of Open MPI.
    OpenMpi,
    /// `mpiexec` of MPICH and its relatives.
    Mpich,
    /// Slurm's `srun`.
    Slurm,
}

impl Launcher {
    /// All of them, in the order in which they are looked for: inside a Slurm allocation, the variables of `mpirun` or
    /// `torchrun` are those of the ranks.
    pub const ALL: [Self; 4] = [Self::Torchrun, Self::OpenMpi, Self::Mpich, Self::Slurm];

    /// The variables of rank, number of ranks, and rank on the machine.
    pub const fn variables(self) -> [&'static str; 3] {
        match self {
            Self::Torchrun => ["RANK", "WORLD_SIZE", "LOCAL_RANK"],
            Self::OpenMpi => [
                "OMPI_COMM_WORLD_RANK",
                "OMPI_COMM_WORLD_SIZE",
                "OMPI_COMM_WORLD_LOCAL_RANK",
            ],
            Self::Mpich => ["PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"],
            Self::Slurm => ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"],
        }
    }
}

impl Membership {
    /// A process alone.
    pub const ALONE: Self = Self {
        rank: 0,
        ranks: 1,
        local_rank: 0,
    };

    /// Whether a piece of work is this rank's, where the pieces go round.
    pub const fn has(self, piece: usize) -> bool {
        piece % self.ranks as usize == self.rank as usize
    }

    /// What a launcher says, by the names of its variables; none where no launcher started this process.
    ///
    /// # Errors
    /// [`LauncherError::Variable`] and [`LauncherError::HalfSet`].
    pub fn of_launcher(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<(Launcher, Self)>, LauncherError> {
        for launcher in Launcher::ALL {
            let [rank, ranks, local] = launcher.variables();
            let Some(own) = variable(rank) else { continue };
            let Some(all) = variable(ranks) else {
                return Err(LauncherError::HalfSet {
                    present: rank,
                    missing: ranks,
                });
            };
            let all = number(ranks, all, 1 << 20)?;
            let membership = Self {
                rank: number(rank, own, all.into())?,
                ranks: all,
                local_rank: match variable(local) {
                    Some(value) => number(local, value, all.into())?,
                    // MPICH's older relatives do not say it, and are used on one machine then.
                    None => 0,
                },
            };
            return Ok(Some((launcher, membership)));
        }
        Ok(None)
    }
}

/// The name of this machine.
pub fn host_name() -> String {
    let system = rustix::system::uname();
    system.nodename().to_string_lossy().into_owned()
}

fn number(variable: &'static str, value: String, limit: u64) -> Result<u32, LauncherError> {
    match value.trim().parse::<u32>() {
        Ok(number) if u64::from(number) < limit => Ok(number),
        _ => Err(LauncherError::Variable {
            variable,
            value,
            limit,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<Option<(Launcher, Membership)>, LauncherError> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Membership::of_launcher(|name| variables.get(name).map(|&value| value.to_owned()))
    }

    #[test]
    fn each_launcher_is_understood() {
        for launcher in Launcher::ALL {
            let [rank, ranks, local] = launcher.variables();
            let (by, membership) = found(&[(rank, "5"), (ranks, "8"), (local, "1")])
                .unwrap()
                .unwrap();
            assert_eq!(by, launcher);
            let expected = Membership {
                rank: 5,
                ranks: 8,
                local_rank: 1,
            };
            assert_eq!(membership, expected);
        }
        assert!(found(&[]).unwrap().is_none());
        // `mpirun` inside of an allocation.
        let both = [
            ("SLURM_PROCID", "0"),
            ("SLURM_NTASKS", "1"),
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
        ];
        assert_eq!(found(&both).unwrap().unwrap().0, Launcher::OpenMpi);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (variables, words) in [
            (&[("RANK", "2")][..], "`WORLD_SIZE` is not"),
            (&[("RANK", "2"), ("WORLD_SIZE", "2")], "`RANK` is `2`"),
            (&[("PMI_RANK", "x"), ("PMI_SIZE", "2")], "`PMI_RANK` is `x`"),
            (
                &[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "0")],
                "`SLURM_PROCID`",
            ),
        ] {
            let error = found(variables).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
