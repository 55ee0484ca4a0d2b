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
    /// How many of them are on its machine, and share its memory and cores.
    #[serde(default = "one")]
    pub local_ranks: u32,
}

fn one() -> u32 {
    1
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

    /// The variable of the number of ranks on the machine; Slurm's lists those of all machines, as in `4(x2),3`.
    const fn local_count(self) -> &'static str {
        match self {
            Self::Torchrun => "LOCAL_WORLD_SIZE",
            Self::OpenMpi => "OMPI_COMM_WORLD_LOCAL_SIZE",
            Self::Mpich => "MPI_LOCALNRANKS",
            Self::Slurm => "SLURM_STEP_TASKS_PER_NODE",
        }
    }

    /// Who says where on its machine a rank is. `srun --mpi=pmi2` speaks to MPICH's relatives as MPICH does, and says the
    /// place in its own variables alone; those of an allocation in which `mpiexec` was started say nothing of the ranks.
    fn of_places(self, variable: &impl Fn(&str) -> Option<String>) -> Self {
        let is_srun = self == Self::Mpich
            && variable("MPI_LOCALRANKID").is_none()
            && variable("SLURM_PROCID") == variable("PMI_RANK");
        if is_srun { Self::Slurm } else { self }
    }
}

impl Membership {
    /// A process alone.
    pub const ALONE: Self = Self {
        rank: 0,
        ranks: 1,
        local_rank: 0,
        local_ranks: 1,
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
            let [rank, ranks, _] = launcher.variables();
            let Some(own) = variable(rank) else { continue };
            let Some(all) = variable(ranks) else {
                return Err(LauncherError::HalfSet {
                    present: rank,
                    missing: ranks,
                });
            };
            let all = number(ranks, all, 1 << 20)?;
            let places = launcher.of_places(&variable);
            let [_, _, local] = places.variables();
            let membership = Self {
                rank: number(rank, own, all.into())?,
                ranks: all,
                local_rank: match variable(local) {
                    Some(value) => number(local, value, all.into())?,
                    // MPICH's older relatives do not say it, and are used on one machine then.
                    None => 0,
                },
                local_ranks: local_ranks(places, all, &variable)?,
            };
            return Ok(Some((launcher, membership)));
        }
        Ok(None)
    }
}

/// How many ranks are on this machine; 1 where the launcher does not say it.
fn local_ranks(
    launcher: Launcher,
    all: u32,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<u32, LauncherError> {
    let name = launcher.local_count();
    let Some(value) = variable(name) else {
        return Ok(1);
    };
    let count = if launcher == Launcher::Slurm {
        // The machines of the step are counted from 0 (srun(1)).
        let machine = variable("SLURM_NODEID").and_then(|machine| machine.trim().parse().ok());
        tasks_of(&value, machine.unwrap_or(0))
            .map_or_else(|| value.clone(), |count| count.to_string())
    } else {
        value
    };
    Ok(number(name, count, u64::from(all) + 1)?.max(1))
}

/// The entry of a machine in Slurm's list of tasks per node: `4(x2),3` is 4, 4, 3.
fn tasks_of(list: &str, machine: usize) -> Option<u32> {
    let mut left = machine;
    for entry in list.trim().split(',') {
        let (count, times) = match entry.split_once("(x") {
            Some((count, times)) => (count, times.strip_suffix(')')?.parse().ok()?),
            None => (entry, 1),
        };
        if left < times {
            return count.parse().ok();
        }
        left -= times;
    }
    None
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
            let mut variables = vec![(rank, "5"), (ranks, "8"), (local, "1")];
            let (by, membership) = found(&variables).unwrap().unwrap();
            assert_eq!(by, launcher);
            let expected = Membership {
                rank: 5,
                ranks: 8,
                local_rank: 1,
                local_ranks: 1,
            };
            assert_eq!(membership, expected);
            variables.push((launcher.local_count(), "4"));
            let (_, membership) = found(&variables).unwrap().unwrap();
            assert_eq!(membership.local_ranks, 4);
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
    fn slurm_says_the_tasks_of_each_machine() {
        for (list, expected) in [("4(x2),3", [4, 4, 3]), ("1,2(x9)", [1, 2, 2])] {
            let found = [0, 1, 2].map(|machine| tasks_of(list, machine));
            assert_eq!(found, expected.map(Some), "{list}");
        }
        for (list, machine) in [("4(x2)", 2), ("", 0), ("4(x", 0), ("four", 0)] {
            assert_eq!(tasks_of(list, machine), None, "{list}");
        }
        let second = [
            ("SLURM_PROCID", "4"),
            ("SLURM_NTASKS", "7"),
            ("SLURM_LOCALID", "0"),
            ("SLURM_STEP_TASKS_PER_NODE", "4,3"),
            ("SLURM_NODEID", "1"),
        ];
        assert_eq!(found(&second).unwrap().unwrap().1.local_ranks, 3);
    }

    #[test]
    fn srun_says_the_place_of_a_rank_of_pmi() {
        let pmi = [("PMI_RANK", "3"), ("PMI_SIZE", "4")];
        let place = |own: &str, more: &[(&str, &str)]| {
            let slurm = [
                ("SLURM_PROCID", own),
                ("SLURM_LOCALID", "1"),
                ("SLURM_STEP_TASKS_PER_NODE", "2(x2)"),
                ("SLURM_NODEID", "1"),
            ];
            let found = found(&[&pmi[..], &slurm, more].concat()).unwrap().unwrap();
            assert_eq!(found.0, Launcher::Mpich);
            (found.1.local_rank, found.1.local_ranks)
        };
        assert_eq!(place("3", &[]), (1, 2));
        // `mpiexec` inside of an allocation.
        assert_eq!(place("0", &[]), (0, 1));
        let own = [("MPI_LOCALRANKID", "2"), ("MPI_LOCALNRANKS", "4")];
        assert_eq!(place("3", &own), (2, 4));
    }

    #[test]
    fn a_membership_of_earlier_versions_is_read() {
        let text = r#"{"rank":1,"ranks":2,"local_rank":1}"#;
        let found: Membership = serde_json::from_str(text).unwrap();
        assert_eq!((found.rank, found.local_ranks), (1, 1));
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
            (
                &[
                    ("RANK", "0"),
                    ("WORLD_SIZE", "2"),
                    ("LOCAL_WORLD_SIZE", "3"),
                ],
                "`LOCAL_WORLD_SIZE` is `3`",
            ),
            (
                &[
                    ("SLURM_PROCID", "0"),
                    ("SLURM_NTASKS", "2"),
                    ("SLURM_STEP_TASKS_PER_NODE", "4(y2)"),
                ],
                "`SLURM_STEP_TASKS_PER_NODE` is `4(y2)`",
            ),
        ] {
            let error = found(variables).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
